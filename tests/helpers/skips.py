"""Which tests may be skipped, and when.

`make test` names the optional packages that it installed in DTQL_REQUIRE_EXTRAS. A test may then only be skipped for
one of the reasons below; a skip for any other reason is a failure, because what it needs should be there.
"""

from __future__ import annotations

import os
import re

import pytest

from dtql_robot.envs.rendering.gl import gl_missing

ALLOWED = {
    "needs a GPU, or a machine without one": r"needs an NVIDIA GPU|has a GPU",
    "needs OpenGL": r"OpenGL|Drawing is switched off",
    "needs a public file (DTQL_ROBOT_DATA)": r"DTQL_ROBOT_DATA|\.hdf5 is not there|/\S+ is not there",
    "needs a browser": r"needs Chromium",
    "needs a machine that lets Ray start": r"Ray does not start here",
    "needs a C++ compiler": r"needs a C\+\+ compiler",
    "needs a user who is not root": r"this user may read everything",
    "needs another version of HDF5": r"this version of HDF5 wrote no global heap",
    "needs another Python": r"needs Python \d|Python 3\.10 itself",
    "needs a torchvision that cannot be imported": r"torchvision fits this torch",
}
EXTRAS = {
    "robosuite": r"robosuite",
    "robomimic": r"robomimic",
    "metaworld": r"metaworld",
    "ogbench": r"ogbench",
    "onnx": r"onnx",
    "vision": r"torchvision|timm",
    "zarr": r"numcodecs",
    "cluster": r"\bray\b|submitit",
    "makers": r"stable_baselines3",
    "lerobot": r"pyarrow|\bav\b",
    "track": r"tensorboard|wandb|mlflow",
    "yaml": r"PyYAML",
    "client": r"msgpack|websockets",
    "serve": r"msgpack|websockets",
    "view": r"viser",
    "notebooks": r"nbclient|ipykernel",
}
"""Optional package -> what a skip's reason says of it."""


def why_wrong(reason: str, required: str | None) -> str | None:
    """What is wrong with a skip for this reason when these extras (names with blanks) are required; None if nothing."""
    if required is None or any(re.search(pattern, reason) for pattern in ALLOWED.values()):
        return None
    named = [extra for extra, pattern in EXTRAS.items() if re.search(pattern, reason)]
    if named and not set(named) & set(required.split()):
        return None
    return f"skipped, although everything it needs should be here (tests/helpers/skips.py): {reason}"


def fail_wrong_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn the report of a skip that is not allowed into one of a failure."""
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    wrong = why_wrong(reason, os.environ.get("DTQL_REQUIRE_EXTRAS"))
    if wrong is not None:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: {wrong}"


def skip_without_gl(item: pytest.Item) -> None:
    """Skip a test marked `gl` where frames cannot be drawn."""
    if item.get_closest_marker("gl") and (missing := gl_missing()):
        pytest.skip(missing)
