"""What the documents name exists."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

import dtql_robot
from tests.helpers.doc_names import FILE_AND_NAME, missing
from tests.helpers.picture import JOINING, arrows, circles, with_picture
from tests.test_imports import ALLOWED

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCUMENTS = [
    *(p for p in sorted(ROOT.glob("*.md")) if p.name != "CHANGELOG.md"),
    *sorted((ROOT / "docs").rglob("*.md")),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_what_is_named_exists(document):
    assert not list(missing(document.read_text()))


def test_the_new_places_in_the_changelog_exist():
    rows = re.findall(r"^  \|.*\|(.*)\|$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert len(rows) >= 20
    assert not [place for row in rows for place in missing(row)]


def test_the_algorithm_page_names_the_code_of_each_equation():
    assert len(FILE_AND_NAME.findall((ROOT / "docs/algorithm.md").read_text())) >= 15


def test_every_page_is_a_chapter_of_the_site():
    site = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r"'([\w/]+\.md)'", str(site["nav"]))) == pages


def test_the_reference_shows_every_public_name():
    text = "".join(path.read_text() for path in (ROOT / "docs/reference").glob("*.md"))
    shown = set(re.findall(r"^::: dtql_robot\.(\w+)$", text, re.MULTILINE))
    assert shown == set(dtql_robot.__all__) - {"__version__"}


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", "CITATION.cff", "zensical.toml", "docs/index.md"])
def test_one_address_of_the_project(file):
    repository = PROJECT["urls"]["Repository"]
    text = (ROOT / file).read_text()
    assert repository in text
    assert set(re.findall(r"https://github\.com/(?:[\w-]+/)?dtql-robot\b", text)) == {repository}


def test_the_readme_lists_every_optional_package():
    text = (ROOT / "README.md").read_text()
    listed = set(re.findall(r"`([\w-]+)`", re.search(r"Optional packages are extras: (.*?)\. ", text, re.DOTALL)[1]))
    assert listed == set(PROJECT["optional-dependencies"]) - {"test", "docs"}


def test_the_citation_has_the_packages_version():
    assert re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1] == dtql_robot.__version__


def test_the_picture_of_the_package_is_that_of_the_imports_test():
    """After a change of its table: python -m tests.helpers.picture docs/architecture.md"""
    page = (ROOT / "docs/architecture.md").read_text()
    assert page == with_picture(page)


def test_no_part_leads_back_to_itself():
    assert circles(ALLOWED) == []


def test_every_part_is_explained():
    page = (ROOT / "docs/architecture.md").read_text()
    table = page[page.index("| part |") : page.index("Three rules")]
    assert set(re.findall(r"`(\w+)`", re.sub(r"\|[^|]*\|$", "", table, flags=re.MULTILINE))) == {*ALLOWED, *JOINING}


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
