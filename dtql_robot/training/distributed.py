"""One training on the processes that torchrun started: each computes a share of every batch.

All processes have the same data, networks and random numbers, and average their gradients before each step, so that
they stay equal to each other and to a single process that takes whole batches, but for rounding.  The first process
alone writes.  Which processes there are is no part of a training: it can be resumed by more or fewer.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from dtql_robot.algorithm.objectives import Losses
from dtql_robot.algorithm.peers import Peers
from dtql_robot.config import Config
from dtql_robot.errors import InputError
from dtql_robot.system.launcher import launched, refuse_launcher
from dtql_robot.system.workers import WorkerError

T = TypeVar("T")


class Group(Peers):
    """The processes of one training.  rank: this one's number.  count: how many there are."""

    def __init__(self, batch_size: int) -> None:
        """batch_size: of the whole batch, which `count` must divide."""
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        if batch_size % self.count:
            raise InputError(
                f"batch_size is {batch_size}, which {self.count} processes cannot share equally; choose a "
                f"multiple of {self.count}."
            )
        self.whole, self.part = batch_size, batch_size // self.count

    def share(self, rows: Tensor, axis: int = 0) -> Tensor:
        """See `Peers`.  Of a batch for the critic that the behaviour's follows (`types.halves`), a part of each."""
        parts = rows.unflatten(axis, (-1, self.whole))
        return parts.narrow(axis + 1, self.rank * self.part, self.part).flatten(axis, axis + 1)

    def draw(self, make: Callable[..., Tensor], shape: torch.Size, axis: int = 0) -> Tensor:
        """See `Peers`: the whole batch's numbers are drawn, so that the generators of all stay alike."""
        whole = torch.Size(size * self.count if i == axis else size for i, size in enumerate(shape))
        return self.share(make(whole), axis)

    def rows_of_all(self, rows: Tensor) -> Tensor:
        """See `Peers`; without gradient."""
        found = [torch.empty_like(rows) for _ in range(self.count)]
        with _told():
            dist.all_gather(found, rows.detach().contiguous())
        return torch.cat(found)

    def mean(self, statistic: Tensor) -> Tensor:
        """See `Peers`; without gradient."""
        total = statistic.detach().clone()
        with _told():
            dist.all_reduce(total)
        return total / self.count

    def average_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        """See `Peers`: all gradients travel as one."""
        found = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        flat = torch.cat([grad.flatten() for grad in found])
        with _told():
            dist.all_reduce(flat)
        flat /= self.count
        for grad, mean in zip(found, flat.split([grad.numel() for grad in found]), strict=True):
            grad.copy_(mean.view_as(grad))

    def mean_losses(self, losses: Losses) -> Losses:
        """What an update logged, of the whole batch."""
        names = sorted(losses)
        means = self.mean(torch.stack([losses[name].float() for name in names]))
        return dict(zip(names, means, strict=True))

    def any(self, flag: bool) -> bool:
        """Whether one of the processes says so."""
        found = torch.tensor(float(flag), device="cuda" if dist.get_backend() == "nccl" else "cpu")
        with _told():
            dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return bool(found)

    def agree(self, what: str, value: Any) -> None:
        """InputError where the processes do not have one value.  what: names it."""
        found: list[Any] = [None] * self.count
        with _told():
            dist.all_gather_object(found, value)
        other = next((rank for rank, theirs in enumerate(found) if theirs != found[0]), None)
        if other is not None:
            raise InputError(
                f"The processes of this training differ in {what}: process 0 has {found[0]}, process "
                f"{other} has {found[other]}; start all of them alike."
            )

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` returns in the first process, in all of them; its InputError too."""
        found: list[Any] = [None]
        if self.rank == 0:
            try:
                found = [make()]
            except InputError as error:
                found = [error]
        with _told():
            dist.broadcast_object_list(found)
        if isinstance(found[0], InputError):
            _refused(self.rank, found[0])
        return found[0]


def _refused(rank: int, error: InputError) -> NoReturn:
    """The first process says what is wrong; the others end without a word."""
    if rank == 0:
        raise error
    time.sleep(1.0)  # the launcher ends all once one has ended
    raise SystemExit(2)


@contextmanager
def _told() -> Iterator[None]:
    """A process that has gone ends the training of all, in a sentence."""
    try:
        yield
    except RuntimeError as error:
        raise WorkerError(
            "Another process of this training has ended; the last checkpoint is kept, and the same command with "
            "--resume continues from there."
        ) from error


@contextmanager
def said_once(group: Group | None) -> Iterator[None]:
    """What is printed in the block is printed by the first process alone."""
    if group is None or group.rank == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@contextmanager
def group_of(cfg: Config, seeds: int = 1) -> Iterator[Group | None]:
    """The processes that train together while the block runs; None where this is the only one.

    InputError for another launcher than torchrun, and for what several processes cannot share.
    """
    found = launched()
    if found is None:
        yield None
        return
    if found.launcher != "torchrun":
        refuse_launcher("Training without torchrun")
    _check(cfg, seeds)
    on_gpu = cfg.device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    try:
        dist.init_process_group("nccl" if on_gpu else "gloo")
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"torchrun's variables name processes that cannot be reached ({error}); start the training with torchrun."
        ) from error
    try:
        yield Group(cfg.optim.batch_size)
    finally:
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()


def _check(cfg: Config, seeds: int) -> None:
    o = cfg.optim
    wrong = [f"{name}=on" for name in ("compile", "cuda_graph") if getattr(o, name) == "on"]
    if seeds > 1:
        raise InputError("--seeds trains several policies in one process, torchrun one policy in several; choose one.")
    if wrong:
        raise InputError(f"{' and '.join(wrong)} cannot be combined with torchrun; leave it out.")
