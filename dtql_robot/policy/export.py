"""The policy as one file: TorchScript, or ONNX for any runtime.

The file holds the whole deployed function, from observations in the robot's units to actions in the robot's units:
normalization, the one-step network, the choice among candidates where the policy makes one, and the chunk.
It draws no random numbers: what the policy draws is an input.

inputs    one per observation key, (B, ...) float32 in the order of the policy's interface; then, by how it acts,
          mean: nothing    sample: noise (B, H, A)    best: noise (N, H, A)    softmax: noise (N, H, A), draw (1,)
          where noise is standard normal and draw is uniform in [0, 1).  best and softmax take B = 1.
output    actions (B, H, A) float32, of which the first n_action_steps are executed (policy.action_plan.ActionPlan)
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from dtql_robot.errors import InputError
from dtql_robot.system.files import new_file

if TYPE_CHECKING:
    from dtql_robot.policy.one_step import OneStepPolicy
    from dtql_robot.types import Array, Obs

Format = Literal["torchscript", "onnx"]
METADATA = "dtql_robot.json"
OPSET = 18


class DeployedPolicy(nn.Module):
    """What `OneStepPolicy.predict` computes, as one module of tensors; see this file's head for inputs and output."""

    obs_shift: Tensor
    obs_scale: Tensor
    action_shift: Tensor
    action_scale: Tensor

    def __init__(self, policy: OneStepPolicy, act: str | None = None) -> None:
        super().__init__()
        face = policy.interface
        self.act = act or policy.cfg.act
        if self.act == "diffusion":
            raise InputError("act=diffusion samples in many steps and is not exported; choose another --act.")
        if policy.encoder is not None:
            raise InputError("Policies that see images are not exported; act with `load_policy(run).act(obs)`.")
        self.network = policy.network
        self.critic = policy.critic if self.act in ("best", "softmax") else None
        self.chunk = (policy.horizon, face.action_dim)
        norms = {"obs": face.obs_norm, "action": face.action_norm}
        for name, norm in norms.items():
            self.register_buffer(f"{name}_shift", torch.from_numpy(np.array(norm.shift, np.float32)))
            self.register_buffer(f"{name}_scale", torch.from_numpy(np.array(norm.scale, np.float32)))

    def forward(self, *inputs: Tensor) -> Tensor:
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
        chunks = self.network(many, drawn[0])
        q = self.critic(many, chunks).min(dim=0).values
        if self.act == "best":
            return chunks[q.argmax(dim=0, keepdim=True)]
        reached = torch.softmax(q.double(), dim=0).cumsum(dim=0)
        index = (reached / reached[-1:] <= drawn[1]).sum(dim=0, keepdim=True)
        return chunks[index.clamp(max=q.shape[0] - 1)]


def input_names(policy: OneStepPolicy, act: str) -> list[str]:
    """Names of the inputs in their order."""
    drawn = {"mean": [], "sample": ["noise"], "best": ["noise"], "softmax": ["noise", "draw"]}[act]
    return [*policy.interface.obs_keys, *drawn]


def draw_inputs(policy: OneStepPolicy, obs: Obs, rng: np.random.Generator, act: str | None = None) -> list[Array]:
    """The inputs for one robot as `policy.predict(obs, [rng])` would draw them.  obs: key -> (1, ...)."""
    act = act or policy.cfg.act
    found = [np.asarray(obs[key], np.float32) for key in policy.interface.obs_keys]
    if act == "mean":
        return found
    count = 1 if act == "sample" else policy.cfg.candidates
    found.append(rng.standard_normal((count, policy.horizon, policy.action_dim), dtype=np.float32))
    return [*found, np.array([rng.random()])] if act == "softmax" else found


def metadata(policy: OneStepPolicy, act: str) -> dict[str, Any]:
    """What a program needs to know to run the file."""
    face = policy.interface
    return {
        "inputs": input_names(policy, act),
        "obs_shapes": {key: list(shape) for key, shape in zip(face.obs_keys, face.obs_shapes, strict=True)},
        "act": act,
        "candidates": policy.cfg.candidates if act in ("best", "softmax") else 1,
        "horizon": policy.horizon,
        "n_action_steps": policy.n_action_steps,
        "chunk_weights": policy.chunk_weights,
        "action_dim": policy.action_dim,
    }


def export_policy(policy: OneStepPolicy, out: Path, kind: Format, act: str | None = None) -> Path:
    """Write the policy to `out`, whole or not at all.  act: how it acts, by default as its configuration says."""
    out = Path(out)
    act = act or policy.cfg.act
    module = DeployedPolicy(policy, act).cpu().eval()
    zeros = {k: np.zeros((1, *s), np.float32) for k, s in zip(policy.interface.obs_keys, policy.interface.obs_shapes,
                                                             strict=True)}  # fmt: skip
    example = [torch.from_numpy(x) for x in draw_inputs(policy, zeros, np.random.default_rng(0), act)]
    write = _write_torchscript if kind == "torchscript" else _write_onnx
    with new_file(out, overwrite=True) as part:
        write(module, example, part, metadata(policy, act))
    return out


def _write_torchscript(module: DeployedPolicy, example: Sequence[Tensor], path: Path, about: dict[str, Any]) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(module, tuple(example))
        torch.jit.save(torch.jit.freeze(traced), str(path), _extra_files={METADATA: json.dumps(about)})


def _write_onnx(module: DeployedPolicy, example: Sequence[Tensor], path: Path, about: dict[str, Any]) -> None:
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(f"ONNX needs the package {error.name}: `pip install 'dtql-robot[onnx]'`.") from error
    batched = module.act in ("mean", "sample")
    axes = tuple({0: torch.export.Dim("batch", min=1, max=4096)} if batched else None for _ in example)
    samples = tuple(torch.cat([x, x]) if batched else x for x in example)  # a batch of one would be taken for constant
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # "no torchvision"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            samples,
            input_names=about["inputs"],
            output_names=["actions"],
            dynamic_shapes=(axes,),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {METADATA: json.dumps(about)})
    path.write_bytes(model.SerializeToString())
