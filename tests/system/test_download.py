"""Downloads through cut connections, changed files, refusals, full disks and kills; the server is real and here."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from dtql_robot.errors import InputError
from dtql_robot.system.download import Remote, download, partial_files
from tests.helpers.file_server import file_server

CONTENT = os.urandom(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()
QUICK = (0.0, 0.0)


@pytest.fixture
def server():
    with file_server() as running:
        yield running


def get(url, target, **known):
    return download(Remote(url, **known), target, pauses=QUICK, show=False)


def test_a_file_comes_once(server, tmp_path):
    url = server.put("/a.bin", CONTENT)
    target = tmp_path / "deep/folder/a.bin"
    assert get(url, target, size=len(CONTENT), sha256=SHA.upper()).read_bytes() == CONTENT
    assert get(url, target) == target
    assert len(server.asked) == 1
    assert os.listdir(target.parent) == ["a.bin"]


@pytest.mark.parametrize("validator", [{}, {"ETag": None, "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}])
def test_cut_connections_are_continued(server, tmp_path, validator):
    url = server.put("/a.bin", CONTENT, "cut 100000", "cut 1", "cut 0", "500", "cut 150000", headers=validator)
    assert get(url, tmp_path / "a.bin").read_bytes() == CONTENT
    assert [asked[1] for asked in server.asked] == [
        None,
        *(f"bytes={n}-" for n in (100000, 100001, 100001, 100001)),
        "bytes=250001-",
    ]
    assert {asked[2] for asked in server.asked[1:]} == {validator.get("Last-Modified", '"1"')}


def test_another_process_goes_on(server, tmp_path):
    url = server.put("/a.bin", CONTENT, "cut 100000", "503", "503", "503")
    with pytest.raises(InputError, match=r"cannot be fetched: the server answers 503 .*put it at .*a.bin"):
        get(url, tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()
    assert partial_files(tmp_path / "a.bin")[0].stat().st_size == 100_000
    assert get(url, tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked[-1][1] == "bytes=100000-"
    assert partial_files(tmp_path / "a.bin") == []


@pytest.mark.parametrize("size", [120_000, 100_000, 90_000, 300_000])
def test_a_file_that_has_changed_meanwhile_is_fetched_anew(server, tmp_path, size):
    url = server.put("/a.bin", CONTENT, "cut 100000", "404")
    with pytest.raises(InputError, match="there is no such file"):
        get(url, tmp_path / "a.bin")
    url = server.put("/a.bin", new := os.urandom(size), headers={"ETag": '"2"'})
    assert get(url, tmp_path / "a.bin").read_bytes() == new


def test_a_changed_file_without_a_word_of_it_is_told_by_its_checksum(server, tmp_path):
    url = server.put("/a.bin", b"x" * 300_000, "cut 100000", "404", headers={"ETag": None})
    with pytest.raises(InputError):
        get(url, tmp_path / "a.bin", sha256=SHA)
    url = server.put("/a.bin", CONTENT, headers={"ETag": None})
    assert get(url, tmp_path / "a.bin", sha256=SHA).read_bytes() == CONTENT
    assert [asked[1] for asked in server.asked[-2:]] == ["bytes=100000-", None]


def test_a_server_that_knows_no_parts(server, tmp_path):
    url = server.put("/a.bin", CONTENT, "cut 100000", "cut 299999", ranges=False)
    assert get(url, tmp_path / "a.bin").read_bytes() == CONTENT
    weak = server.put("/b.bin", CONTENT, "cut 100000", headers={"ETag": 'W/"1"'})
    assert get(weak, tmp_path / "b.bin").read_bytes() == CONTENT
    assert server.asked[-1][1] is None  # a weak validator does not promise the same bytes


def test_a_connection_that_never_lasts_is_given_up(server, tmp_path):
    url = server.put("/a.bin", CONTENT, *["cut 0"] * 9)
    with pytest.raises(InputError, match="the connection was cut after 0 of 300000 bytes"):
        get(url, tmp_path / "a.bin")
    assert len(server.asked) == len(QUICK) + 1


def test_wrong_contents(server, tmp_path):
    url = server.put("/a.bin", CONTENT)
    with pytest.raises(InputError, match=r"its SHA-256 is not 0{64}"):
        get(url, tmp_path / "a.bin", sha256="0" * 64)
    with pytest.raises(InputError, match="has 300000 bytes instead of 299999: it has changed"):
        get(url, tmp_path / "a.bin", size=299_999)
    endless = server.put("/b.bin", CONTENT, headers={"Content-Length": None})
    with pytest.raises(InputError, match="more than the expected 299999 bytes"):
        get(endless, tmp_path / "b.bin", size=299_999)
    assert get(endless, tmp_path / "b.bin").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["b.bin"]


def test_what_is_no_file(server, tmp_path):
    page = server.put("/page", b"<html>log in", headers={"Content-Type": "text/html; charset=utf-8"})
    packed = server.put("/packed", CONTENT, headers={"Content-Encoding": "gzip"})
    empty = server.put("/empty", b"")
    for url, words in (
        (page, "a web page instead"),
        (packed, "sent compressed"),
        ("ftp://x/y", "http"),
        ("x", "http"),
        ("http://a:b@c/d", "leave it out"),
        (server.url + "/none", "no such file"),
    ):
        with pytest.raises(InputError, match=words):
            get(url, tmp_path / "a.bin")
    with pytest.raises(InputError) as refused:
        get("http://me:secret@127.0.0.1/d", tmp_path / "a.bin")
    assert "secret" not in str(refused.value)
    assert get(empty, tmp_path / "empty").read_bytes() == b""


@pytest.mark.parametrize("status", ["401", "403", "404", "410", "418"])
def test_refusals_are_not_repeated(server, tmp_path, status):
    url = server.put("/a.bin", CONTENT, status)
    with pytest.raises(InputError, match=rf"{status} .*put it at"):
        get(url, tmp_path / "a.bin")
    assert len(server.asked) == 1


def test_redirections(server, tmp_path):
    server.put("/there.bin", CONTENT, "cut 1000")
    linked = {"X-Linked-Etag": f'"{SHA}"', "X-Linked-Size": "300000"}
    url = server.put("/a.bin", b"", *[f"redirect {server.url}/there.bin"] * 2, headers=linked)
    assert get(url, tmp_path / "a.bin").read_bytes() == CONTENT
    assert [asked[1] for asked in server.asked] == [None, None, "bytes=1000-", "bytes=1000-"]
    wrong = server.put(
        "/b.bin", b"", *[f"redirect {server.url}/there.bin"] * 2, headers={"X-Linked-Etag": f'"{"1" * 64}"'}
    )
    with pytest.raises(InputError, match="SHA-256 is not 1111"):
        get(wrong, tmp_path / "b.bin")
    outside = server.put("/c.bin", b"", "redirect file:///etc/passwd")
    with pytest.raises(InputError, match=r"leads to file:|file.*not allowed"):
        get(outside, tmp_path / "c.bin")
    assert not (tmp_path / "c.bin").exists()


def test_a_token_stays_with_its_host(server, tmp_path):
    other = server.url.replace("127.0.0.1", "localhost")
    server.put("/there.bin", CONTENT)
    url = server.put("/a.bin", b"", f"redirect {other}/there.bin")
    download(Remote(url, headers={"Authorization": "Bearer t"}), tmp_path / "a", pauses=QUICK, show=False)
    assert [asked[3] for asked in server.asked] == ["Bearer t", None]


def test_without_a_network_there_is_one_sentence_at_once(tmp_path):
    began = time.monotonic()
    with pytest.raises(
        InputError,
        match=r"^http://127.0.0.1:9/a cannot be fetched: Connection refused. Without a "
        r"network, fetch it elsewhere and put it at .*/a.bin.$",
    ):
        download(Remote("http://127.0.0.1:9/a"), tmp_path / "a.bin", show=False)
    assert time.monotonic() - began < 2
    assert os.listdir(tmp_path) == []


def test_a_silent_server_is_asked_again(server, tmp_path, monkeypatch):
    monkeypatch.setenv("DTQL_TIMEOUT", "0.2")
    url = server.put("/a.bin", CONTENT, "stall 70000")
    assert get(url, tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked[-1][1] == "bytes=70000-"
    monkeypatch.setenv("DTQL_TIMEOUT", "soon")
    with pytest.raises(InputError, match="DTQL_TIMEOUT is 'soon'"):
        get(url, tmp_path / "b.bin")


def test_a_full_disk(server, tmp_path):
    url = server.put("/a.bin", CONTENT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
    try:
        with pytest.raises(
            InputError, match=r"a.bin cannot be written: File too large. What has been downloaded is kept"
        ):
            get(url, tmp_path / "a.bin")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "a.bin").exists()
    assert get(url, tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked[-1][1] == "bytes=150000-"


def test_a_file_larger_than_the_disk_is_refused_first(server, tmp_path):
    url = server.put("/a.bin", CONTENT, headers={"Content-Length": str(10**15)})
    with pytest.raises(InputError, match=r"takes 1e\+06 GB, and .* GB free"):
        get(url, tmp_path / "a.bin")


def test_links_in_the_way_are_not_followed(server, tmp_path):
    url = server.put("/a.bin", CONTENT, "cut 1000", "404")
    with pytest.raises(InputError):
        get(url, tmp_path / "a.bin")
    (tmp_path / "precious").write_bytes(b"precious")
    for left in partial_files(tmp_path / "a.bin"):
        left.unlink()
        left.symlink_to(tmp_path / "precious")
    assert get(url, tmp_path / "a.bin").read_bytes() == CONTENT
    assert (tmp_path / "precious").read_bytes() == b"precious"


CODE = """
import sys
from pathlib import Path
from dtql_robot.system.download import Remote, download
download(Remote(sys.argv[1]), Path(sys.argv[2]), show=False)
"""


def started(url, target):
    return subprocess.Popen([sys.executable, "-c", CODE, url, str(target)], stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_download_once(server, tmp_path):
    url = server.put("/a.bin", CONTENT, pause=0.2)
    both = [started(url, tmp_path / "a.bin") for _ in range(2)]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert len(server.asked) == 1
    assert sum("waiting: another process is fetching a.bin" in words for words in said) == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_ended_loses_nothing(server, tmp_path, how):
    url = server.put("/a.bin", CONTENT, pause=0.3)
    process = started(url, tmp_path / "a.bin")
    while not (found := partial_files(tmp_path / "a.bin")) or found[0].stat().st_size < 60_000:
        time.sleep(0.01)
    process.send_signal(how)
    process.communicate(timeout=60)
    kept = partial_files(tmp_path / "a.bin")[0].stat().st_size
    server.files["/a.bin"].pause = 0.0
    assert get(url, tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked[-1][1] == f"bytes={kept}-"
