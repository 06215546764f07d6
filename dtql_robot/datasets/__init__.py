"""Demonstrations from files, and back: robomimic, Minari, D4RL, OGBench, Zarr and LeRobot behind one function."""

from dtql_robot.datasets.formats.d4rl_write import save_d4rl
from dtql_robot.datasets.formats.lerobot.write import save_lerobot
from dtql_robot.datasets.formats.minari_write import save_minari
from dtql_robot.datasets.formats.ogbench_write import save_ogbench
from dtql_robot.datasets.formats.robomimic_write import save_robomimic
from dtql_robot.datasets.loader import load
from dtql_robot.datasets.summary import inspect
from dtql_robot.datasets.summary_text import format_summary
from dtql_robot.datasets.validation.validate import validate

__all__ = [
    "format_summary",
    "inspect",
    "load",
    "save_d4rl",
    "save_lerobot",
    "save_minari",
    "save_ogbench",
    "save_robomimic",
    "validate",
]
