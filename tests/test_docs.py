"""What the documents name exists."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.helpers.doc_names import FILE_AND_NAME, missing
from tests.helpers.picture import arrows, circles, with_picture

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*(p for p in sorted(ROOT.glob("*.md")) if p.name != "CHANGELOG.md"), *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_what_is_named_exists(document):
    assert not list(missing(document.read_text()))


def test_the_algorithm_page_names_the_code_of_each_equation():
    assert len(FILE_AND_NAME.findall((ROOT / "docs/algorithm.md").read_text())) >= 15


def test_the_picture_of_the_package_is_that_of_the_imports_test():
    """After a change of its table: python -m tests.helpers.picture docs/architecture.md"""
    page = (ROOT / "docs/architecture.md").read_text()
    assert page == with_picture(page)


def test_a_picture_draws_the_shortest_set_of_arrows_and_finds_circles():
    chain = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert arrows(chain) == [("a", "b"), ("b", "c")]
    assert circles(chain) == []
    assert circles(chain | {"c": {"a"}}) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "text",
    [
        "`algorithm/losses.py` `no_such_loss`",
        "`algorithm/none.py` `update`",
        "`dtql_robot/gone.py`",
        "dtql_robot.plan.ActionPlan",
        "`test_seeds.py::test_gone`",
    ],
)
def test_a_name_that_is_gone_is_found(text):
    assert len(list(missing(text))) == 1


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_and_pictures_exist(document):
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), target


def test_the_benchmark_page_is_that_of_the_kept_results():
    """After new results: python benchmarks/bench_results.py"""
    spec = importlib.util.spec_from_file_location("bench_results", ROOT / "benchmarks/bench_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs/bench.md").read_text() == module.page()
