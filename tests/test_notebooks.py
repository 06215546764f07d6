"""The notebooks in examples/ run from top to bottom, in a kernel of their own, and show what they promise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (pip install 'dtql-robot[notebooks]')")
pytest.importorskip("ipykernel", reason="ipykernel is not installed (pip install 'dtql-robot[notebooks]')")
nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed (pip install 'dtql-robot[notebooks]')")

ROOT = Path(__file__).parents[1]
SMALL = {
    "own_file_to_video": "DEMONSTRATIONS, STEPS, EVAL_EVERY, EPISODES = 4, 4, 4, 1",
    "own_environment": "DEMONSTRATIONS, STEPS, EPISODES = 4, 4, 2",
    "compare_and_ablate": "DEMONSTRATIONS, STEPS, EPISODES = 4, 4, 1",
}
"""What takes the place of the sizes in the cell with the tag "parameters"."""
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
SHOWS = {
    "own_file_to_video": {"tables": 2, "pictures": 1, "videos": 1},
    "own_environment": {"tables": 2, "pictures": 2, "videos": 1},
    "compare_and_ablate": {"tables": 2, "pictures": 1, "videos": 1},
}
"""What a reader is to see: tables, pictures and videos in the page itself."""


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_is_kept_without_outputs_and_with_its_sizes_in_one_cell(path: Path) -> None:
    book = read(path)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    (sizes,) = [cell for cell in code if "parameters" in cell.metadata.get("tags", ())]
    replaced = SMALL[path.stem].split(" = ")[0].split(", ")
    assert [line.split(" = ")[0] for line in sizes.source.splitlines()] == [*replaced, "FOLDER"]
    assert path.stat().st_size < 20_000


@pytest.mark.slow
@pytest.mark.gl
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs_and_shows_tables_pictures_and_the_video(path: Path, tmp_path: Path) -> None:
    book = read(path)
    place = next(i for i, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", ()))
    book.cells.insert(place + 1, nbformat.v4.new_code_cell(SMALL[path.stem]))
    own = {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTER_PLATFORM_DIRS": "1"}
    one_thread = {"OMP_NUM_THREADS": "1"}  # several would wait for each other where other tests run
    client = nbclient.NotebookClient(
        book, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env={**os.environ, **own, **one_thread})
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    html = [o.data["text/html"] for o in outputs if "text/html" in o.get("data", {})]
    found = {
        "tables": sum("<table" in text for text in html),
        "pictures": sum("image/png" in o.get("data", {}) for o in outputs),
        "videos": sum(text.count("data:video/mp4;base64,") for text in html),
    }
    assert found == SHOWS[path.stem]
    streams = [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    assert streams == []
