"""A training that begins with the weights of a run, to go on learning from other data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from dtql_robot import checkpoint
from dtql_robot.algorithm.agent import DTQL
from dtql_robot.config import Config
from dtql_robot.config.policy import Q_WEIGHT, Q_WEIGHT_ALONE
from dtql_robot.errors import InputError
from dtql_robot.policy.interface import Interface
from dtql_robot.run_folder import read_config, seed_runs
from dtql_robot.types import Demonstrations

InitNorm = Literal["keep", "refit"]
INIT_NORMS: tuple[InitNorm, ...] = get_args(InitNorm)


@dataclass(frozen=True)
class Origin:
    """The weights to begin with.

    norm  "keep": observations and actions are scaled as they were in that run, so that its weights mean what they
          meant; "refit": as suits the new data
    """

    run: Path
    cfg: Config
    face: Interface
    networks: dict[str, Any]
    norm: InitNorm = "keep"

    def check(self, demos: Demonstrations, cfg: Config) -> None:
        """InputError where the new data is not of the form that the run's networks read and write."""
        face = self.face
        shapes = tuple(demos.obs_shapes.get(key, ()) for key in face.obs_keys)
        wrong = [key for key, a, b in zip(face.obs_keys, face.obs_shapes, shapes, strict=True) if a != b]
        if wrong:
            found = demos.obs_shapes.get(wrong[0])
            what = "has no such observation" if found is None else f"has it in shape {found}"
            expected = dict(zip(face.obs_keys, face.obs_shapes, strict=True))[wrong[0]]
            raise InputError(
                f"{self.run} reads observation {wrong[0]!r} in shape {expected}; {demos.source} "
                f"{what}, so that a training cannot begin with its weights."
            )
        if cfg.data.obs_keys != face.obs_keys:
            raise InputError(
                f"{self.run} reads the observations {', '.join(face.obs_keys)}, this training "
                f"{', '.join(cfg.data.obs_keys)}; pass the same --obs-keys."
            )
        if demos.action_dim != face.action_dim:
            raise InputError(
                f"{self.run} has actions with {face.action_dim} entries, {demos.source} with "
                f"{demos.action_dim}; a training cannot begin with its weights."
            )

    def give(self, agent: DTQL) -> None:
        """Put the weights into an agent whose optimizers are new.  InputError where one has another shape."""
        for name, network in agent.networks.items():
            own, theirs = network.state_dict(), self.networks.get(name, {})
            for key in own:
                mine, other = tuple(own[key].shape), tuple(theirs[key].shape) if key in theirs else None
                if mine != other:
                    raise InputError(
                        f"{self.run} has different networks: {name}'s {key} has shape {other} there, "
                        f"here {mine}; leave out the settings that change network sizes."
                    )
            if set(theirs) - set(own):
                raise InputError(
                    f"{self.run} has different networks: its {name} has {len(theirs)} tensors, here it has "
                    f"{len(own)}; leave out the settings that change network sizes."
                )
            network.load_state_dict(theirs)

    def sentences(self, demos: Demonstrations) -> tuple[str, ...]:
        """What the user should know of the beginning."""
        said = f"starts from the weights of {self.run}"
        if self.norm == "refit":
            return (f"{said}; observations and actions are scaled to this data (--init-norm keep: as in that run).",)
        extremes = np.stack([f(e.actions, axis=0) for e in demos.episodes for f in (np.min, np.max)])
        beyond = np.abs(self.face.action_norm.apply(extremes)).max(axis=0) > 1.001
        note = f"{said}, and keeps its scaling of observations and actions (--init-norm refit: scale to this data)."
        if not beyond.any():
            return (note,)
        which = ", ".join(map(str, np.flatnonzero(beyond)))
        return (
            note,
            f"warning: actions of this data leave the range of {self.run} in dimension {which}, which its "
            "scaling cannot reach; use --init-norm refit.",
        )


def read_origin(run: Path, norm: InitNorm, device: torch.device) -> Origin:
    """The run to begin with, or one of its checkpoints (RUN@best).  InputError where there is none."""
    if seeds := seed_runs(run):
        raise InputError(
            f"{run} holds the runs of several seeds; name one of them, such as {next(iter(seeds.values()))}."
        )
    cfg, face, state = checkpoint.read(run, device)
    return Origin(run, cfg, face, state["networks"], norm)


def inherited(run: Path) -> Config:
    """The settings to train with where a run's weights are begun with: its own, but for what the new data decides."""
    if seeds := seed_runs(run):
        raise InputError(
            f"{run} holds the runs of several seeds; name one of them, such as {next(iter(seeds.values()))}."
        )
    from dtql_robot.run_name import split_checkpoint

    cfg, usual = Config.from_dict(read_config(split_checkpoint(run)[0])["config"]), Config()
    data = dataclasses.replace(cfg.data, behaviour="auto", after_success="auto", filter_key=None, episode_length=None)
    p = cfg.policy
    q_weight = None if p.q_unit == "step" and p.q_weight in (Q_WEIGHT, Q_WEIGHT_ALONE) else p.q_weight
    policy = dataclasses.replace(p, awr_temperature=None, q_weight=q_weight)
    return dataclasses.replace(cfg, data=data, policy=policy, watch=usual.watch, device=usual.device, seed=usual.seed)
