"""What the training loop does otherwise where several processes train together (see `distributed`)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import torch

from dtql_robot.system.interrupts import Interrupts
from dtql_robot.training.claim import claimed
from dtql_robot.training.distributed import Group
from dtql_robot.training.init_from import Origin
from dtql_robot.training.learner import Learner
from dtql_robot.training.prepare import Prepared, Resolved
from dtql_robot.training.run import Run, start


@contextmanager
def claimed_by_first(
    group: Group | None,
    out: Path,
    seed: int,
    seeds: Sequence[int] = (),
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[dict[int, Path]]:
    """`claimed`, by the process that writes; the others learn the folders."""
    with ExitStack() as stack:

        def claim() -> dict[int, Path]:
            return stack.enter_context(claimed(out, seed, seeds, resume=resume, overwrite=overwrite))

        yield claim() if group is None else group.from_first(claim)


def without_graph(settings: Resolved) -> Resolved:
    """A CUDA graph cannot ask other processes in the middle of an update."""
    optim = dataclasses.replace(settings.cfg.optim, cuda_graph="off")
    return dataclasses.replace(settings, cfg=dataclasses.replace(settings.cfg, optim=optim))


def start_together(
    group: Group,
    folders: Mapping[int, Path],
    prepared: Prepared,
    device: torch.device,
    resume: bool,
    origin: Origin | None = None,
) -> list[Run]:
    """`start`, where only the first process needs to see the folder: the others take its agent's state.

    InputError where the processes are not about to do the same.
    """
    group.agree("the version of torch", torch.__version__)
    group.agree("settings or data", _fingerprint(prepared))
    runs: list[Run] = []

    def first() -> tuple[dict[str, Any], bool, tuple[str, ...]]:
        runs.extend(start(folders, prepared, device, resume, origin))
        return runs[0].agent.state_dict(), runs[0].resumed, runs[0].notes

    state, resumed, notes = group.from_first(first)
    if not runs:
        (run,) = start(folders, prepared, device, resume=False)
        run.agent.load_state_dict(state)
        runs = [dataclasses.replace(run, resumed=resumed, notes=notes)]
    runs[0].agent.peers = group
    return runs


def _fingerprint(prepared: Prepared) -> str:
    """Equal for equal settings and, but for chance, equal demonstrations."""
    face = prepared.interface
    found = hashlib.sha256(json.dumps([prepared.cfg.to_dict(), face.obs_keys, len(prepared.buffer)]).encode())
    for scaling in (face.obs_norm, face.action_norm):
        found.update(scaling.shift.tobytes() + scaling.scale.tobytes())
    return found.hexdigest()[:12]


def asked_to_stop(interrupts: Interrupts, group: Group | None) -> bool:
    """Whether this process, or another of the group, has been asked to stop; all of them learn it at one update."""
    return bool(interrupts) if group is None else group.any(bool(interrupts))


def is_logged(learner: Learner) -> bool:
    """Whether the update just made is one for metrics.csv."""
    return learner.step % learner.cfg.log_every == 0 or learner.step == learner.cfg.updates


def follow(group: Group, learner: Learner, buffer: Any, interrupts: Interrupts) -> None:
    """All that a process does in training but for writing.  SystemExit where one was asked to stop."""
    with closing(learner.updates(buffer)) as updates:
        while learner.step < learner.cfg.updates:
            if asked_to_stop(interrupts, group):
                raise SystemExit(1)
            losses = next(updates)
            if is_logged(learner):
                group.mean_losses(losses)
