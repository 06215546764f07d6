"""The pins agree with pyproject.toml on every supported Python; scripts/setup.sh says what is missing and goes on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]


def read_pins(file: str = "constraints.txt") -> list[Requirement]:
    """The requirements of a file of pins, without their hashes."""
    lines = (line.strip().removesuffix("\\") for line in (ROOT / file).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "--hash"))]


def direct_requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(line) for lines in (PROJECT["dependencies"], *extras) for line in lines]


def applies(requirement: Requirement, python: str) -> bool:
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    return requirement.marker is None or requirement.marker.evaluate(environment)


def run_bash(code: str, tmp_path: Path, stubs: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Source scripts/setup.sh and run `code`; `stubs` are programs (name: shell lines) found before the real ones."""
    for name, body in {"uname": "echo Linux", **(stubs or {})}.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/bash\n{body}\n")
        program.chmod(0o755)
    script = f'source scripts/setup.sh\nunset PIP_ARGS PYTHON\nPATH="{tmp_path}:$PATH"\n{code}'
    return subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


def test_constraints_are_exact_pins() -> None:
    for pin in read_pins():
        assert [spec.operator for spec in pin.specifier] == ["=="], f"{pin} is not an exact pin"


@pytest.mark.parametrize("python", PYTHONS)
def test_one_pin_per_package_and_python(python: str) -> None:
    names = [canonicalize_name(pin.name) for pin in read_pins() if applies(pin, python)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("python", PYTHONS)
def test_direct_dependencies_are_pinned_within_their_range(python: str) -> None:
    pins = {canonicalize_name(pin.name): pin for pin in read_pins() if applies(pin, python)}
    for requirement in direct_requirements():
        if not applies(requirement, python):
            continue
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement} has no pin in constraints.txt for Python {python}"
        version = next(iter(pin.specifier)).version
        assert requirement.specifier.contains(version), f"{pin} is outside {requirement} of pyproject.toml"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_hashes_and_the_same_versions(python: str) -> None:
    """After a change of dependencies: scripts/lock.sh"""
    pinned = {canonicalize_name(pin.name): pin.specifier for pin in read_pins() if applies(pin, python)}
    locked = {canonicalize_name(pin.name): pin for pin in read_pins("requirements.lock") if applies(pin, python)}
    for name, pin in locked.items():
        assert pin.specifier == pinned.get(name, pin.specifier), f"{pin} differs from constraints.txt"
    for line in PROJECT["dependencies"]:
        assert canonicalize_name(Requirement(line).name) in locked, f"{line} is not in requirements.lock"
    text = (ROOT / "requirements.lock").read_text()
    for block in re.split(r"\n(?=[a-z])", text)[1:]:
        assert "--hash=sha256:" in block, f"no hash: {block}"


def test_torch_is_pinned_exactly() -> None:
    for file in ("constraints.txt", "requirements.lock"):
        assert [str(pin.specifier) for pin in read_pins(file) if pin.name == "torch"] == ["==2.13.0"]


def test_oldest_tested_python_is_the_required_one() -> None:
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"


@pytest.mark.parametrize("script", ["scripts/setup.sh", "scripts/lock.sh", ".ci/run"])
def test_script_parses_and_is_executable(script: str) -> None:
    subprocess.run(["bash", "-n", script], cwd=ROOT, check=True)
    assert (ROOT / script).stat().st_mode & 0o100


def test_make_lists_its_targets() -> None:
    command = ["make", "--no-print-directory"]  # which make otherwise prints when the tests run below `make test`
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = "help setup extras demo check test campaign lint docs clean"
    assert [line.split()[1] for line in listed.splitlines()] == names.split()


def test_missing_gl_names_the_apt_line_and_goes_on(tmp_path: Path) -> None:
    done = run_bash("setup_gl blind", tmp_path, {"id": "echo 1000", "blind": "exit 1"})
    assert done.returncode == 0, done.stderr
    assert "sudo apt-get install -y libegl1 libgl1" in done.stdout


def test_missing_gl_goes_on_when_root_cannot_install_it(tmp_path: Path) -> None:
    stubs = {"id": "echo 0", "blind": "exit 1", "apt-get": "echo no such package; exit 100"}
    done = run_bash("setup_gl blind", tmp_path, stubs)
    assert done.returncode == 0, done.stderr
    assert "no such package" in done.stdout
    assert "Everything else works" in done.stdout


