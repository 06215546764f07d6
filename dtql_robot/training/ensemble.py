"""Several seeds trained at once: the same update, with every weight, batch and random number stacked over seeds."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dtql_robot.algorithm.agent import DTQL, Algorithm1
from dtql_robot.algorithm.model import Networks
from dtql_robot.algorithm.objectives import Loss, Losses
from dtql_robot.config import Config
from dtql_robot.training.buffer import ChunkBuffer
from dtql_robot.training.cuda_graph import GraphedUpdate
from dtql_robot.types import Batch


class Bound(nn.ModuleDict):
    """Networks by name, so that `functional_call` can run any function with other weights in them."""

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        """function(*args), while other weights are in the networks."""
        return function(*args)


class Ensemble(Algorithm1):
    """N agents that differ in their seed, updated together: `update` takes batches of shape (N, B, ...).

    Networks hold weights (N, ...), and each loss is that of DTQL under `vmap`.  The agents' weights, batches and noise
    never mix, each agent's random numbers come from its own generator, and Adam works element by element: every agent
    takes the steps it would take alone, but for the rounding of batched products.
    The agents themselves stay as they are until `scatter` writes the results into them.
    """

    def __init__(self, agents: Sequence[DTQL]):
        first = agents[0]
        if first.encoder is not None:
            raise ValueError("agents that encode images are trained one by one")
        stacked: dict[str, Any] = {name: stack([a.networks[name] for a in agents]) for name in first.networks}
        super().__init__(first.cfg, Networks(**stacked), first.device, self._batched)
        self.agents, self.step = list(agents), first.step
        self.bound = Bound(self.networks)
        self.weights: dict[str, Tensor] = dict(self.bound.named_parameters())
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(join_moments([a.optimizers[name].state_dict() for a in agents]))

    def __len__(self) -> int:
        return len(self.agents)

    @property
    def generators(self) -> list[torch.Generator]:
        """Each member's source of random numbers."""
        return [a.generator for a in self.agents]

    def _batched(self, loss: Loss) -> Loss:
        """The loss of all agents: each with its slice of the weights and of the arguments."""

        def one(weights: dict[str, Tensor], *args: Any) -> Any:
            return functional_call(self.bound, weights, (loss, *args))

        return lambda *args: torch.vmap(one)(self.weights, *args)

    def _normal(self, like: Tensor) -> Tensor:
        return torch.stack([a._normal(row) for a, row in zip(self.agents, like, strict=True)])

    def _uniform(self, like: Tensor) -> Tensor:
        return torch.stack([a._uniform(row) for a, row in zip(self.agents, like, strict=True)])

    def updates(self, buffer: ChunkBuffer) -> Generator[Losses, None, None]:
        """See `training.learner.Learner`."""
        sample = functools.partial(buffer.sample_each, self.cfg.optim.batch_size, self.generators)
        if self.cfg.optim.cuda_graph == "on":
            return forever(GraphedUpdate(self, sample))
        return forever(lambda: self.update(sample()))

    def close(self) -> None:
        """Nothing to let go of."""

    def scatter(self) -> None:
        """Write weights, optimizer moments and step into the agents, for instance to save them."""
        optimizers = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        for i, agent in enumerate(self.agents):
            agent.load_state_dict(
                {
                    "networks": {name: part(network, i) for name, network in self.networks.items()},
                    "optimizers": {name: moments_of(state, i) for name, state in optimizers.items()},
                    "generator": agent.generator.get_state(),
                    "step": self.step,
                }
            )


