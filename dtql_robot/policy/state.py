"""From a robot's observations to the state vector that the networks see."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dtql_robot.algorithm.encoders import Encoders
from dtql_robot.policy.interface import Interface
from dtql_robot.types import Array, Obs


class StateReader:
    """Checks observations, scales the low-dimensional ones and encodes the images.

    encoder: None without images.  frames: how many of each image the encoder sees at once.
    """

    def __init__(self, interface: Interface, encoder: Encoders | None, frames: int, device: torch.device) -> None:
        self.interface, self.encoder, self.frames, self.device = interface, encoder, frames, device

    def states(self, obs: Obs) -> Array:
        """What the networks see, one row a robot: (B, F), the low-dimensional entries and features of the images.

        obs: key -> (B, ...), see `Interface.read`, which refuses what does not fit.
        """
        low = self.interface.read(obs, self.frames)
        return low if self.encoder is None else np.stack([self._encode(obs, low, row) for row in range(len(low))])

    @torch.inference_mode()
    def _encode(self, obs: Obs, low: Array, row: int) -> Array:
        """The features of one robot: (F,)."""
        assert self.encoder is not None
        images = self.images(obs, row)
        return self.encoder.encode(torch.from_numpy(low[row]).to(self.device)[None], images)[0].cpu().numpy()

    def images(self, obs: Obs, row: int) -> dict[str, Tensor]:
        """One robot's images, key -> (1, frames, H, W, C)."""
        found = {k: torch.from_numpy(np.array(obs[k][row])).to(self.device) for k in self.interface.image_keys}
        return {k: v[None] if self.frames > 1 else v[None, None] for k, v in found.items()}


def seen_by(encoder: Encoders | None, network: str, states: Tensor) -> Tensor:
    """The part of states (..., F) that `network` ("critic", "denoiser", "policy") reads."""
    return states if encoder is None else states[..., encoder.columns(network)]
