"""Run folders that cannot be written, or are another process's: said before any data is read."""

import signal

import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import save_robomimic
from tests.training.test_interrupts import SMALL, Training


@pytest.fixture
def data(demos, tmp_path) -> str:
    return str(save_robomimic(demos, tmp_path / "demos.hdf5"))


def refused(capsys, *words: str) -> str:
    assert main(["train", *words, *SMALL, "--steps", "4"]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "cause"),
    [
        ("FOLDER/file", "is not a folder"),
        ("FOLDER/file/run", "is not a folder"),
        ("FOLDER/dangling", "is not a folder"),
        ("FOLDER/loop/run", "loop"),
        ("FOLDER/" + "n" * 300, "name too long"),
        ("FOLDER/nul\0run", "null"),
        ("/proc/self/run", "cannot be written"),
        ("~nosuchuser/run", "a user that does not exist"),
    ],
)
def test_a_folder_that_cannot_be_written_is_said_first(tmp_path, capsys, out, cause):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "at" / "all")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = sorted(tmp_path.iterdir())
    said = refused(capsys, "--data", "not-read-yet.hdf5", "--out", out.replace("FOLDER", str(tmp_path)))
    assert cause in said.lower() or cause in said
    assert "not-read-yet" not in said
    assert sorted(tmp_path.iterdir()) == before


def test_the_home_folder_is_meant_by_its_sign(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--data", data, "--out=~/deep/run", *SMALL, "--steps", "4"]) == 0
    assert (tmp_path / "home" / "deep" / "run" / "checkpoint.pt").exists()
    assert not (tmp_path / "~").exists()


@pytest.mark.slow
def test_a_second_training_into_the_same_folder_is_refused(data, tmp_path, capsys):
    out = tmp_path / "run"
    first = Training(["--data", data, *SMALL, "--steps", "20000", "--out", str(out)], out)
    first.wait_for_row(2)
    assert f"process {first.process.pid}" in refused(capsys, "--data", data, "--out", str(out))
    assert f"process {first.process.pid}" in refused(capsys, "--data", data, "--out", str(out), "--resume")
    first.process.kill()  # a dead process holds nobody
    first.process.wait()
    assert main(["train", "--data", data, "--out", str(out), *SMALL, "--steps", "4"]) == 0


@pytest.mark.slow
def test_a_seed_under_training_is_nobody_elses(data, tmp_path, capsys):
    out = tmp_path / "runs"
    first = Training(
        ["--data", data, *SMALL, "--steps", "20000", "--out", str(out), "--seeds", "0", "1"], out / "seed1"
    )
    first.wait_for_row(2)
    assert "another process" in refused(capsys, "--data", data, "--out", str(out / "seed1"), "--seed", "1")
    said, code = first.signal(signal.SIGTERM)
    assert code == 1, said


def test_a_launcher_that_does_not_tell_processes_of_each_other_is_refused(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    assert "a launcher such as mpirun started 2 of them" in refused(
        capsys, "--data", data, "--out", str(tmp_path / "run")
    )
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "1")
    assert main(["train", "--data", data, "--out", str(tmp_path / "run"), *SMALL, "--steps", "4"]) == 0


def test_resume_without_a_run_needs_data(tmp_path, capsys):
    said = refused(capsys, "--out", str(tmp_path / "run"), "--resume")
    assert "--data is missing; there is no run in" in said
    assert not (tmp_path / "run").exists()
