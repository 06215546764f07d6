"""What the chunks of different age count, as a policy's settings say."""

from __future__ import annotations

from dtql_robot.client.action_plan import exponential_weights
from dtql_robot.config import DataConfig
from dtql_robot.errors import InputError
from dtql_robot.policy.interface import Interface


def plan_weights(data: DataConfig, interface: Interface) -> tuple[float, ...] | None:
    """`ActionPlan`'s weights; None for the newest chunk alone.  InputError where they were to be fitted and are not."""
    n, coeff = data.executed, data.temporal_ensemble_coeff
    if coeff != "fit":
        return None if coeff is None else exponential_weights(coeff, data.horizon, n)
    if not interface.chunk_weights:
        raise InputError("This run has no fitted chunk weights; set --temporal-ensemble-coeff to a number or off.")
    found = [len(weights) for weights in interface.chunk_weights]
    expected = [-(-data.horizon // count) for count in range(1, data.horizon + 1)]
    if found != expected:
        raise InputError(f"The chunk weights of this policy are damaged: expected {expected} of them, found {found}.")
    return interface.chunk_weights[n - 1]
