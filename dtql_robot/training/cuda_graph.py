"""An update as one CUDA graph: a single launch instead of several hundred kernel launches."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dtql_robot.algorithm.agent import Algorithm1
from dtql_robot.algorithm.objectives import Losses
from dtql_robot.algorithm.streams import SideStream
from dtql_robot.types import Batch, PixelBatch

WARM_UP = 3
"""Updates run eagerly before capture, so that lazy initialization and compilation are over by then."""


class GraphedUpdate:
    """Draws a batch and updates: captured once, replayed from then on.  Only for agents on a GPU.

    agent: an agent or an ensemble.  sample: draws a batch on the device from the agent's generators.  before: what the
    host does before each update, for instance to fill tensors that `sample` reads; it is not part of the graph.
    The first updates of each phase (before and after the policy starts) run eagerly, on a stream of their own as
    capture demands; they are updates like any other.  Random numbers, learning rate and average are as in eager
    updates: the generators are registered with the graph, and the rates are tensors that `schedule` fills before each
    replay.  The critics learn on a second stream, beside the denoiser.
    """

    def __init__(
        self,
        agent: Algorithm1,
        sample: Callable[[], Batch | PixelBatch],
        before: Callable[[], None] = lambda: None,
    ) -> None:
        if agent.device.type != "cuda":
            raise ValueError(f"CUDA graphs need an agent on a GPU, got one on {agent.device}")
        self.agent, self.sample, self.before = agent, sample, before
        self.graphs: dict[bool, tuple[torch.cuda.CUDAGraph, Losses]] = {}
        self.warm = {False: 0, True: 0}
        self.stream = torch.cuda.Stream(agent.device)
        agent.side = SideStream(agent.device)
        agent.schedule_on_device()

    def __call__(self) -> Losses:
        """One update.  What it returns is overwritten by the next one."""
        agent = self.agent
        phase = agent.step >= agent.cfg.optim.pretrain_steps
        agent.schedule()
        self.before()
        if self.warm[phase] < WARM_UP:
            self.warm[phase] += 1
            log = self._eager()
        else:
            if phase not in self.graphs:
                self.graphs[phase] = self._capture()
            graph, log = self.graphs[phase]
            graph.replay()
        agent.step += 1
        return log

    def _eager(self) -> Losses:
        current = torch.cuda.current_stream(self.agent.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            log = self.agent.iterate(self.sample())
        current.wait_stream(self.stream)
        return log

    def _capture(self) -> tuple[torch.cuda.CUDAGraph, Losses]:
        """Record one update without running it.  Its gradients live in the graph's own memory."""
        graph = torch.cuda.CUDAGraph()
        for generator in self.agent.generators:
            graph.register_generator_state(generator)
        for optimizer in self.agent.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph, stream=self.stream):
            log = self.agent.iterate(self.sample())
        return graph, log
