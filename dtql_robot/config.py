"""Every setting of the package and its default: the one home of both.

Frozen dataclasses, one comment a field (the command line shows them as help), checked when made,
written to `config.json` in the run folder and read back from there.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal

from dtql_robot.errors import InputError

SigmaDensity = Literal["log-logistic", "log-normal", "log-uniform"]
Act = Literal["sample", "mean", "best", "softmax", "diffusion"]
Reward = Literal["auto", "success", "dataset"]
Network = Literal["critic", "denoiser", "policy"]
Activation = Literal["relu", "silu", "gelu", "mish"]


def _require(condition: bool, setting: str, value: object, expected: str) -> None:
    if not condition:
        raise InputError(f"{setting} is {value!r}; expected {expected}.")


@dataclass(frozen=True)
class DataConfig:
    """What is read from the demonstrations and how it is scaled."""

    obs_keys: tuple[str, ...] = ()
    """Observation keys to use, in this order; images are named here. Default: every low-dimensional key."""
    filter_key: str | None = None
    """Use only the demonstrations listed under `mask/<filter_key>` (robomimic files)."""
    reward: Reward = "auto"
    """success: 0 at a successful step, -1 elsewhere. dataset: as recorded. auto: success where the data has it."""
    success_reward: float | None = None
    """A step counts as a success where its recorded reward is at least this. Default: the data's own signal."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this ..."""
    reward_shift: float = 0.0
    """... and then this is added (antmaze: -1)."""
    action_norm: Literal["range", "none"] = "range"
    """range: each action dimension's recorded range becomes [-1, 1]. none: actions are in [-1, 1] already."""
    horizon: int = 8
    """Actions predicted at once (the chunk length H)."""
    n_action_steps: int = 2
    """Actions of a chunk that are executed before the next forward pass."""
    temporal_ensemble_coeff: float | Literal["fit"] | None = "fit"
    """Execute the mean of what all chunks so far foresaw for a step (temporal ensembling). fit: with the weights that
    forecast the demonstrations best. A number: with exp(-coeff * i), i = 0 for the oldest. None: the newest chunk."""

    def __post_init__(self) -> None:
        _require(self.horizon >= 1, "horizon", self.horizon, "at least 1")
        _require(1 <= self.n_action_steps <= self.horizon, "n_action_steps", self.n_action_steps, "1 to horizon")
        coeff = self.temporal_ensemble_coeff
        sensible = coeff in (None, "fit") or (isinstance(coeff, int | float) and math.isfinite(coeff))
        _require(sensible, "temporal_ensemble_coeff", coeff, "'fit', a finite number or None")


@dataclass(frozen=True)
class DiffusionConfig:
    """The behaviour-cloning denoiser: EDM preconditioning (Karras et al. 2022) and noise densities."""

    sigma_data: float | None = None
    """Standard deviation of the normalized actions. Default: measured on the data (the paper: 0.5)."""
    sigma_min: float = 0.002
    """Smallest noise level."""
    sigma_max: float = 80.0
    """Largest noise level."""
    sigma_density: SigmaDensity = "log-logistic"
    """Density of the noise levels, truncated to [sigma_min, sigma_max] (the paper: log-logistic; EDM: log-normal)."""
    sigma_loc: float = math.log(0.5)
    """Location of log sigma's density; unused by log-uniform."""
    sigma_scale: float = 0.5
    """Scale of log sigma's density; unused by log-uniform."""
    sampler_steps: int = 12
    """Heun steps when the denoiser itself acts (act=diffusion)."""
    denoiser_net: Literal["residual", "mlp"] = "residual"
    """residual: a state encoder and residual blocks. mlp: one MLP over action, state and noise level (the paper)."""
    denoiser_width: int = 256
    """Width of the denoiser's layers."""
    denoiser_blocks: int = 2
    """Residual blocks of the denoiser, or hidden layers of the MLP (the paper: 4)."""

    def __post_init__(self) -> None:
        _require(0 < self.sigma_min < self.sigma_max, "sigma_min", self.sigma_min, "0 < sigma_min < sigma_max")
        _require(self.sigma_scale > 0, "sigma_scale", self.sigma_scale, "above 0")
        _require(self.sigma_data is None or self.sigma_data > 0, "sigma_data", self.sigma_data, "above 0")


