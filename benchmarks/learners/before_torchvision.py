"""Lets torchvision be imported where its wheel was built for another torch (a CUDA build beside torch's CPU build).

What is missing then are its compiled operators on boxes, which no learner here uses; their names are declared in
their place.
"""

import sys

import torch

HELD = []
"""What must live as long as the process."""

try:
    import torchvision  # noqa: F401
except RuntimeError:  # operator torchvision::nms does not exist
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    HELD.append(torch.library.Library("torchvision", "DEF"))
    for name in ("nms", "qnms"):
        HELD[0].define(f"{name}(Tensor input) -> Tensor")
