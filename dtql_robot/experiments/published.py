"""Published results, in percent or as normalized scores, to stand beside those that are measured here.

OGBench's single tasks: means over five tasks, one million steps of data and one million updates of 256, success within
the environment's time limit.  Q. Li et al. 2025 train on chunks of five actions, and on "scene" and "puzzle" with a
reward of -1 until the task is done (sparse) where Park et al. count what is left to do.

robomimic's multi-human data: one million updates, chunks of five actions with QC and QC-FQL.  D4RL: the score is 0 for
a random policy and 100 for an expert.  Tarasov et al. 2022 (CORL) ran BC, TD3+BC and IQL anew: the last scores of one
million updates, four seeds, from the tables of their repository.
"""

from __future__ import annotations

from collections.abc import Mapping

FQL_PAPER = "Park et al. 2025, arXiv 2502.02538"
QC_PAPER = "Li et al. 2025, arXiv 2507.07969"
DTQL_PAPER = "Chen et al. 2024, arXiv 2405.19690"
CORL = "Tarasov et al. 2022, arXiv 2210.07105"
DIFFUSION_POLICY = "Chi et al. 2023, arXiv 2303.04137"

_OF_CORL = {
    "halfcheetah-medium-v2": (42.40, 48.10, 48.31),
    "halfcheetah-medium-replay-v2": (35.66, 44.84, 44.46),
    "halfcheetah-medium-expert-v2": (55.95, 90.78, 94.74),
    "hopper-medium-v2": (53.51, 60.37, 67.53),
    "hopper-medium-replay-v2": (29.81, 64.42, 97.43),
    "hopper-medium-expert-v2": (52.30, 101.17, 107.42),
    "walker2d-medium-v2": (63.23, 82.71, 80.91),
    "walker2d-medium-replay-v2": (21.80, 85.62, 82.15),
    "walker2d-medium-expert-v2": (98.96, 110.03, 111.72),
    "antmaze-umaze-v2": (55.25, 70.75, 77.00),
    "antmaze-umaze-diverse-v2": (47.25, 44.75, 54.25),
    "antmaze-medium-play-v2": (0.00, 0.25, 65.75),
    "antmaze-medium-diverse-v2": (0.75, 0.25, 73.75),
    "antmaze-large-play-v2": (0.00, 0.00, 42.00),
    "antmaze-large-diverse-v2": (0.00, 0.00, 30.25),
    "pen-human-v1": (71.03, -3.88, 78.49),
    "pen-cloned-v1": (51.92, 5.13, 83.42),
}
"""Task -> scores of BC, TD3+BC and IQL."""

_OF_DTQL = {
    "halfcheetah-medium-v2": 57.9,
    "halfcheetah-medium-replay-v2": 50.9,
    "halfcheetah-medium-expert-v2": 92.7,
    "hopper-medium-v2": 99.6,
    "hopper-medium-replay-v2": 100.0,
    "hopper-medium-expert-v2": 109.3,
    "walker2d-medium-v2": 89.4,
    "walker2d-medium-replay-v2": 88.5,
    "walker2d-medium-expert-v2": 110.0,
}
"""Task -> DTQL's score in its paper's table of locomotion; their mean is the 88.7 that stands below it."""


def _of_dtql(task: str) -> Mapping[str, Mapping[str, float]]:
    return {DTQL_PAPER: {"DTQL": _OF_DTQL[task]}} if task in _OF_DTQL else {}


def _corl(*scores: float) -> Mapping[str, float]:
    return dict(zip(("BC", "TD3+BC", "IQL"), scores, strict=True))


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
    "robomimic mh": {QC_PAPER: {"FQL": 39.5, "BFN": 52.7, "QC-FQL": 74.3, "QC": 73}},
    "d4rl gym": {DTQL_PAPER: {"DTQL": 88.7}, CORL: _corl(50.40, 76.45, 81.63)},
    "d4rl antmaze": {CORL: _corl(17.21, 19.33, 57.17)},
}
"""Group of tasks -> source -> method -> success in percent, of D4RL the normalized score."""

TASKS_OF: Mapping[str, int] = {
    **{group: 5 for group in PUBLISHED if group.startswith("ogbench ")},
    "robomimic mh": 3,
    "d4rl gym": 9,
    "d4rl antmaze": 6,
}
"""Group -> the number of tasks that its published means are over."""

_BY_TASK: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "lift-mh": {
        QC_PAPER: {"FQL": 74.4, "BFN": 88, "QC-FQL": 96.8, "QC": 97},
        DIFFUSION_POLICY: {"Diffusion Policy (many steps)": 100},
    },
    "can-mh": {
        QC_PAPER: {"FQL": 38.4, "BFN": 59, "QC-FQL": 89.2, "QC": 85},
        DIFFUSION_POLICY: {"Diffusion Policy (many steps)": 100},
    },
    "square-mh": {QC_PAPER: {"FQL": 5.6, "BFN": 11, "QC-FQL": 36.8, "QC": 37}},
    "pen-human-v1": {DTQL_PAPER: {"DTQL": 64.1, "IQL": 71.5}, FQL_PAPER: {"ReBRAC": 103, "FQL": 53}},
    "pen-cloned-v1": {DTQL_PAPER: {"DTQL": 81.3, "IQL": 37.3}, FQL_PAPER: {"ReBRAC": 103, "FQL": 74}},
}
BY_TASK: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    **_BY_TASK,
    **{task: {**_BY_TASK.get(task, {}), **_of_dtql(task), CORL: _corl(*scores)} for task, scores in _OF_CORL.items()},
}
"""Task -> source -> method -> the same."""
