"""The one-step policy's networks: from a state and noise to an action chunk in one forward pass."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dtql_robot.algorithm.diffusion import Denoiser
from dtql_robot.algorithm.networks import first_outputs, mlp, orthogonal_


class OneStepPolicyNet(nn.Module, ABC):
    """From a state and noise to an action chunk in one forward pass: the mean of its members' outputs, squashed."""

    chunk: tuple[int, int]

    @abstractmethod
    def members(self, obs: Tensor, noise: Tensor) -> Tensor:
        """What each of the E networks gives before `squash`.  obs: (B, O).  noise: (B, H, A).  Returns (E, B, H, A)."""

    def means(self, obs: Tensor) -> Tensor:
        """`members` with noise 0.  obs: (B, O).  Returns (E, B, H, A)."""
        return self.members(obs, obs.new_zeros(len(obs), *self.chunk))

    def squash(self, raw: Tensor) -> Tensor:
        """Members' outputs, or their mean, as the losses see them: tanh."""
        return torch.tanh(raw)

    def forward(self, obs: Tensor, noise: Tensor) -> Tensor:
        """obs: (B, O).  noise: (B, H, A) standard normal.  Returns (B, H, A) in [-1, 1]."""
        return self.squash(self.members(obs, noise).mean(dim=0))

    def candidates(self, obs: Tensor, noise: Tensor) -> Tensor:
        """`forward` of one state with N draws.  obs: (1, O).  noise: (N, H, A).  Returns (N, H, A)."""
        return self(obs.expand(noise.shape[0], -1), noise)

    def mode(self, obs: Tensor) -> Tensor:
        """`forward` with noise 0.  obs: (B, O).  Returns (B, H, A)."""
        return self(obs, obs.new_zeros(len(obs), *self.chunk))


class GaussianPolicy(OneStepPolicyNet):
    """tanh(mean + std * noise), mean and std given by the state.

    With `members` above 1 it is an ensemble of networks that share nothing: means and stds are averaged.
    """

    def __init__(
        self,
        obs_dim: int,
        chunk: tuple[int, int],
        hidden: Sequence[int],
        activation: str,
        log_std_bounds: tuple[float, float],
        members: int = 1,
        orthogonal: bool = False,
    ):
        """orthogonal: initial weights are orthogonal and biases 0, instead of torch's uniform ones."""
        super().__init__()
        self.chunk = chunk
        self.log_std_bounds = log_std_bounds
        self.ensemble = members if members > 1 else None
        self.net = mlp(obs_dim, hidden, 2 * math.prod(chunk), activation, ensemble=self.ensemble)
        if orthogonal:
            orthogonal_(self.net)

    def distributions(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """obs: (B, O).  Returns each member's pre-tanh mean and log standard deviation, both (E, B, H, A)."""
        out = self._by_member(self.net(self._inputs(obs)), obs)
        mean, log_std = out.unflatten(-1, (2, *self.chunk)).unbind(dim=2)
        return mean, log_std.clamp(*self.log_std_bounds)

    def means(self, obs: Tensor) -> Tensor:
        """`members` with noise 0, by half of the last layer.  obs: (B, O).  Returns (E, B, H, A)."""
        *hidden, last = self.net
        x = self._inputs(obs)
        for layer in hidden:
            x = layer(x)
        return self._by_member(first_outputs(last, x, math.prod(self.chunk)), obs).unflatten(-1, self.chunk)

    def _inputs(self, obs: Tensor) -> Tensor:
        return obs if self.ensemble is None else obs.expand(self.ensemble, *obs.shape)

    def _by_member(self, out: Tensor, obs: Tensor) -> Tensor:
        """Outputs as (E, B, ...), in the precision of the states."""
        return (out[None] if self.ensemble is None else out).to(obs.dtype)

    def candidates(self, obs: Tensor, noise: Tensor) -> Tensor:
        """`forward` of one state with N draws, for which the network itself runs once.  obs: (1, O).  noise: (N, H, A).
        Returns (N, H, A)."""
        return self(obs, noise)  # mean and deviation are of the state alone, and meet the noise by broadcasting

    def members(self, obs: Tensor, noise: Tensor) -> Tensor:
        """The chunk of each member before tanh: (M, B, H, A).  obs: (B, O), noise: (B, H, A), 0 for the mean."""
        mean, log_std = self.distributions(obs)
        return mean + log_std.exp() * noise


class ImplicitPolicy(OneStepPolicyNet):
    """Noise and state straight to an action chunk."""

    def __init__(self, obs_dim: int, chunk: tuple[int, int], hidden: Sequence[int], activation: str):
        super().__init__()
        self.chunk = chunk
        size = math.prod(chunk)
        self.net = mlp(obs_dim + size, hidden, size, activation)

    def members(self, obs: Tensor, noise: Tensor) -> Tensor:
        """The one chunk before tanh: (1, B, H, A).  obs: (B, O), noise: (B, H, A)."""
        out = self.net(torch.cat([obs, noise.flatten(1)], dim=-1)).to(obs.dtype)
        return out.unflatten(1, self.chunk)[None]


class DenoiserPolicy(OneStepPolicyNet):
    """One step of a denoiser from pure noise of a fixed level to an action chunk: D(sigma * noise; sigma | obs).

    The losses see its output as it is; what acts is clamped to [-1, 1].
    """

    def __init__(self, denoiser: Denoiser, chunk: tuple[int, int], sigma: float):
        """denoiser: of its own, not the one that learns the behaviour.  sigma: the level, above the data's spread."""
        super().__init__()
        self.denoiser, self.chunk, self.sigma = denoiser, chunk, sigma

    def members(self, obs: Tensor, noise: Tensor) -> Tensor:
        """The one chunk: (1, B, H, A).  obs: (B, O), noise: (B, H, A)."""
        return self.denoiser.unbounded(self.sigma * noise, obs.new_full((len(obs),), self.sigma), obs)[None]

    def squash(self, raw: Tensor) -> Tensor:
        """As it is: a clamp would take the gradient of what lies beyond."""
        return raw

    def forward(self, obs: Tensor, noise: Tensor) -> Tensor:
        """obs: (B, O).  noise: (B, H, A) standard normal.  Returns (B, H, A) in [-1, 1]."""
        return super().forward(obs, noise).clamp(-1, 1)