def test_working_gl_is_silent(tmp_path: Path) -> None:
    done = run_bash("setup_gl seeing", tmp_path, {"seeing": "exit 0", "apt-get": "exit 1"})
    assert (done.returncode, done.stdout) == (0, "")


def test_old_python_is_one_sentence(tmp_path: Path) -> None:
    done = run_bash("VENV=nowhere PYTHON=old create_venv", tmp_path, {"old": "exit 1"})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Python 3.10 to 3.14 is needed, and old is not one" in done.stderr


@pytest.mark.parametrize(
    ("pip_config", "says", "index"),
    [
        ("find-links='/wheels'", "", ""),
        ("", "cannot be reached", ""),
        ("# reachable", "torch comes from", "--extra-index-url"),
    ],
)
def test_cpu_index_is_used_only_where_it_helps(tmp_path: Path, pip_config: str, says: str, index: str) -> None:
    python = f'[[ $* != *"config list" ]] || {{ echo "{pip_config}"; exit; }}; [[ "{pip_config}" == *reachable* ]]'
    (tmp_path / "bin").mkdir()
    code = f'VENV="{tmp_path}"; has_nvidia() {{ return 1; }}; choose_index; echo "index: ${{INDEX_ARGS[*]}}"'
    done = run_bash(code, tmp_path, {"bin/python": python})
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"index: {index}")
    assert bool(index) == ("--extra" in done.stdout)


def test_without_a_compiler_what_needs_one_is_left_out_in_one_sentence(tmp_path: Path) -> None:
    code = f'VENV="{tmp_path}"; PATH="{tmp_path}"; available_extras; echo "${{EXTRAS[*]}}"'
    (tmp_path / "bin").mkdir()
    done = run_bash(code, tmp_path, {"bin/python": "exit 0", "id": "echo 1000"})
    assert done.returncode == 0, done.stderr
    sentence, extras = done.stdout.splitlines()
    assert "g++ make missing: robosuite and robomimic are left out" in sentence
    assert "apt-get install -y g++ make" in sentence
    assert extras == "client cluster lerobot makers metaworld notebooks onnx serve track view vision yaml zarr ogbench"


def test_with_a_compiler_every_extra_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    compilers = {"g++": "exit 0", "make": "exit 0", "bin/python": "exit 0"}
    done = run_bash(f'VENV="{tmp_path}"; available_extras; echo "${{EXTRAS[*]}}"', tmp_path, compilers)
    wanted = {name for name in PROJECT["optional-dependencies"] if name not in {"test", "docs"}}
    assert set(done.stdout.split()) == wanted


def test_an_extra_that_fails_to_install_stops_and_leaves_no_list(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "extras").write_text("metaworld\n")
    pip = '[[ $* != *" pip install "* ]] || { echo broken; exit 1; }'
    stubs = {"g++": "exit 0", "make": "exit 0", "bin/python": pip}
    code = f'VENV="{tmp_path}"; LOG="{tmp_path}/log"; has_nvidia() {{ return 0; }}; setup_extras'
    done = run_bash(code, tmp_path, stubs)
    assert done.returncode == 1
    assert "broken" in done.stderr
    assert "setup: pip failed" in done.stderr
    assert not (tmp_path / "extras").exists()


@pytest.mark.parametrize(("fits", "listed"), [("exit 0", True), ("exit 1", False)])
def test_torchvision_is_required_only_where_it_fits_torch(tmp_path: Path, fits: str, listed: bool) -> None:
    (tmp_path / "bin").mkdir()
    stubs = {"g++": "exit 0", "make": "exit 0", "bin/python": f'[[ $* != *"import torchvision"* ]] || {fits}'}
    code = f'VENV="{tmp_path}"; LOG="{tmp_path}/log"; has_nvidia() {{ return 0; }}; setup_extras'
    done = run_bash(code, tmp_path, stubs)
    assert done.returncode == 0, done.stderr
    extras = (tmp_path / "extras").read_text().split()
    assert {"onnx", "robosuite"} <= set(extras)
    assert ("vision" in extras) == listed == ("another torch" not in done.stdout)
