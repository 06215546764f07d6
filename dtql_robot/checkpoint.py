"""An agent and its interface in a run folder's checkpoint.pt, and back."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.config import Config
from dtql_robot.errors import InputError
from dtql_robot.policy.interface import Interface
from dtql_robot.run_folder import CHECKPOINT
from dtql_robot.system.files import new_file

FORMAT = 1
"""Version of the checkpoint's layout."""


def make_agent(cfg: Config, face: Interface, device: torch.device) -> DTQL:
    """An agent with the networks that read and write what the interface says, its weights drawn from the seed."""
    return DTQL(cfg, face.obs_dim, face.action_dim, face.sigma_data, device, face.image_shapes)


def save(run: Path, agent: DTQL, interface: Interface) -> None:
    """Write the run's checkpoint: weights, optimizers, random state, step, config and interface."""
    state = {
        "format": FORMAT,
        "config": json.dumps(agent.cfg.to_dict()),
        "interface": interface.to_dict(),
        "agent": agent.state_dict(),
    }
    with new_file(run / CHECKPOINT, overwrite=True) as temporary:
        torch.save(state, temporary)


def read(run: Path, device: torch.device) -> tuple[Config, Interface, dict[str, Any]]:
    """The checkpoint of a run folder: its config, its interface, and the agent's state."""
    path = run / CHECKPOINT
    if not path.is_file():
        raise InputError(f"{run} holds no {CHECKPOINT}; expected the folder that `dtql-robot train --out` wrote.")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, zipfile.BadZipFile, KeyError, ValueError) as e:
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        raise InputError(f"{path} is damaged or not a checkpoint ({reason}); train again.") from e
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(f"{path} is not a checkpoint of this version (expected format {FORMAT}); train again.")
    config = Config.from_dict(json.loads(state["config"]))
    return config, Interface.from_dict(state["interface"]), state["agent"]


def action_std(actions: np.ndarray) -> float:
    """Root mean square of the actions' per-dimension standard deviations: EDM's sigma_data.  actions: (N, A)."""
    return float(max(np.sqrt(actions.var(axis=0).mean()), 1e-2))
