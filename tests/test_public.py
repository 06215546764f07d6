"""What `dtql_robot` exports, and that it is what the modules define."""

from __future__ import annotations

import ast
import importlib
import pydoc
from pathlib import Path

import pytest

import dtql_robot

WANTED = """
load collect train evaluate compare load_policy inspect validate make_env
save_robomimic save_minari save_lerobot save_ogbench save_d4rl
Config DataConfig DiffusionConfig PolicyConfig CriticConfig OptimConfig EncoderConfig WatchConfig Callback
report curves Episode Demonstrations VideoSpec ActionPlan EvalResult InputError __version__
"""


def imported_for_types() -> dict[str, list[str]]:
    """Module -> names of the imports below `if TYPE_CHECKING`."""
    tree = ast.parse(Path(dtql_robot.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [n for n in block.body if isinstance(n, ast.ImportFrom) and str(n.module).startswith("dtql_robot.")]
    return {str(node.module): [alias.name for alias in node.names] for node in imports}


def test_what_it_exports_is_what_it_lists() -> None:
    assert set(dtql_robot.__all__) == set(dir(dtql_robot)) == set(WANTED.split())


def test_type_checkers_and_the_interpreter_see_the_same_names() -> None:
    assert imported_for_types() == dtql_robot._HOMES


@pytest.mark.parametrize(("module", "names"), dtql_robot._HOMES.items())
def test_each_name_is_the_one_of_its_module(module: str, names: list[str]) -> None:
    for name in names:
        value = getattr(dtql_robot, name)
        assert value is getattr(importlib.import_module(module), name)
        assert value.__doc__, f"{name} has no docstring"


def test_help_shows_the_public_calls() -> None:
    page = pydoc.plain(pydoc.render_doc(dtql_robot))
    for name in ("load(", "train(", "evaluate(", "class Config", "class Episode"):
        assert name in page


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        dtql_robot.trian  # noqa: B018
