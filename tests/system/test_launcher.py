"""What a launcher starts several times is refused at once, whatever the command and whoever the launcher."""

import pytest

from dtql_robot.cli import main
from dtql_robot.errors import InputError
from dtql_robot.system.launcher import launched, refuse_launcher

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2"}
MPIRUN = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "0"}
HYDRA = {"PMI_SIZE": "2", "PMI_RANK": "1"}
SRUN = {"SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "2"}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for variable in {*TORCHRUN, *MPIRUN, *HYDRA, *SRUN, "LOCAL_RANK"}:
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("environment", "launcher", "count"),
    [(TORCHRUN, "torchrun", 2), (MPIRUN, "mpirun", 4), (HYDRA, "mpirun", 2), (SRUN, "srun", 3)],
)
def test_every_launcher_is_recognized(environment, launcher, count, monkeypatch):
    assert launched() is None
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched() == (launcher, count)
    with pytest.raises(InputError, match=f"{launcher} started {count} of them"):
        refuse_launcher("Training")


@pytest.mark.parametrize(
    "environment",
    [
        {"WORLD_SIZE": "1", "RANK": "0"},
        {"WORLD_SIZE": "2"},  # somebody's own variable
        {"WORLD_SIZE": "two", "RANK": "0"},
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"},  # a batch script that may start tasks, and is none
        {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
    ],
)
def test_one_process_is_none_of_several(environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    refuse_launcher("Training")


def test_commands_that_would_run_several_times_are_refused(tmp_path, capsys, monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "reach.hdf5"
    assert main(["collect", "FetchReach-v4", "--episodes", "1", "--out", str(out)]) == 2
    assert "`dtql-robot collect` runs in one process, and a launcher such as torchrun" in capsys.readouterr().err
    assert not out.exists()
