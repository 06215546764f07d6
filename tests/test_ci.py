"""The workflow and the pre-commit hooks run what the Makefile has, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
STEPS = [(name, step["run"]) for name, job in WORKFLOW["jobs"].items() for step in job["steps"] if "run" in step]
MAKE = [(name, target) for name, run in STEPS for target in re.findall(r"^make ([\w-]+)$", run, re.MULTILINE)]


def makes(target: str) -> str:
    """What `make TARGET` would run."""
    command = ["make", "--no-print-directory", "--dry-run", "--always-make", target]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout


@pytest.mark.parametrize(("job", "target"), MAKE)
def test_a_job_makes_a_target_that_exists(job: str, target: str) -> None:
    assert makes(target)


def test_every_job_makes_something_and_runs_nothing_of_its_own() -> None:
    assert {name for name, _ in MAKE} == set(WORKFLOW["jobs"])
    others = [run for _, run in STEPS if not run.startswith("make ")]
    assert all(run.startswith("sudo apt-get update && sudo apt-get install -y ") for run in others)


def test_every_supported_python_is_tested() -> None:
    pythons = WORKFLOW["jobs"]["check"]["strategy"]["matrix"]["python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={pythons[0]}"
    assert (
        f"(3, {pythons[0][2:]}) <= sys.version_info < (3, {int(pythons[-1][2:]) + 1})"
        in (ROOT / "scripts/setup.sh").read_text()
    )


def test_the_job_with_every_extra_requires_them_and_the_one_without_gl_has_none() -> None:
    assert ("every-extra", "test") in MAKE
    assert 'DTQL_REQUIRE_EXTRAS="$(cat .venv/extras)"' in makes("test")
    assert WORKFLOW["jobs"]["without-gl"]["env"] == {"MUJOCO_GL": "disable"}
    assert "libegl1" not in str(WORKFLOW["jobs"]["without-gl"])


def test_pre_commit_runs_what_make_lint_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lint = makes("lint")
    for hook in hooks:
        assert hook["entry"] in lint
    assert len(hooks) == len(re.findall(r"^\.venv/bin/(?:ruff|mypy)", lint, re.MULTILINE))


def test_the_local_ci_script_runs_every_test() -> None:
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("make test")


@pytest.mark.parametrize("file", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda p: p.name)
def test_issue_forms_are_valid_yaml_with_a_body(file: Path) -> None:
    form = yaml.safe_load(file.read_text())
    if file.name != "config.yml":
        assert {"name", "description", "body"} <= set(form)
        assert all(part["type"] in {"textarea", "input", "markdown", "dropdown"} for part in form["body"])
