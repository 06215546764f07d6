"""`dtql-robot export`: a run's policy as one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write a trained policy as one TorchScript or ONNX file: observations in, the next actions out.

    Normalization is inside; random numbers that the policy draws are inputs. The file needs none of this package.
    Example: dtql-robot export runs/pick --format onnx --out pick.onnx
    """

    run: Positional[Path]
    """Run folder that `train` wrote."""
    format: Literal["torchscript", "onnx"]
    """TorchScript needs torch to run, ONNX any ONNX runtime."""
    out: Path
    """File to write."""
    overwrite: bool = False
    """Replace --out if it exists."""
    act: Literal["mean", "sample", "best", "softmax"] | None = None
    """How it chooses actions. Default: as trained."""


def run(options: Options) -> None:
    """Write the policy as one file.  InputError for a policy that cannot be exported."""
    from dtql_robot.checkpoint import load_policy
    from dtql_robot.policy.export import export_policy, metadata

    policy = load_policy(options.run)
    out = export_policy(policy, options.out, options.format, options.act, options.overwrite)
    about = metadata(policy, options.act or policy.choice.cfg.act)
    print(f"{out}: {', '.join(about['inputs'])} -> actions (batch, {policy.horizon}, {policy.action_dim})")