@dataclass(frozen=True)
class PolicyConfig:
    """The one-step policy, its loss, and how an action is chosen."""

    policy: Literal["gaussian", "implicit"] = "gaussian"
    """gaussian: tanh of a Gaussian given the state. implicit: noise in, action out."""
    policy_hidden: tuple[int, ...] = (256, 256, 256)
    """Widths of the policy's hidden layers."""
    policy_members: int = 1
    """Networks in the Gaussian policy: above 1 an ensemble whose mean acts. For few, good demonstrations, not for mixed
    ones (docs/recipe.md)."""
    policy_activation: Activation | None = None
    """Activation of the policy. Default: that of all networks (the paper: relu)."""
    log_std_min: float = -5.0
    """Lower bound of the Gaussian's log standard deviation (before tanh)."""
    log_std_max: float = 2.0
    """Upper bound of the Gaussian's log standard deviation (before tanh)."""
    regularizer: Literal["trust_region", "kl"] = "trust_region"
    """What ties the policy to the data. kl: distillation with a second denoiser (section 3 of the paper)."""
    trust_region_weight: float = 1.0
    """Weight of that regularizer (the paper's alpha)."""
    tr_sigma_min: float = 0.5
    """Smallest noise level at which the regularizer is taken (the paper: 0.002)."""
    tr_sigma_max: float = 3.0
    """Largest noise level at which the regularizer is taken (the paper: 80)."""
    tr_at: Literal["sample", "mean"] = "mean"
    """The policy's action that the regularizer and Q see: a sample (the paper) or the mean."""
    nll: Literal["tanh", "mse"] = "mse"
    """Likelihood of recorded actions. tanh: under the Gaussian (the paper). mse: squared error of the mean."""
    nll_weight: float = 1.0
    """Weight of the likelihood term (the paper's gamma)."""
    awr_temperature: float | None = None
    """Recorded actions count with exp(temperature * advantage / its spread) in the likelihood (IQL). Default: 3 times
    the share of episodes that do not end in success, so that good data counts evenly; 0 without a success signal."""
    q_weight: float = 0.05
    """Weight of the Q term. 0 makes DTQL plain behaviour cloning inside the trust region."""
    normalize_q: bool = True
    """Divide Q by its spread over the batch, so that weights mean the same on every reward scale."""
    act: Act = "mean"
    """Action choice: a sample, the mean, of `candidates` samples the best or a softmax draw by target min-Q,
    or the denoiser's own many-step sampler (a baseline, not DTQL)."""
    candidates: int = 32
    """Samples to choose from with act=best and act=softmax (the paper's code: 1024, softmax)."""

    def __post_init__(self) -> None:
        _require(self.log_std_min < self.log_std_max, "log_std_min", self.log_std_min, "below log_std_max")
        _require(self.candidates >= 1, "candidates", self.candidates, "at least 1")
        _require(self.policy_members >= 1, "policy_members", self.policy_members, "at least 1")
        alone = self.policy == "gaussian" or self.policy_members == 1
        _require(alone, "policy_members", self.policy_members, "1 with policy=implicit")
        _require(self.tr_sigma_min < self.tr_sigma_max, "tr_sigma_min", self.tr_sigma_min, "below tr_sigma_max")
        for name in ("trust_region_weight", "nll_weight", "q_weight", "awr_temperature"):
            _require((getattr(self, name) or 0) >= 0, name, getattr(self, name), "0 or more")

    @property
    def uses_critic(self) -> bool:
        """Does any term of the loss, or the choice of actions, read Q?"""
        return self.q_weight > 0 or bool(self.awr_temperature) or self.act in ("best", "softmax")

    @property
    def uses_denoiser(self) -> bool:
        """Does the regularizer, or the choice of actions, read the denoiser?"""
        return self.trust_region_weight > 0 or self.act == "diffusion"


@dataclass(frozen=True)
class CriticConfig:
    """Implicit Q-learning (Kostrikov et al. 2021) over action chunks."""

    critic_hidden: tuple[int, ...] = (256, 256, 256)
    """Widths of the Q and V networks' hidden layers."""
    expectile: float = 0.7
    """Expectile of V's regression on Q."""
    discount: float = 0.99
    """Discount factor per environment step."""
    v_target: Literal["target", "online"] = "target"
    """Which Q the value function regresses on. target: the paper. online: the authors' code."""
    tau: float = 0.005
    """Polyak step of the target Q networks, per update."""

    def __post_init__(self) -> None:
        _require(0 < self.expectile < 1, "expectile", self.expectile, "between 0 and 1")
        _require(0 <= self.discount <= 1, "discount", self.discount, "0 to 1")
        _require(0 < self.tau <= 1, "tau", self.tau, "above 0, at most 1")


@dataclass(frozen=True)
class OptimConfig:
    """Optimization."""

    batch_size: int = 128
    """Samples per update."""
    lr: float = 3e-4
    """Adam's learning rate, for every network."""
    lr_decay: bool = True
    """Cosine decay of the learning rate to 0 over the run."""
    pretrain_steps: int = 0
    """Updates of denoiser and critics alone before the policy starts."""
    ema_decay: float = 0.999
    """Decay of the policy's moving average, which is what acts. 0: the policy itself acts."""
    obs_noise: float = 0.0
    """Standard deviation of Gaussian noise added to normalized observations in training."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the losses with torch.compile: one to three minutes at the start, faster updates after.
    auto: where the run is long enough to win and there is a C++ compiler."""
    cuda_graph: bool = False
    """Replay each update as one CUDA graph (NVIDIA GPUs only)."""
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    """Precision of matrix products. tf32: NVIDIA GPUs only. bf16: autocast; weights stay float32."""
    activation: Activation = "relu"
    """Activation of all networks (the paper: mish, but for the policy)."""

    def __post_init__(self) -> None:
        _require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        _require(self.lr > 0, "lr", self.lr, "above 0")
        _require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "0 up to, not including, 1")
        _require(self.pretrain_steps >= 0, "pretrain_steps", self.pretrain_steps, "0 or more")
        if isinstance(self.compile, bool):  # as config.json of version 0.1.0 has it
            object.__setattr__(self, "compile", "on" if self.compile else "off")


