"""One count of the cores that this process may use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dtql_robot.system import cores


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "own", "share"),
    [
        ({"cpu.max": "200000 100000\n"}, "0::/\n", 2.0),
        ({"cpu.max": "max 100000\n"}, "0::/\n", None),
        ({"cpu.max": "max 100000\n", "a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b\n", 0.5),
        ({"a/cpu.max": "300000 100000", "a/b/cpu.max": "400000 100000"}, "0::/a/b\n", 3.0),
        ({"cpu.max": "150000 100000"}, "0::/not/mounted/here\n", 1.5),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/\n", 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/\n", None),
        (
            {"cpu,cpuacct/docker/1/cpu.cfs_quota_us": "100000", "cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000"},
            "4:cpu,cpuacct:/docker/1\n",
            1.0,
        ),
        ({"cpu.max": "nonsense"}, "0::/\n", None),
        ({"cpu.max": "100 0"}, "nonsense", None),
        ({}, "", None),
    ],
)
def test_the_tightest_limit_of_the_container_counts(files, own, share, tmp_path):
    own_file = tmp_path / "own"
    own_file.write_text(own)
    assert cores.container_share(write(tmp_path / "cgroup", files), own_file) == share


def test_without_control_groups_there_is_no_limit(tmp_path):
    assert cores.container_share(tmp_path / "none", tmp_path / "none") is None


@pytest.mark.parametrize(
    ("bound", "share", "expected"), [(64, 2.0, 2), (64, None, 64), (2, 8.0, 2), (4, 0.2, 1), (8, 1.5, 2)]
)
def test_the_smaller_of_binding_and_share_counts(monkeypatch, bound, share, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(bound)), raising=False)
    monkeypatch.setattr(cores, "container_share", lambda *_: share)
    assert cores.usable_cores() == expected


def test_the_binding_of_this_process_is_seen():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_everything_counts_the_same_way():
    """No module counts cores by itself."""
    package = Path(cores.__file__).parents[1]
    counting = [p.name for p in package.rglob("*.py") if "cpu_count(" in p.read_text()]
    assert counting == ["cores.py"]


PRINT_SPINS = "import os, sys; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"


@pytest.mark.parametrize(
    ("given", "found"), [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")]
)
def test_threads_of_commands_spin_briefly_and_the_users_choice_holds(given, found):
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} | given
    code = f"from dtql_robot.cli import main; import sys; sys.argv = ['x', '--version']; main(); {PRINT_SPINS}"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{found} False"
