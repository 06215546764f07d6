"""What the documents name exists."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.helpers.doc_lines import MENTION, with_lines

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_algorithm_names_the_lines_of_existing_functions():
    """After code has moved: python -m tests.helpers.doc_lines docs/algorithm.md"""
    text = (ROOT / "docs/algorithm.md").read_text()
    assert len(MENTION.findall(text)) >= 15
    assert text == with_lines(text)


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
