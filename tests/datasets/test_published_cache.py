"""Published data sets from the command line, and the cache that keeps them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import save_robomimic
from dtql_robot.datasets.published.fetch import cache_root, place
from tests.helpers.sample_demos import make_demos


def test_the_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("DTQL_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_root() == tmp_path / ".cache/dtql-robot"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_root() == tmp_path / "x/dtql-robot"
    monkeypatch.setenv("DTQL_CACHE", "~/here")
    assert place("d4rl:pen-human-v1") == tmp_path / "here/d4rl/pen-human-v1.hdf5"
    monkeypatch.setenv("DTQL_CACHE", "here")
    assert cache_root() == Path.cwd() / "here"


def run(capsys, *words):
    """(exit code, output, errors) of `dtql-robot data WORDS`."""
    code = main(["data", *words])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


def test_the_command(server, tmp_path, capsys):
    made = save_robomimic(make_demos(3), tmp_path / "made.hdf5").read_bytes()
    server.put("/can/ph/low_dim_v15.hdf5", made)
    name, here = "robomimic:can/ph/low_dim", tmp_path / "cache/robomimic/can/ph/low_dim_v15.hdf5"
    code, out, err = run(capsys, "path", name)
    assert (code, out) == (2, f"{here}\n")
    assert f"put {server.url}/can/ph/low_dim_v15.hdf5 at {here}" in err
    assert run(capsys, "fetch", name)[:2] == (0, f"{here}\n")
    assert run(capsys, "path", name) == (0, f"{here}\n", "")
    code, out, _ = run(capsys, "list", "robomimic")
    assert code == 0
    assert f"{name}_v15  {len(made) / 1e6:.1f} MB here" in out
    assert "robomimic:square/mh/low_dim_v141\n" in out
    assert run(capsys, "remove", name)[:2] == (0, f"removed {here}\n")
    assert run(capsys, "remove", name)[:2] == (0, f"{name} is not here\n")
    assert list((tmp_path / "cache").rglob("*.hdf5")) == []
    assert run(capsys, "fetch", name, "robomimic:can/ph/low_dim_v16")[0] == 2
    assert not here.exists()  # the slip is found first
    assert run(capsys, "fetch")[0] == 2
    assert run(capsys, "list", "robomimmic")[0] == 2


def test_a_mirror_as_an_option(server, capsys, monkeypatch):
    monkeypatch.setenv("DTQL_ROBOMIMIC_URL", "http://127.0.0.1:9")  # restored afterwards
    server.put("/mirror/lift/ph/demo_v15.hdf5", b"content")
    code, out, _ = run(capsys, "fetch", "robomimic:lift/ph/raw", "--url", f"{server.url}/mirror/")
    assert code == 0
    assert Path(out.strip()).read_bytes() == b"content"


def test_remove_takes_what_an_interruption_has_left(server, tmp_path, capsys):
    server.put("/lift/ph/low_dim_v15.hdf5", b"x" * 1000, "cut 500", "404")
    assert run(capsys, "fetch", "robomimic:lift/ph/low_dim")[0] == 2
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert run(capsys, "remove", "robomimic:lift/ph/low_dim")[0] == 0
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_a_link_in_the_cache_is_removed_and_not_what_it_leads_to(server, tmp_path, capsys):
    real = tmp_path / "real.hdf5"
    real.write_bytes(b"real")
    here = place("robomimic:lift/ph/low_dim")
    here.parent.mkdir(parents=True)
    here.symlink_to(real)
    assert run(capsys, "remove", "robomimic:lift/ph/low_dim")[0] == 0
    assert real.read_bytes() == b"real"
    assert not here.is_symlink()


@pytest.mark.slow
def test_a_real_process_without_a_network(tmp_path):
    """One sentence with the address and the place; the file put there is then found."""
    env = {**os.environ, "DTQL_CACHE": str(tmp_path / "cache"), "DTQL_ROBOMIMIC_URL": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "dtql_robot", "inspect", "robomimic:lift/ph/low_dim"]
    failed = subprocess.run(command, env=env, capture_output=True, text=True)
    there = re.search(r"put it at (\S+)\.\n$", failed.stderr)
    assert failed.returncode == 2
    url = "http://127.0.0.1:9/lift/ph/low_dim_v15.hdf5"
    assert failed.stderr.startswith(f"dtql-robot inspect: {url} cannot be fetched:")
    assert len(failed.stderr.splitlines()) == 1
    save_robomimic(make_demos(3), Path(there[1]))
    found = subprocess.run(command, env=env, capture_output=True, text=True)
    assert found.returncode == 0
    assert re.search(r"episodes\s+3", found.stdout)
