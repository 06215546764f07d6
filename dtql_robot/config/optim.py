"""Settings: optimization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dtql_robot.config.checks import Activation, check_types, in_range, require


@dataclass(frozen=True)
class OptimConfig:
    """Optimization."""

    batch_size: int = 128
    """Samples per update."""
    lr: float | None = None
    """Learning rate of Adam. Default: 1.8 / --steps, but 3e-4 to 2e-3: the shorter a training, the faster it learns."""
    critic_lr: float | None = 3e-4
    """Learning rate of the critics, as in the authors' code."""
    denoiser_lr_scale: float = 3.0
    """Factor from `lr` to the denoiser's learning rate."""
    lr_decay: bool = True
    """Decay the learning rates to 0 along a cosine over --steps."""
    pretrain_steps: int = 0
    """Number of updates of the denoiser and critics alone, at the full learning rate, before the policy starts to
    train."""
    ema_decay: float = 0.999
    """Decay of the moving average of the policy's weights, which is what acts. 0: the policy itself acts."""
    obs_noise: float = 0.0
    """Standard deviation of the Gaussian noise added to normalized observations in training."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the losses with torch.compile: one to three minutes at the start, then faster updates. auto: if the run
    is long enough to gain from it and there is a C++ compiler."""
    cuda_graph: Literal["auto", "on", "off"] = "auto"
    """Replay each update as one CUDA graph, which is many times faster (NVIDIA GPUs only; docs/performance.md). auto:
    on a GPU, except with data kept in a file or with an encoder that another package adds."""
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    """Precision of matrix products. tf32: NVIDIA GPUs only. bf16: autocast; weights stay float32."""
    activation: Activation = "relu"
    """Activation function of all networks (paper: mish, except for the policy)."""

    def __post_init__(self) -> None:
        if isinstance(self.compile, bool):  # as config.json of version 0.1.0 has it
            object.__setattr__(self, "compile", "on" if self.compile else "off")
        if isinstance(self.cuda_graph, bool):  # likewise
            object.__setattr__(self, "cuda_graph", "on" if self.cuda_graph else "off")
        check_types(self)
        in_range(self, 1, 10_000_000, "batch_size")
        if self.lr is not None:
            require(self.lr > 0, "lr", self.lr, "a finite number above 0")
        if self.critic_lr is not None:
            require(0 < self.critic_lr <= 1e6, "critic_lr", self.critic_lr, "above 0, at most 1e6")
        require(0 < self.denoiser_lr_scale <= 1e6, "denoiser_lr_scale", self.denoiser_lr_scale, "above 0, at most 1e6")
        require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "0 up to, not including, 1")
        in_range(self, 0, 10**12, "pretrain_steps")
        in_range(self, 0, 1e6, "obs_noise")
