"""Robot demonstrations in; a fast one-step policy, a success rate you can trust and a video out.

The main calls, each imported when it is first used:
`load`, `collect`, `train`, `load_policy`, `evaluate`, `Config`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dtql_robot.config import Config
    from dtql_robot.datasets import load
    from dtql_robot.envs.collection.collect import collect
    from dtql_robot.eval.evaluation import evaluate
    from dtql_robot.policy.one_step import load_policy
    from dtql_robot.training.loop import train

__version__ = "0.1.0"
__all__ = ["Config", "collect", "evaluate", "load", "load_policy", "train"]

_HOMES = {
    "Config": "dtql_robot.config",
    "load": "dtql_robot.datasets",
    "collect": "dtql_robot.envs.collection.collect",
    "evaluate": "dtql_robot.eval.evaluation",
    "load_policy": "dtql_robot.policy.one_step",
    "train": "dtql_robot.training.loop",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import dtql_robot` stays instant."""
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