class ParallelEnsembles:
    """Equal ensembles, each in a thread of its own with its share of the CPU's threads: N agents, (N, B, ...) batches.

    Products of this size gain little from a second core; two of them at once gain nearly all of it.  torch lets go of
    Python's lock while it computes.  An update ends when all parts have taken theirs.
    """

    def __init__(self, agents: Sequence[DTQL]):
        self.threads = torch.get_num_threads()
        count = math.gcd(len(agents), self.threads)
        size, share = len(agents) // count, self.threads // count
        self.parts = [Ensemble(agents[i : i + size]) for i in range(0, len(agents), size)]
        self.pool = ThreadPoolExecutor(count, initializer=lambda: torch.set_num_threads(share))
        self.share, self.compiled = share, False

    @property
    def cfg(self) -> Config:
        """The settings that all members share."""
        return self.parts[0].cfg

    @property
    def step(self) -> int:
        """The number of updates so far."""
        return self.parts[0].step

    @property
    def generators(self) -> list[torch.Generator]:
        """Each member's source of random numbers, in the order of the seeds."""
        return [g for part in self.parts for g in part.generators]

    def compile_losses(self) -> None:
        """Compile each part's losses, as `Algorithm1.compile_losses` does."""
        self.compiled = True
        for part in self.parts:
            part.compile_losses()

    def update(self, batch: Batch) -> Losses:
        """One update of every member.  batch: (N, B, ...).  Returns name -> (N,)."""
        batches = [Batch(*rows) for rows in zip(*(t.chunk(len(self.parts)) for t in batch), strict=True)]
        compiling = self.compiled and self.step in (0, self.cfg.optim.pretrain_steps)
        futures = []
        torch.set_num_threads(self.share)  # MKL has one number for all threads of the process
        try:
            for part, rows in zip(self.parts, batches, strict=True):
                futures.append(self.pool.submit(part.update, rows))
                if compiling:  # torch compiles one thing at a time
                    wait(futures)
        finally:
            wait(futures)  # also when interrupted: no part may be an update ahead of the others
            torch.set_num_threads(self.threads)
        logs = [future.result() for future in futures]
        size = len(self.parts[0])
        return {k: torch.cat([log[k].expand(size) for log in logs]) for k in logs[0]}

    def updates(self, buffer: ChunkBuffer) -> Generator[Losses, None, None]:
        """See `training.learner.Learner`."""
        size, generators = self.cfg.optim.batch_size, self.generators
        return forever(lambda: self.update(buffer.sample_each(size, generators)))

    def scatter(self) -> None:
        """See `Ensemble.scatter`."""
        for part in self.parts:
            part.scatter()

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown()


def forever(update: Callable[[], Losses]) -> Generator[Losses, None, None]:
    """What each update returns."""
    while True:
        yield update()


def stack(modules: Sequence[nn.Module]) -> nn.Module:
    """One module whose parameters are those of all modules, stacked: (...) becomes (N, ...).  Buffers are shared."""
    stacked = copy.deepcopy(modules[0])
    for name, first in modules[0].named_parameters():
        values = torch.stack([m.get_parameter(name).detach() for m in modules])
        owner, _, leaf = name.rpartition(".")
        setattr(stacked.get_submodule(owner), leaf, nn.Parameter(values, requires_grad=first.requires_grad))
    return stacked


def part(stacked: nn.Module, i: int) -> dict[str, Tensor]:
    """The state dict of member i of a stacked module."""
    parameters = dict(stacked.named_parameters())
    return {name: v[i] if name in parameters else v for name, v in stacked.state_dict().items()}


def join_moments(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One Adam's state dict from those of N over the same parameters: moments stacked, the step's count shared."""
    first = states[0]
    joined = {
        index: {k: v if k == "step" else torch.stack([s["state"][index][k] for s in states]) for k, v in values.items()}
        for index, values in first["state"].items()
    }
    return {"state": joined, "param_groups": first["param_groups"]}


def moments_of(joined: dict[str, Any], i: int) -> dict[str, Any]:
    """Inverse of `join_moments`: copies of the moments of member i."""
    state = {
        index: {k: v.clone() if k == "step" else v[i].clone() for k, v in values.items()}
        for index, values in joined["state"].items()
    }
    return {"state": state, "param_groups": joined["param_groups"]}