@dataclass(frozen=True)
class EncoderConfig:
    """From images to feature vectors.  Used where `obs_keys` names image observations."""

    encoder: Literal["cnn", "impala", "resnet18", "frozen"] = "cnn"
    """cnn: three convolutions and a spatial softmax, for CPUs. impala: 15 convolutions. resnet18: with GroupNorm and a
    spatial softmax. frozen: a pretrained backbone that is not trained, see backbone."""
    image_features: int = 64
    """Features of one camera."""
    share_cameras: bool = False
    """One encoder for all cameras (they must have the same size) instead of one each."""
    share_networks: bool = True
    """One encoder for critics, denoiser and policy instead of one each."""
    encoder_losses: tuple[Network, ...] = ("denoiser", "policy")
    """Networks whose loss trains their encoder; the others take its features as they are (docs/pixels.md)."""
    augment: Literal["crop", "shift", "none"] = "crop"
    """In training: a random window; the image shifted at random, its border repeated. Acting takes the middle."""
    augment_pixels: int = 4
    """Largest shift, or what the window lacks on each side, in pixels."""
    frame_stack: int = 1
    """Consecutive frames seen at once; at an episode's start its first one is repeated."""
    encoder_precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the encoder in training. bfloat16: about half the time where the processor has it."""
    backbone: str = "resnet18"
    """encoder=frozen: name of a torchvision model, or of a timm model as "timm:NAME"."""
    backbone_weights: str | None = None
    """encoder=frozen: local file with the backbone's state dict. Nothing is downloaded."""

    def __post_init__(self) -> None:
        _require(self.image_features >= 1, "image_features", self.image_features, "at least 1")
        _require(self.augment_pixels >= 0, "augment_pixels", self.augment_pixels, "0 or more")
        _require(self.frame_stack >= 1, "frame_stack", self.frame_stack, "at least 1")
        _require(bool(self.encoder_losses), "encoder_losses", self.encoder_losses, "one or more networks")


@dataclass(frozen=True)
class Config:
    """The whole recipe: what `train` uses and `config.json` holds."""

    steps: int = 6_000
    """Updates."""
    seed: int = 0
    """Seed of weights, batches and noise."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train. auto: cuda if there is one, else cpu."""
    threads: int | None = None
    """CPU threads. Default: torch's own choice, but no more than the cores this process may use."""
    log_every: int = 100
    """Updates between two rows of metrics.csv."""
    checkpoint_every: int = 5_000
    """Updates between two checkpoints."""
    data: DataConfig = field(default_factory=DataConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)

    def __post_init__(self) -> None:
        _require(self.steps >= 1, "steps", self.steps, "at least 1")
        _require(self.threads is None or self.threads >= 1, "threads", self.threads, "at least 1")
        _require(self.log_every >= 1, "log_every", self.log_every, "at least 1")
        _require(self.checkpoint_every >= 1, "checkpoint_every", self.checkpoint_every, "at least 1")
        p = self.policy
        if p.policy == "implicit" and p.nll == "tanh":
            _require(p.nll_weight == 0, "nll_weight", p.nll_weight, "0 with policy=implicit, which has no likelihood")

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, ready for JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Config:
        """Inverse of `to_dict`.

        A setting that is missing was added after the file was written and takes the value that keeps the former
        behaviour.  An unknown one is an InputError: the file is of a newer version.
        """
        if isinstance(data := values.get("data"), dict):
            values = {**values, "data": {"temporal_ensemble_coeff": None, **data}}
        return _build(Config, values, "config")


def _build(cls: type, values: Any, where: str) -> Any:
    known = {f.name: f for f in dataclasses.fields(cls)}
    if not isinstance(values, dict) or not set(values) <= set(known):
        found = sorted(set(values) - set(known)) if isinstance(values, dict) else type(values).__name__
        raise InputError(f"{where} holds what this version does not know ({found}); use the version that trained it.")
    made = {}
    for name in values:
        f, value = known[name], values[name]
        if dataclasses.is_dataclass(default := f.default_factory) and isinstance(default, type):
            value = _build(default, value, f"{where}.{name}")
        elif isinstance(value, list):
            value = tuple(value)
        made[name] = value
    return cls(**made)
