"""Counts what makes a package hard to enter: python scripts/structure.py [FOLDER ...] (default: dtql_robot)

modules at the top, import arrows between parts, circles of modules, long files, long functions, and public definitions
without a docstring.  `make lint` does not fail on these numbers; a change that makes one worse should say why.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

FILE_LINES, FUNCTION_LINES = 300, 50

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def modules(package: Path) -> dict[str, Path]:
    """Dotted name -> file, of every module below a package's folder."""
    files = sorted(package.rglob("*.py"))
    return {".".join(f.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


def imported(nodes: Iterable[ast.AST], known: set[str]) -> set[str]:
    """Those of the known modules that the import statements among the nodes name."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names} & known
            found |= whole or ({node.module} & known)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known
    return found


def at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run on import; not those of functions, nor those for type checkers alone."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        for name in ("body", "orelse", "finalbody"):
            yield from at_import(getattr(node, name, []))


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Modules from which imports lead back to themselves."""

    def leads_to(start: str) -> set[str]:
        found: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            module = waiting.pop()
            if module not in found:
                found.add(module)
                waiting += graph[module]
        return found

    return [module for module in graph if module in leads_to(module)]


def public_definitions(body: list[ast.stmt]) -> Iterator[Definition]:
    """Public functions and classes at the top of a module, and public methods of public classes."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body)


def length(node: ast.stmt) -> int:
    """Lines from the definition to its end, decorators aside."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def count(package: Path) -> dict[str, int]:
    """What `main` prints, by name."""
    files = modules(package)
    trees = {name: ast.parse(file.read_text()) for name, file in files.items()}
    graph = {name: imported(at_import(tree.body), set(files)) - {name, package.name} for name, tree in trees.items()}
    graph.pop(package.name)  # the public face names modules of every part
    whole = {
        name: imported(ast.walk(tree), set(files)) - {name, package.name}
        for name, tree in trees.items()
        if name in graph
    }
    parts = {(a.split(".")[1], b.split(".")[1]) for a in whole for b in whole[a] if a.count(".") and b.count(".")}
    functions = [
        node
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    public = [node for tree in trees.values() for node in public_definitions(tree.body)]
    top = [file for file in package.glob("*.py") if not file.stem.startswith("__")]
    return {
        "modules": len(files),
        "modules at the top": len(top),
        "arrows between parts": sum(a != b for a, b in parts),
        "modules on a circle of imports": len(circles(graph)),
        "the same, with imports in functions": len(circles(whole)),
        f"files over {FILE_LINES} lines": sum(len(f.read_text().splitlines()) > FILE_LINES for f in files.values()),
        f"functions over {FUNCTION_LINES} lines": sum(length(node) > FUNCTION_LINES for node in functions),
        "public definitions": len(public),
        "public definitions without docstring": sum(ast.get_docstring(node) is None for node in public),
        "fmt: skip": sum(f.read_text().count("# fmt: skip") for f in files.values()),
    }


def main() -> None:
    """Print the counts of each folder side by side."""
    folders = [Path(name).resolve() for name in sys.argv[1:]] or [Path(__file__).resolve().parents[1] / "dtql_robot"]
    counts = [count(folder) for folder in folders]
    for name in counts[0]:
        print(f"{name:40}", *(f"{found[name]:8}" for found in counts))


if __name__ == "__main__":
    main()
