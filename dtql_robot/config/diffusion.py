"""Settings: the behaviour-cloning denoiser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from dtql_robot.config.checks import WIDEST, Own, check_types, in_range, require, require_known
from dtql_robot.system.plugins import NETWORKS

DENOISER_NETS = ("residual", "mlp")
SigmaDensity = Literal["log-logistic", "log-normal", "log-uniform"]


@dataclass(frozen=True)
class DiffusionConfig:
    """The behaviour-cloning denoiser: EDM preconditioning (Karras et al. 2022) and noise densities."""

    sigma_data: float | None = None
    """Standard deviation of the normalized actions. Default: measured on the data (paper: 0.5)."""
    sigma_min: float = 0.002
    """Smallest noise level."""
    sigma_max: float = 80.0
    """Largest noise level."""
    sigma_density: SigmaDensity = "log-logistic"
    """Density of noise levels in training, truncated to [sigma_min, sigma_max] (paper: log-logistic; EDM:
    log-normal)."""
    sigma_loc: float = math.log(0.5)
    """Location of the density of log sigma; ignored by log-uniform."""
    sigma_scale: float = 0.5
    """Scale of the density of log sigma; ignored by log-uniform."""
    sampler_steps: int = 12
    """Number of Heun steps when the denoiser acts (act=diffusion)."""
    denoiser_net: Annotated[str, Own(DENOISER_NETS)] = "residual"
    """Denoiser network. residual: a state encoder and residual blocks. mlp: one MLP of action, state and noise level
    (paper). Also the name of a network that an installed package adds (docs/extending.md)."""
    denoiser_width: int = 256
    """Width of the denoiser's hidden layers."""
    denoiser_blocks: int = 2
    """Number of residual blocks, or of hidden layers of the MLP (paper: 4)."""

    def __post_init__(self) -> None:
        check_types(self)
        require_known(self, "denoiser_net", DENOISER_NETS, NETWORKS)
        in_range(self, 1e-6, 1e6, "sigma_min", "sigma_max", "sigma_data")
        require(self.sigma_min < self.sigma_max, "sigma_min", self.sigma_min, "below {sigma_max}")
        in_range(self, -20.0, 20.0, "sigma_loc")
        in_range(self, 1e-3, 100.0, "sigma_scale")
        in_range(self, 1, 10_000, "sampler_steps")
        in_range(self, 1, WIDEST, "denoiser_width")
        in_range(self, 1, 1_000, "denoiser_blocks")
