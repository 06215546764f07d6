"""Where a policy looks in its images: the encoder's keypoints, or what the action is sensitive to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from dtql_robot.algorithm.encoders import Encoders
from dtql_robot.algorithm.policy_networks import OneStepPolicyNet
from dtql_robot.policy.state import seen_by
from dtql_robot.types import Array

Kind = Literal["keypoints", "saliency"]


@torch.no_grad()
def keypoints(encoder: Encoders, images: Mapping[str, Tensor]) -> dict[str, Array]:
    """Of one robot's images, key -> (1, frames, H, W, C).  Returns key -> (K, 3): across and down in pixels, and over
    how many pixels the point is spread.  InputError for an encoder without keypoints."""
    return {k: v[0].cpu().numpy() for k, v in encoder.keypoints(images).items()}


def saliency(
    encoder: Encoders, network: OneStepPolicyNet, low: Tensor, images: Mapping[str, Tensor]
) -> dict[str, Array]:
    """How much the first action changes with each pixel, as a share of the most.

    low: (1, L) normalized.  images: key -> (1, frames, H, W, C).  Returns key -> (H, W) in [0, 1].
    """
    pixels = {k: v.float().requires_grad_() for k, v in images.items()}
    action = network.mode(seen_by(encoder, "policy", encoder.encode(low, pixels)))[0, 0]
    total = {k: torch.zeros(v.shape[2:4], device=v.device) for k, v in pixels.items()}
    for entry in action:
        slopes = torch.autograd.grad(entry, list(pixels.values()), retain_graph=True)
        for key, slope in zip(pixels, slopes, strict=True):
            total[key] += slope.abs().sum(dim=(0, 1, 4))
    most = max(float(v.max()) for v in total.values()) or 1.0
    return {k: (v / most).cpu().numpy() for k, v in total.items()}
