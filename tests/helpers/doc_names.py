"""Finds in the documents what they name of the package, so that a test can tell whether it exists.

Four kinds: `algorithm/losses.py` `denoising_loss` (a file of the package and a function, class or constant of it),
`dtql_robot/envs/make.py` or `tests/test_imports.py` (a file), `dtql_robot.datasets.loader` (a module, or a name in
one), and `test_seeds.py::test_it` (a test).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "dtql_robot"

FILE_AND_NAME = re.compile(r"`([\w/]+\.py)` `([\w.]+)`")
FILE = re.compile(r"`((?:dtql_robot|tests|scripts|benchmarks|docs)/[\w./]+\.\w+)`")
DOTTED = re.compile(r"\bdtql_robot(?:\.[A-Za-z_]\w*)+")
ENTRY_POINTS = re.compile(r'entry-points."dtql_robot.\w+"')
"""Names of groups, which are no modules."""
TEST = re.compile(r"`(test_\w+\.py)(?:::(test_\w+))?`")


def names_defined(file: Path) -> set[str]:
    """Functions, classes and assigned names at the top of a file, and the members of its classes as Class.name."""
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{member.name}" for member in node.body if isinstance(member, ast.FunctionDef)}
    return found


def missing(text: str) -> Iterator[str]:
    """What a document names and the project does not have."""
    text = ENTRY_POINTS.sub("", text)
    for file, name in FILE_AND_NAME.findall(text):
        path = PACKAGE / file
        if not path.is_file() or (name not in names_defined(path) and name not in _members(path)):
            yield f"{file} {name}"
    for file in FILE.findall(text):
        if not (ROOT / file).exists():
            yield file
    for dotted in DOTTED.findall(text):
        if dotted != "dtql_robot.json" and not _importable(dotted):
            yield dotted
    for file, test in TEST.findall(text):
        found = list((ROOT / "tests").rglob(file))
        if not found or (test and test not in names_defined(found[0])):
            yield f"{file}::{test}"


def _members(file: Path) -> set[str]:
    return {name.partition(".")[2] for name in names_defined(file) if "." in name}


def _importable(dotted: str) -> bool:
    """Whether it is a module of the package, or a name defined or exported in one."""
    parts = dotted.split(".")
    if _module(parts) is not None:
        return True
    file = _module(parts[:-1])
    if file is None:
        return False
    imported = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return parts[-1] in names_defined(file) | imported


def _module(parts: list[str]) -> Path | None:
    path = ROOT.joinpath(*parts)
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)
