"""Turn robot demonstrations into a fast one-step policy, with a success rate you can trust.

    from dtql_robot import evaluate, report, train

    run = train("low_dim.hdf5", "runs/lift")  # or train(collect("FetchPickAndPlace-v4", 200), "runs/pick")
    result = evaluate(run, episodes=200, video="rollouts.mp4")
    print(result, report(run, result))

`dir(dtql_robot)` lists the public names. Each is imported when it is first used, so that `import dtql_robot` stays
instant. Names below this package, such as `dtql_robot.algorithm`, may move between minor versions.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not typing's, whose import takes longer than all else that `import dtql_robot` does
if TYPE_CHECKING:
    from dtql_robot.api.comparing import compare
    from dtql_robot.api.reporting import curves, report
    from dtql_robot.api.training import train
    from dtql_robot.checkpoint import load_policy
    from dtql_robot.client.action_plan import ActionPlan
    from dtql_robot.config import (
        Config,
        CriticConfig,
        DataConfig,
        DiffusionConfig,
        EncoderConfig,
        OptimConfig,
        PolicyConfig,
        WatchConfig,
    )
    from dtql_robot.datasets import (
        inspect,
        load,
        save_d4rl,
        save_lerobot,
        save_minari,
        save_ogbench,
        save_robomimic,
        validate,
    )
    from dtql_robot.envs import make_env
    from dtql_robot.envs.collection.collect import collect
    from dtql_robot.errors import InputError
    from dtql_robot.eval import EvalResult, VideoSpec, evaluate
    from dtql_robot.training.callback import Callback
    from dtql_robot.types import Demonstrations, Episode

__version__ = "0.1.0"

__all__ = [
    "ActionPlan",
    "Callback",
    "Config",
    "CriticConfig",
    "DataConfig",
    "Demonstrations",
    "DiffusionConfig",
    "EncoderConfig",
    "Episode",
    "EvalResult",
    "InputError",
    "OptimConfig",
    "PolicyConfig",
    "VideoSpec",
    "WatchConfig",
    "__version__",
    "collect",
    "compare",
    "curves",
    "evaluate",
    "inspect",
    "load",
    "load_policy",
    "make_env",
    "report",
    "save_d4rl",
    "save_lerobot",
    "save_minari",
    "save_ogbench",
    "save_robomimic",
    "train",
    "validate",
]

_HOMES = {
    "dtql_robot.api.comparing": ["compare"],
    "dtql_robot.api.reporting": ["curves", "report"],
    "dtql_robot.api.training": ["train"],
    "dtql_robot.config": [
        "Config",
        "CriticConfig",
        "DataConfig",
        "DiffusionConfig",
        "EncoderConfig",
        "OptimConfig",
        "PolicyConfig",
        "WatchConfig",
    ],
    "dtql_robot.datasets": [
        "inspect",
        "load",
        "save_d4rl",
        "save_lerobot",
        "save_minari",
        "save_ogbench",
        "save_robomimic",
        "validate",
    ],
    "dtql_robot.envs": ["make_env"],
    "dtql_robot.envs.collection.collect": ["collect"],
    "dtql_robot.errors": ["InputError"],
    "dtql_robot.eval": ["EvalResult", "VideoSpec", "evaluate"],
    "dtql_robot.client.action_plan": ["ActionPlan"],
    "dtql_robot.checkpoint": ["load_policy"],
    "dtql_robot.training.callback": ["Callback"],
    "dtql_robot.types": ["Demonstrations", "Episode"],
}
"""Module -> the public names that it defines or exports; the imports above, for use at run time."""


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, for `dir`, `help` and completion."""
    return list(__all__)
