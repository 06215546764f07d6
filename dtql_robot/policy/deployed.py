"""What a policy computes, from observations to actions, as one torch module for export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from dtql_robot.algorithm.networks import smaller
from dtql_robot.errors import InputError

if TYPE_CHECKING:
    from dtql_robot.policy.one_step import OneStepPolicy


class DeployedPolicy(nn.Module):
    """What `OneStepPolicy.predict` computes, as one module of tensors; `export` says what goes in and out."""

    obs_shift: Tensor
    obs_scale: Tensor
    action_shift: Tensor
    action_scale: Tensor

    def __init__(self, policy: OneStepPolicy, act: str | None = None) -> None:
        super().__init__()
        face = policy.interface
        self.act = act or policy.choice.cfg.act
        if self.act in ("diffusion", "diffusion-best"):
            raise InputError(f"act={self.act} needs many sampling steps and cannot be exported; choose another --act.")
        if policy.encoder is not None:
            raise InputError("Policies that see images cannot be exported; use `load_policy(run).act(obs)`.")
        self.network = policy.network
        self.critic = policy.choice.critic if self.act in ("best", "softmax") else None
        self.chunk = (policy.horizon, face.action_dim)
        norms = {"obs": face.obs_norm, "action": face.action_norm}
        for name, norm in norms.items():
            self.register_buffer(f"{name}_shift", torch.from_numpy(np.array(norm.shift, np.float32)))
            self.register_buffer(f"{name}_scale", torch.from_numpy(np.array(norm.scale, np.float32)))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Observations in the order of the interface, then any noise.  Returns the chunk, (B, H, A), in the robot's
        units.
        """
        extra = {"mean": 0, "sample": 1, "best": 1, "softmax": 2}[self.act]
        observations, drawn = inputs[: len(inputs) - extra], inputs[len(inputs) - extra :]
        state = torch.cat([o.flatten(1) for o in observations], dim=1)
        state = (state - self.obs_shift) / self.obs_scale
        return self._choose(state, *drawn) * self.action_scale + self.action_shift

    def _choose(self, state: Tensor, *drawn: Tensor) -> Tensor:
        """The normalized chunk to execute, (B, H, A)."""
        if self.act == "mean":
            return self.network(state, state.new_zeros(state.shape[0], *self.chunk))
        if self.act == "sample":
            return self.network(state, drawn[0])
        assert self.critic is not None
        many = state.expand(drawn[0].shape[0], -1)
        chunks = self.network.candidates(state, drawn[0])
        q = smaller(self.critic(many, chunks))
        if self.act == "best":
            return chunks[q.argmax(dim=0, keepdim=True)]
        reached = torch.softmax(q.double(), dim=0).cumsum(dim=0)
        index = (reached / reached[-1:] <= drawn[1]).sum(dim=0, keepdim=True)
        return chunks[index.clamp(max=q.shape[0] - 1)]
