"""Dependencies point one way, and nothing heavy is imported before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dtql_robot

PACKAGE = Path(dtql_robot.__file__).parent

COMMON = {"errors", "types", "env_record", "system"}
"""What any part may import."""

ALLOWED = {
    "errors": set(),
    "types": set(),
    "env_record": {"errors", "system"},
    "system": {"errors"},
    "config": {"errors", "system"},
    "paper": set(),
    "presets": {"config", "errors", "paper"},
    "failures": {"errors"},
    "metrics": set(),
    "run_name": {"errors"},
    "datasets": COMMON,
    "envs": COMMON,
    "algorithm": {*COMMON, "config"},
    "result_shape": {"system"},
    "run_folder": {*COMMON, "config", "result_shape", "run_name"},
    "client": set(),  # a package of its own on the robot
    "policy": {*COMMON, "algorithm", "client", "config"},
    "policy_folder": {*COMMON, "algorithm", "config", "policy", "run_folder", "run_name"},
    "serving": {*COMMON, "client", "policy"},
    "checkpoint": {*COMMON, "algorithm", "config", "policy", "policy_folder", "run_folder", "run_name"},
    "training": {
        *COMMON,
        *("algorithm", "checkpoint", "config", "datasets", "metrics", "policy", "run_folder", "run_name"),
    },
    "eval": {*COMMON, "client", "envs", "policy"},
    "makers": {
        *COMMON,
        *("algorithm", "config", "envs", "eval", "policy", "policy_folder", "run_folder", "run_name"),
    },
    "replay": {*COMMON, "datasets", "envs", "eval"},
    "reports": {*COMMON, "config", "metrics", "run_folder", "run_name"},
    "tracking": {*COMMON, "config", "metrics", "reports", "run_folder", "training"},
    "api": {
        *COMMON,
        *("checkpoint", "config", "datasets", "envs", "eval", "metrics", "paper", "policy", "presets"),
        *("reports", "run_folder", "run_name", "tracking", "training"),
    },
    "viewer": {*COMMON, "envs", "eval", "policy", "replay"},
    "experiments": {
        *COMMON,
        *("algorithm", "config", "datasets", "envs", "eval", "policy", "run_folder", "training"),
        "paper",  # its rows are a suite
        "presets",  # its methods are recipes
    },
}
"""Module or sub-package -> what it may import of the package, itself aside.  `cli` and `commands` join all sides."""

ON_CALL = {"types": {"datasets"}}
"""What a part imports only when it is called: `Demonstrations.from_arrays` has its checks among the readers."""


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "dtql_robot":
            tail = node.module.split(".")[1:]
            names |= {tail[0]} if tail else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("dtql_robot.")}
    return names - {"__version__"}


@pytest.mark.parametrize("part", ALLOWED)
def test_dependencies_point_one_way(part):
    files = sorted((PACKAGE / part).rglob("*.py")) or [PACKAGE / f"{part}.py"]
    for file in files:
        assert imports_of(file) <= ALLOWED[part] | {part} | ON_CALL.get(part, set()), file


def test_every_module_has_its_place():
    parts = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert parts - {"__init__", "__main__", "cli", "commands"} == set(ALLOWED)


def test_types_import_nothing_of_the_package_before_from_arrays_is_called():
    for file in (PACKAGE / "types").glob("*.py"):
        modules = [n.module or "" for n in ast.parse(file.read_text()).body if isinstance(n, ast.ImportFrom)]
        assert not [m for m in modules if m.startswith("dtql_robot") and not m.startswith("dtql_robot.types.")]


def test_help_imports_no_typing():
    """-S: other packages' .pth files may import anything."""
    code = (
        f"import sys; sys.path.append({str(PACKAGE.parent)!r}); import dtql_robot.cli; print('typing' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert found == "False"


HEAVY = ("torch", "mujoco", "gymnasium", "gymnasium_robotics", "minari", "matplotlib", "imageio", "h5py")


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("dtql_robot.cli", (*HEAVY, "numpy", "tyro", "dtql_robot.config", "dtql_robot.env_record")),
        ("dtql_robot.envs", HEAVY),
        ("dtql_robot.eval", HEAVY),
        ("dtql_robot.policy.numpy_policy", HEAVY),
        ("dtql_robot.run_folder", HEAVY),
        ("dtql_robot.client.real_time", HEAVY),
        ("dtql_robot.policy_folder.files", HEAVY),
        ("dtql_robot.serving.server", HEAVY),
        ("dtql_robot.policy.one_step", ("mujoco", "gymnasium", "minari", "matplotlib", "imageio")),
        ("dtql_robot.training.loop", ("mujoco", "gymnasium", "minari", "matplotlib", "imageio")),
        ("dtql_robot.datasets", ("torch", "mujoco", "gymnasium", "minari", "matplotlib")),
    ],
)
@pytest.mark.slow
def test_importing_stays_light(module, forbidden):
    if module.startswith("dtql_robot.serving"):
        pytest.importorskip("websockets", reason='needs pip install "dtql-robot[serve]" (websockets, msgpack)')
    code = f"import sys, {module}; print([m for m in {forbidden!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == "[]"
