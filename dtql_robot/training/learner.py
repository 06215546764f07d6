"""What the training loop drives: one agent, or all agents as one."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Protocol

import torch

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.algorithm.objectives import Losses
from dtql_robot.algorithm.peers import ALONE
from dtql_robot.config import Config
from dtql_robot.errors import InputError
from dtql_robot.training.buffer import ChunkBuffer
from dtql_robot.training.cuda_graph import GraphedUpdate
from dtql_robot.training.ensemble import Ensemble, ParallelEnsembles, forever
from dtql_robot.training.hardware import keep_compiled_code, should_compile
from dtql_robot.training.pixel_buffer import PixelBuffer
from dtql_robot.types import Batch, PixelBatch


class Learner(Protocol):
    """Agents that are updated together.  cfg: their settings, but for the seed.  step: updates so far."""

    @property
    def cfg(self) -> Config:
        """The settings that it is trained with."""

    @property
    def step(self) -> int:
        """The number of updates so far."""

    def compile_losses(self) -> None:
        """Compile what an update computes."""

    def updates(self, buffer: ChunkBuffer) -> Generator[Losses, None, None]:
        """Without end: draw a batch, update, yield the losses, scalars or (agents,) on the device.

        From the learner's step on, so that a resumed run sees the batches it would have seen.
        """

    def scatter(self) -> None:
        """Bring the agents up to the learner's step, for instance to save them."""

    def close(self) -> None:
        """Let go of threads."""


class SingleLearner:
    """One agent by itself, the only kind that learns from images."""

    def __init__(self, agent: DTQL):
        self.agent, self.cfg = agent, agent.cfg

    @property
    def step(self) -> int:
        """The number of updates so far."""
        return self.agent.step

    def compile_losses(self) -> None:
        """Compile what an update computes."""
        self.agent.compile_losses()

    def updates(self, buffer: ChunkBuffer | PixelBuffer) -> Generator[Losses, None, None]:
        """See `Learner`."""
        size, agent = self.cfg.optim.batch_size, self.agent
        if not isinstance(buffer, PixelBuffer):
            return self._updates(functools.partial(buffer.sample, size, agent.generator, agent.peers))
        if self.cfg.optim.cuda_graph == "on":
            return self._graphed(buffer, size)
        return self._read_ahead(buffer, size)

    def _graphed(self, buffer: PixelBuffer, size: int) -> Generator[Losses, None, None]:
        """Samples are drawn on the host, as always; which they are is all that the graph is told."""
        agent, seed = self.agent, self.cfg.seed
        index = buffer.draw(size, seed, agent.step).to(agent.device)

        def draw() -> None:
            # Newly pinned each time: torch uses that memory again only once the copy is over.
            index.copy_(buffer.draw(size, seed, agent.step).pin_memory(), non_blocking=True)

        return forever(GraphedUpdate(agent, lambda: buffer.batch(index), draw))

    def _read_ahead(self, buffer: PixelBuffer, size: int) -> Generator[Losses, None, None]:
        with closing(buffer.batches(size, self.cfg.seed, self.step, self.agent.peers)) as batches:  # type: ignore[type-var]
            yield from self._updates(functools.partial(next, batches))

    def _updates(self, sample: Callable[[], Batch | PixelBatch]) -> Generator[Losses, None, None]:
        if self.cfg.optim.cuda_graph == "on":
            return forever(GraphedUpdate(self.agent, sample))
        return forever(lambda: self.agent.update(sample()))

    def scatter(self) -> None:
        """The agent is up to date."""

    def close(self) -> None:
        """Nothing to let go of."""


def make_learner(agents: Sequence[DTQL]) -> Learner:
    """One learner of all agents: on a CPU in as many parts as seeds and threads allow, compiled where that pays.

    InputError for agents that are not at one step.
    """
    learner = _join(agents)
    updates = learner.cfg.updates * len(agents)  # of all steps: as when it was not interrupted
    if agents[0].peers is ALONE and should_compile(learner.cfg, updates):  # what asks others cannot be compiled
        keep_compiled_code()
        learner.compile_losses()
    return learner


def _join(agents: Sequence[DTQL]) -> Learner:
    if len(agents) == 1:
        return SingleLearner(agents[0])
    steps = {a.step for a in agents}
    if len(steps) > 1:
        raise InputError(f"The seeds' runs are at different steps ({sorted(steps)}); resume them one by one.")
    on_cpu = agents[0].device.type == "cpu"
    if on_cpu and math.gcd(len(agents), torch.get_num_threads()) > 1:
        return ParallelEnsembles(agents)
    return Ensemble(agents)
