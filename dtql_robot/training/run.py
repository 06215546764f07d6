"""One policy under training and its folder: begun, or taken up where it was left."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dtql_robot import checkpoint
from dtql_robot.algorithm.agent import DTQL, lr_factor
from dtql_robot.config import Config
from dtql_robot.errors import InputError
from dtql_robot.policy.interface import Interface
from dtql_robot.run_folder import CHECKPOINT, flatten
from dtql_robot.training.buffer import ChunkBuffer
from dtql_robot.training.chunk_weights import fit_chunk_weights
from dtql_robot.training.init_from import Origin
from dtql_robot.training.pixel_buffer import PixelBuffer
from dtql_robot.training.prepare import Prepared

RESUMABLE = {
    *("steps", "log_every", "checkpoint_every", "device", "threads", "optim.compile", "optim.cuda_graph"),
    *("watch.eval_every", "watch.eval_episodes", "watch.keep", "watch.log"),
}
"""Settings that may differ between a run and its continuation."""


@dataclass
class Run:
    """One policy under training and the folder it is saved in.

    resumed  whether it continues what the folder held; notes: what the user should know of that
    """

    folder: Path
    agent: DTQL
    interface: Interface
    buffer: ChunkBuffer | PixelBuffer
    resumed: bool = False
    notes: tuple[str, ...] = ()

    def fitted(self) -> Interface:
        """The interface with the chunk weights that suit the agent as it is, where they are to be fitted."""
        if self.agent.cfg.data.temporal_ensemble_coeff == "fit":
            weights = fit_chunk_weights(self.agent, self.buffer)
            self.interface = dataclasses.replace(self.interface, chunk_weights=weights)
        return self.interface


def start(
    folders: Mapping[int, Path], prepared: Prepared, device: torch.device, resume: bool, origin: Origin | None = None
) -> list[Run]:
    """The run of each seed: new, or the folder's own where it is to be resumed and there is one.

    origin: the weights that new ones begin with; None: those drawn from the seed.
    """
    return [_start(folder, prepared, seed, device, resume, origin) for seed, folder in folders.items()]


def _start(
    folder: Path, prepared: Prepared, seed: int, device: torch.device, resume: bool, origin: Origin | None
) -> Run:
    interface, cfg = prepared.interface, dataclasses.replace(prepared.cfg, seed=seed)
    agent = checkpoint.make_agent(cfg, interface, device)
    run = Run(folder, agent, interface, prepared.buffer)
    if resume and (folder / CHECKPOINT).exists():
        saved = _restore(folder, agent, interface, device)
        return dataclasses.replace(run, resumed=True, notes=_notes(saved, cfg, agent.step))
    if origin is not None:
        origin.give(agent)
        return run
    if agent.encoder is not None and agent.ema_encoder is not None:
        agent.encoder.load_backbone()
        agent.ema_encoder.load_state_dict(agent.encoder.state_dict())
    return run


def _restore(folder: Path, agent: DTQL, interface: Interface, device: torch.device) -> Config:
    """Load what the folder holds into the agent; returns its settings.  InputError where it is of another training."""
    saved, saved_interface, state = checkpoint.read(folder, device)
    before, now = flatten(saved.to_dict()), flatten(agent.cfg.to_dict())
    changed = sorted(k for k in now if now[k] != before[k] and k not in RESUMABLE)
    if changed:
        what = ", ".join(f"{k} was {before[k]!r}, now {now[k]!r}" for k in changed)
        raise InputError(f"{folder} was trained with other settings or data: {what}; resume with the same ones.")
    for mine, theirs in (
        (interface.obs_norm, saved_interface.obs_norm),
        (interface.action_norm, saved_interface.action_norm),
    ):
        if not (np.array_equal(mine.shift, theirs.shift) and np.array_equal(mine.scale, theirs.scale)):
            raise InputError(f"{folder} was trained on other data; resume with the same --data.")
    if agent.cfg.steps < saved.steps:
        done = f"{state['step']} of its {saved.updates} updates are done"
        raise InputError(
            f"--steps is {agent.cfg.steps}, but {folder} is a training of {saved.steps} steps, and {done}; "
            f"--resume takes as many or more."
        )
    checkpoint.load_into(agent, state, folder)
    return saved


def _notes(saved: Config, cfg: Config, step: int) -> tuple[str, ...]:
    if cfg.steps == saved.steps or not cfg.optim.lr_decay:
        return ()
    before, now = (c.lr * lr_factor(c, step) for c in (saved, cfg))
    return (
        f"--steps {cfg.steps} instead of {saved.steps}: the learning rate decays over the whole run, so at update "
        f"{step} it goes up from {before:.2g} to {now:.2g}.",
    )
