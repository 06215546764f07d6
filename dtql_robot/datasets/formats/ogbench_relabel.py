"""The rewards of a single task for an OGBench recording, by the package's own functions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dtql_robot.datasets.formats.ogbench_names import environment_of
from dtql_robot.errors import InputError, describe
from dtql_robot.types import Array


class TaskLabels(NamedTuple):
    """Of every row's state.  rewards: (N,) float32, minus what is left to do.  solved: (N,) bool."""

    rewards: Array
    solved: Array


def relabel(name: str, recorded: Mapping[str, Array], file: str) -> TaskLabels:
    """The labels of the task that `name` says.

    recorded: "qpos" (N, Q), and "button_states" (N, B) where the scene has buttons.
    InputError without the package ogbench, for a task it does not have, and for a recording of another scene.
    """
    try:
        import gymnasium
        from ogbench.relabel_utils import relabel_dataset
    except ModuleNotFoundError as error:
        raise InputError(
            f"The rewards of {name} are computed by the package ogbench: `pip install 'dtql-robot[ogbench]'`."
        ) from error
    env_id = environment_of(name)
    if "qpos" not in recorded:
        raise InputError(
            f"{file} has no 'qpos', from which the rewards of {name} are computed. Use the published file."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Gymnasium, about the environment's own spaces
        try:
            env = gymnasium.make(env_id, disable_env_checker=True)
        except gymnasium.error.Error as error:
            raise InputError(f"OGBench has no environment {env_id!r} for {name} ({describe(error)}).") from error
        labels: dict[str, Any] = dict(recorded)
        try:
            env.reset(seed=0)
            _check_scene(env.unwrapped, recorded["qpos"], name, file)
            relabel_dataset(env_id, env, labels)
        except KeyError as error:
            raise InputError(f"{file} has no {error}, from which the rewards of {name} are computed.") from error
        except InputError:
            raise
        except (IndexError, ValueError, AssertionError) as error:
            raise InputError(f"The rewards of {name} cannot be made from {file} ({describe(error)}).") from error
        finally:
            env.close()
    return TaskLabels(np.asarray(labels["rewards"], np.float32), np.asarray(labels["masks"]) == 0)


def _check_scene(sim: Any, qpos: Array, name: str, file: str) -> None:
    expected = sim.model.nq
    if qpos.ndim != 2 or qpos.shape[1] != expected:
        raise InputError(
            f"'qpos' of {file} has shape {qpos.shape}; expected (rows, {expected}) for {name}. "
            "Name the data set that was recorded."
        )
