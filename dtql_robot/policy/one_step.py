"""The trained policy as it is deployed: observations in, actions out, one forward pass a chunk, no simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from dtql_robot.algorithm.model import Model
from dtql_robot.client.action_plan import ActionPlan
from dtql_robot.config import Act, DataConfig
from dtql_robot.env_record import EnvChoice
from dtql_robot.errors import InputError
from dtql_robot.policy import attention
from dtql_robot.policy.choice import ActionChoice
from dtql_robot.policy.control_loop import ControlLoop
from dtql_robot.policy.interface import Interface
from dtql_robot.policy.numpy_policy import NumpyPolicy, numpy_mean
from dtql_robot.policy.plan_weights import plan_weights
from dtql_robot.policy.state import StateReader
from dtql_robot.types import Array, ImageObs, Obs


class OneStepPolicy:
    """DTQL's one-step policy with normalization, image encoders and chunking inside.

    It acts with the moving average of the policy; the target Q only chooses among candidates, if asked to.
    """

    recorded_env: EnvChoice | None = None
    """The environment that its run was trained for; None where it came from no run folder."""
    reference_scores: tuple[float, float] | None = None
    """The returns that count as 0 and 100 there, where its data brought them."""

    def __init__(self, model: Model, interface: Interface, use_numpy: bool = True) -> None:
        """model: networks whose weights are in place (a `DTQL` agent is one).  use_numpy: compute the mean in NumPy
        where that gives the same, instead of in torch."""
        self.interface, self.network, self.encoder = interface, model.ema_policy, model.ema_encoder
        self.horizon, self.action_dim = model.cfg.data.horizon, interface.action_dim
        self._model, self._data = model, model.cfg.data
        self._reader = StateReader(interface, self.encoder, model.cfg.encoder.frame_stack, model.device)
        self._choice = ActionChoice(model, model.cfg.policy)
        self._mean = numpy_mean(self.network) if use_numpy else None
        self.set_plan(None, None)

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode for `act`: forget the chunk under way.  seed: of the policy's noise."""
        plan = ActionPlan(self.n_action_steps, self.chunk_weights)
        self._loop = ControlLoop(self.interface, self._reader.frames, plan, seed)

    def set_plan(
        self, n_action_steps: int | None, temporal_ensemble_coeff: float | Literal["fit", "off"] | None
    ) -> None:
        """Execute chunks otherwise than configured; None leaves a setting as it is.  Begins a new episode for `act`."""
        data = self._data
        if n_action_steps is not None:
            data = replace(data, n_action_steps=n_action_steps)
        if temporal_ensemble_coeff is not None:
            coeff = None if temporal_ensemble_coeff == "off" else temporal_ensemble_coeff
            data = replace(data, temporal_ensemble_coeff=coeff)
        self._data = data
        self.n_action_steps, self.chunk_weights = data.executed, plan_weights(data, self.interface)
        self.reset()

    def set_act(self, act: Act | None, candidates: int | None = None) -> None:
        """Choose actions otherwise than configured; None leaves a setting as it is.  Begins a new episode for `act`.

        InputError where what chooses them was not trained (see `PolicyConfig`), or is not in the file.
        """
        cfg = self._choice.cfg
        cfg = replace(cfg, act=act or cfg.act, candidates=candidates or cfg.candidates)
        self._model.require(cfg.act)
        self._choice = ActionChoice(self._model, cfg)
        self.reset()

    @property
    def choice(self) -> ActionChoice:
        """How it chooses actions."""
        return self._choice

    @property
    def data_config(self) -> DataConfig:
        """How it executes its chunks."""
        return self._data

    @property
    def model(self) -> Model:
        """Its networks and their configuration."""
        return self._model

    @property
    def in_numpy(self) -> bool:
        """Whether it acts by a mean that is computed without torch."""
        return self._choice.cfg.act == "mean" and self._mean is not None

    def portable(self) -> NumpyPolicy | None:
        """The same actions, bit for bit, from a policy that other processes can have without torch (see
        `types.Policy`); None where acting takes noise, a critic, the denoiser, images, or a GPU."""
        if not self.in_numpy or self.encoder is not None or self._mean is None:
            return None
        return NumpyPolicy(self.interface, self._mean, self.n_action_steps, self.chunk_weights)

    @property
    def image_obs(self) -> ImageObs | None:
        """The images that it needs to be shown; None where it needs none."""
        shapes = {k: (s[0], s[1], s[2]) for k, s in self.interface.image_shapes.items()}
        return ImageObs(shapes, self._reader.frames) if shapes else None

    def act(self, obs: Obs) -> Array:
        """The next action for one robot.  obs: key -> (...) without batch dimension.  Returns (A,) float32.

        Images are (height, width, channels) uint8, one a call: where the policy sees several frames it remembers them.
        InputError for observations that are not those it was trained on, or not finite.
        """
        return self._loop.act(obs, self.predict)

    def predict(self, obs: Obs, rngs: Sequence[np.random.Generator]) -> Array:
        """The next H actions of B robots (see `types.Policy`).  Returns (B, H, A).

        Images are (B, height, width, channels) uint8, with several frames (B, frames, height, width, channels).
        Rows are computed each on its own: matrix products of other sizes round differently, and a robot's actions
        must not depend on how many others are evaluated beside it.
        """
        states = self._reader.states(obs)
        if self._mean is not None and self._choice.cfg.act == "mean":
            chunks = self._mean(states if self.encoder is None else states[:, self.encoder.columns("policy")])
        else:
            chunks = np.stack([self._choice.chunk(s, rng) for s, rng in zip(states, rngs, strict=True)])
        actions = self.interface.action_norm.invert(chunks)
        self.interface.check_actions(actions, obs)
        return actions

    def action_values(self, obs: Obs, chunks: Array) -> Array:
        """What the critic, the lower of the two target Q, thinks of chunks of actions in the units of the reward.

        obs: key -> (B, ...), as for `predict`.  chunks: (B, H, A) in environment units.  Returns (B,).
        InputError where training needed no critic, or the file has none.
        """
        if not self._model.cfg.policy.uses_critic:
            raise InputError("This policy was trained without a critic, since nothing in its loss reads Q.")
        self._model.require("best")
        return self._choice.values(self._reader.states(obs), self.interface.action_norm.apply(chunks))

    def attention(self, obs: Obs, kind: attention.Kind) -> dict[str, Array]:
        """Where the policy looks in the images of one robot.  obs: key -> (...) without batch dimension.

        keypoints: key -> (K, 3): across and down in pixels, and over how many pixels the point is spread.
        saliency:  key -> (H, W) in [0, 1]: how much the first action changes with the pixel, as a share of the most.
        InputError for a policy without images, or an encoder without keypoints.
        """
        if self.encoder is None:
            raise InputError("The policy sees no images, so where it looks cannot be shown.")
        batch = {k: np.asarray(v)[None] for k, v in obs.items()}
        low = torch.from_numpy(self.interface.read(batch, self._reader.frames)).to(self._reader.device)
        images = self._reader.images(batch, 0)
        if kind == "keypoints":
            return attention.keypoints(self.encoder, images)
        return attention.saliency(self.encoder, self.network, low, images)
