"""Where every optional package is required, a test that is skipped for want of one fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.skips import why_wrong

ROOT = Path(__file__).parents[1]
NO_ROBOSUITE = "robosuite is not installed (pip install 'dtql-robot[robosuite]')"


@pytest.mark.parametrize(
    ("reason", "required", "wrong"),
    [
        (NO_ROBOSUITE, None, False),  # not `make test`: anything may be missing
        (NO_ROBOSUITE, "metaworld onnx", False),  # no compiler here, so robosuite was not installed
        (NO_ROBOSUITE, "metaworld robosuite", True),
        ("could not import 'onnxruntime'", "onnx", True),
        ("torchvision is not installed", "vision", True),
        ("torchvision was built for another torch (operator torchvision::nms)", "onnx", False),
        ("torchvision fits this torch", "vision", False),
        ("/data/lift/low_dim.hdf5 is not there", "onnx", False),
        ("needs an NVIDIA GPU", "onnx", False),
        ("this machine has a GPU", "onnx", False),
        ("Drawing frames needs an OpenGL library and none was found", "onnx", False),
        ("not today", "onnx", True),
    ],
)
def test_which_skips_are_wrong(reason: str, required: str | None, wrong: bool) -> None:
    assert (why_wrong(reason, required) is not None) == wrong


@pytest.mark.slow
def test_a_wrong_skip_fails_the_run_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import pytest_make_collect_report, pytest_runtest_makereport\n"
    )
    (tmp_path / "test_module.py").write_text(
        "import pytest\npytest.importorskip('not_there', reason='onnx is not installed')\ndef test_it(): pass\n"
    )
    (tmp_path / "test_mark.py").write_text(
        "import pytest\n@pytest.mark.skipif(True, reason='onnx is not installed')\ndef test_it(): pass\n"
    )
    (tmp_path / "test_call.py").write_text("import pytest\ndef test_it(): pytest.skip('onnx is not installed')\n")

    options = ["-q", "-n", "0", "-p", "no:cacheprovider", "--continue-on-collection-errors", "--rootdir"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DTQL_REQUIRE_EXTRAS": "onnx"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 2 errors" in done.stdout
