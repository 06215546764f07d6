"""Published results, in percent, to stand beside those that are measured here.

OGBench's single tasks: means over five tasks, one million steps of data and one million updates of 256, success within
the environment's time limit.  Q. Li et al. 2025 train on chunks of five actions, and on "scene" and "puzzle" with a
reward of -1 until the task is done (sparse) where Park et al. count what is left to do.
"""

from __future__ import annotations

from collections.abc import Mapping

FQL_PAPER = "Park et al. 2025, arXiv 2502.02538"
QC_PAPER = "Li et al. 2025, arXiv 2507.07969"

PUBLISHED: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "ogbench cube-single-play": {
        FQL_PAPER: {"BC": 5, "IQL": 83, "ReBRAC": 91, "IDQL": 95, "IFQL": 79, "FQL": 96},
    },
    "ogbench cube-double-play": {
        FQL_PAPER: {"BC": 2, "IQL": 7, "ReBRAC": 12, "IDQL": 15, "IFQL": 14, "FQL": 29},
        QC_PAPER: {"FQL": 32, "BFN": 67, "QC-FQL": 42, "QC": 66},
    },
    "ogbench scene-play": {
        FQL_PAPER: {"BC": 5, "IQL": 28, "ReBRAC": 41, "IDQL": 46, "IFQL": 30, "FQL": 56},
        f"{QC_PAPER}, sparse": {"FQL": 52, "BFN": 87, "QC-FQL": 86, "QC": 82},
    },
    "ogbench puzzle-3x3-play": {
        FQL_PAPER: {"BC": 2, "IQL": 9, "ReBRAC": 21, "IDQL": 10, "IFQL": 19, "FQL": 30},
        f"{QC_PAPER}, sparse": {"FQL": 99, "BFN": 97, "QC-FQL": 64, "QC": 100},
    },
}
"""Group of tasks -> source -> method -> success in percent."""
