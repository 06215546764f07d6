"""What the documents name exists."""

import re
from pathlib import Path

import pytest

from tests.doc_lines import MENTION, with_lines

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_algorithm_names_the_lines_of_existing_functions():
    """After code has moved: python -m tests.doc_lines docs/algorithm.md"""
    text = (ROOT / "docs/algorithm.md").read_text()
    assert len(MENTION.findall(text)) >= 15
    assert text == with_lines(text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_and_pictures_exist(document):
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), target
