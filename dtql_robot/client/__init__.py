"""What runs on the robot: the client of a policy server, action plans, and a loop at a fixed rate.

It needs NumPy, msgpack and websockets, and nothing of the rest of this package, so that a robot's computer can have it
without torch.  There it is the package `dtql_robot_client` (see README.md in this folder).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .action_plan import ActionPlan
    from .client import Client, PolicyError
    from .committed_plan import CommittedPlan
    from .frame_stack import FrameStack
    from .real_time import RealTimeLoop, Timing

__version__ = "0.1.0"

__all__ = ["ActionPlan", "Client", "CommittedPlan", "FrameStack", "PolicyError", "RealTimeLoop", "Timing"]

_HOMES = {
    "action_plan": ["ActionPlan"],
    "client": ["Client", "PolicyError"],
    "frame_stack": ["FrameStack"],
    "committed_plan": ["CommittedPlan"],
    "real_time": ["RealTimeLoop", "Timing"],
}
"""Module -> its public names, imported when they are first used: plans need no websocket."""


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
