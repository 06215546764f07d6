"""What the documents name exists."""

import re
from pathlib import Path

import pytest

from tests.doc_lines import MENTION, line_of

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_algorithm_names_existing_functions():
    mentions = MENTION.findall((ROOT / "docs/algorithm.md").read_text())
    assert len(mentions) >= 15
    assert all(line_of(file, function) > 0 for file, function in mentions)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_and_pictures_exist(document):
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), target
