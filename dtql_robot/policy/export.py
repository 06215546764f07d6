"""The policy as one file: TorchScript, or ONNX for any runtime.

The file holds the whole deployed function, from observations in the robot's units to actions in the robot's units:
normalization, the one-step network, the choice among candidates where the policy makes one, and the chunk.
It draws no random numbers: what the policy draws is an input.

inputs    one per observation key, (B, ...) float32 in the order of the policy's interface; then, by how it acts,
          mean: nothing    sample: noise (B, H, A)    best: noise (N, H, A)    softmax: noise (N, H, A), draw (1,)
          where noise is standard normal and draw is uniform in [0, 1).  best and softmax take B = 1.
output    actions (B, H, A) float32, of which the first n_action_steps are executed (client.action_plan.ActionPlan)

A finished file has been loaded and run, and gives what the policy gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from dtql_robot.errors import InputError
from dtql_robot.policy import export_formats
from dtql_robot.policy.deployed import DeployedPolicy
from dtql_robot.policy.export_formats import METADATA
from dtql_robot.system.files import new_file

if TYPE_CHECKING:
    from dtql_robot.config import Act
    from dtql_robot.policy.one_step import OneStepPolicy
    from dtql_robot.types import Array, Obs

__all__ = ["METADATA", "DeployedPolicy", "draw_inputs", "export_policy", "input_names", "metadata"]

Format = Literal["torchscript", "onnx"]
OUTPUT = "actions"
DRAWN: dict[str, tuple[str, ...]] = {"mean": (), "sample": ("noise",), "best": ("noise",), "softmax": ("noise", "draw")}
"""Inputs that take the place of random numbers, by how the policy acts."""

TOLERANCE = 1e-4
"""Largest difference between a file's actions and the policy's, as a share of the actions' range."""


def input_names(policy: OneStepPolicy, act: str) -> list[str]:
    """Names of the inputs in their order: the observations' own, but for those that the file needs itself."""
    keys, own, names = policy.interface.obs_keys, (OUTPUT, "noise", "draw"), list[str]()
    for key in keys:
        name = key
        while name in own or name in names or (name != key and name in keys):
            name = f"obs_{name}"
        names.append(name)
    return [*names, *DRAWN[act]]


def draw_inputs(policy: OneStepPolicy, obs: Obs, rng: np.random.Generator, act: str | None = None) -> list[Array]:
    """The inputs for one robot as `policy.predict(obs, [rng])` would draw them.  obs: key -> (1, ...)."""
    act = act or policy.choice.cfg.act
    found = [np.asarray(obs[key], np.float32) for key in policy.interface.obs_keys]
    if act == "mean":
        return found
    count = 1 if act == "sample" else policy.choice.cfg.candidates
    found.append(rng.standard_normal((count, policy.horizon, policy.action_dim), dtype=np.float32))
    return [*found, np.array([rng.random()])] if act == "softmax" else found


def metadata(policy: OneStepPolicy, act: str) -> dict[str, Any]:
    """What a program needs to know to run the file."""
    face = policy.interface
    names = input_names(policy, act)
    return {
        "inputs": names,
        "observations": dict(zip(names, face.obs_keys, strict=False)),
        "obs_shapes": {key: list(shape) for key, shape in zip(face.obs_keys, face.obs_shapes, strict=True)},
        "act": act,
        "candidates": policy.choice.cfg.candidates if act in ("best", "softmax") else 1,
        "horizon": policy.horizon,
        "n_action_steps": policy.n_action_steps,
        "chunk_weights": policy.chunk_weights,
        "action_dim": policy.action_dim,
    }


def export_policy(
    policy: OneStepPolicy, out: Path, kind: Format, act: Act | None = None, overwrite: bool = False
) -> Path:
    """Write the policy to `out`, whole or not at all.

    act: how it acts, by default as its configuration says.  overwrite: whether a file of that name may be replaced.
    InputError for policies that cannot be exported, and where the written file does not give the policy's actions.
    """
    out = Path(out)
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already; choose another --out or add --overwrite.")
    if act is not None and act != policy.choice.cfg.act:
        act_cfg = policy.choice.cfg
        type(act_cfg)(**{**vars(act_cfg), "act": act})  # refuses an `act` that was not trained
    act = act or policy.choice.cfg.act
    module = DeployedPolicy(policy, act).cpu().eval()
    bad = [name for name, value in module.state_dict().items() if not value.isfinite().all()]
    if bad:
        raise InputError(f"the policy's weights are NaN or infinite ({bad[0]}), so it is not exported; train again.")
    example = _example(policy, act, np.random.default_rng(0))
    write, load = getattr(export_formats, f"write_{kind}"), getattr(export_formats, f"load_{kind}")
    with new_file(out, overwrite=overwrite) as part:
        write(module, example, part, metadata(policy, act))
        _compare(load(part), module, policy, act, out)
    return out


def _example(policy: OneStepPolicy, act: str, rng: np.random.Generator) -> list[torch.Tensor]:
    """Inputs for one robot near what the policy was trained on."""
    values = policy.interface.example(rng)
    return [torch.from_numpy(x) for x in draw_inputs(policy, values, rng, act)]


def _compare(run: export_formats.Runner, module: DeployedPolicy, policy: OneStepPolicy, act: str, out: Path) -> None:
    """InputError where the written file does not give the actions of the module that it was made from."""
    for seed in range(1, 4):
        inputs: Sequence[torch.Tensor] = _example(policy, act, np.random.default_rng(seed))
        if act in ("mean", "sample") and seed > 1:  # several robots
            inputs = [torch.cat([x] * seed) for x in inputs]
        with torch.no_grad():
            expected = module(*inputs).numpy()
        found = run([x.numpy() for x in inputs])
        limit = TOLERANCE * max(1.0, float(np.abs(expected).max()))
        if found.shape != expected.shape or not np.abs(found - expected).max() <= limit:
            raise InputError(
                f"{out} was not written: loaded again, it does not reproduce the policy's actions. Try the other "
                f"--format, or act with `dtql_robot.load_policy`."
            )
