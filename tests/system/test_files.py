"""Files appear whole or not at all, at the end of a link, and never through one that somebody else put there."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from dtql_robot.errors import InputError
from dtql_robot.system import temporary
from dtql_robot.system.files import check_writable, new_file, new_folder, write_json, write_text
from dtql_robot.system.locks import locked


def test_a_file_appears_when_the_block_ends_and_never_in_part(tmp_path):
    path = tmp_path / "a.txt"
    with new_file(path, overwrite=False) as part:
        part.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    with contextlib.suppress(RuntimeError), new_file(path, overwrite=True) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_mode_is_what_the_user_wishes(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path):
    real, link, dangling = tmp_path / "disk" / "real.json", tmp_path / "link.json", tmp_path / "later.json"
    real.parent.mkdir()
    real.write_text("old")
    link.symlink_to(real)
    dangling.symlink_to("disk/later.json")
    write_json(link, [1])
    write_json(dangling, [2])
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert real.read_text() == "[\n  1\n]\n"
    assert (real.parent / "later.json").is_file()
    with pytest.raises(InputError, match="exists already"), new_file(link, overwrite=False):
        pass


def test_a_linked_folder_is_written_where_it_is(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    for text in ("one", "two"):
        with new_folder(tmp_path / "link", "marker", overwrite=True) as part:
            (part / "marker").write_text(text)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "marker").read_text() == "two"
    assert sorted(os.listdir(tmp_path)) == ["disk", "link"]


def test_a_link_under_the_temporary_name_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr(temporary.secrets, "token_hex", lambda size: "0" * (2 * size))
    name = f".dtql-{temporary._machine()}-{os.getpid()}-{temporary._began(os.getpid())}-00000000.tmp"
    (tmp_path / name).symlink_to(victim)
    for write in (lambda: write_text(tmp_path / "a", "new"), lambda: check_writable(tmp_path / "a")):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).symlink_to(victim)
        with pytest.raises(InputError, match="a cannot be written"):
            write()
    assert victim.read_text() == "precious"
    assert not (tmp_path / "a").exists()


def test_links_under_the_names_of_the_first_release_are_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in (".v.part.mp4", ".results.json.tmp", "results.json.tmp"):
        (tmp_path / name).symlink_to(victim)
    write_text(tmp_path / "results.json", "{}")
    write_text(tmp_path / "v.mp4", "")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("folder", "is a folder"),
        ("file/a", "Not a directory|File exists"),
        ("n" * 256, "File name too long"),
        ("loop", "symbolic links|symlink"),
        ("nul\0l", "null bytes"),
    ],
)
def test_what_cannot_be_written_is_one_sentence_before_the_work(tmp_path, name, sentence):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    for write in (check_writable, lambda path: write_text(path, "")):
        with pytest.raises(InputError, match=sentence) as caught:
            write(tmp_path / name)
        assert ".dtql-" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "loop"]


def test_a_name_as_long_as_the_system_allows_is_written(tmp_path):
    path = tmp_path / ("n" * 255)
    check_writable(path)
    write_text(path, "text")
    assert path.read_text() == "text"


def test_a_device_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    check_writable(pipe)
    write_text(pipe, "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    with pytest.raises(InputError, match="pipe that nothing reads from"):
        write_text(pipe, "nowhere")  # and does not wait for ever
    with pytest.raises(InputError, match="not a regular file"), new_file(pipe, overwrite=True):
        pass
    assert pipe.is_fifo()


WRITES = """
import sys, time
from pathlib import Path
from dtql_robot.system.files import new_file, new_folder
with new_file(Path(sys.argv[1]) / "a", True) as one, new_folder(Path(sys.argv[1]) / "b", "marker", True) as two:
    (two / "part").write_text("x")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_what_a_killed_process_left_is_removed_at_the_next_start(tmp_path):
    """Not what a living one writes, nor files of others with such names, nor what a link points to."""
    writer = subprocess.Popen([sys.executable, "-c", WRITES, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"writing\n"
    left = [name for name in os.listdir(tmp_path) if name.startswith(".dtql-")]
    assert len(left) == 2
    mine, precious = tmp_path / ".a.tmp", tmp_path / "precious"
    mine.write_text("")
    precious.mkdir()
    (precious / "file").write_text("")
    temporary._cleaned.clear()
    write_text(tmp_path / "c", "")
    assert set(left) <= set(os.listdir(tmp_path))
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    planted = left[0].rpartition("-")[0] + "-ffffffff.tmp"
    (tmp_path / planted).symlink_to(precious)
    temporary._cleaned.clear()
    write_text(tmp_path / "c", "")
    assert sorted(os.listdir(tmp_path)) == [".a.tmp", "c", "precious"]
    assert (precious / "file").exists()


def test_names_of_another_machine_are_left_for_a_day(tmp_path):
    name = tmp_path / ".dtql-00000000-1-1-00000000.tmp.mp4"
    name.write_text("")
    temporary._cleaned.clear()
    write_text(tmp_path / "c", "")
    assert name.exists()
    old = time.time() - 2 * temporary.ELSEWHERE_SECONDS
    os.utime(name, (old, old))
    temporary._cleaned.clear()
    write_text(tmp_path / "c", "")
    assert not name.exists()


HOLDS = """
import sys, time
from pathlib import Path
from dtql_robot.system.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path):
    path = tmp_path / ("v" * 255)
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(InputError, match=rf"being written by another process \(process {holder.pid}\)"), locked(path):
        pass
    with locked(tmp_path / "other"):
        pass
    holder.kill()  # which cannot tidy up
    holder.wait()
    holder.stdout.close()
    with locked(path):
        pass
    assert os.listdir(tmp_path) == []
