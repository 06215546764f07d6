"""`dtql-robot export`: a run's policy as one file, or as a small folder to share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from dtql_robot.system.files import check_writable, expanded
from dtql_robot.system.locks import locked


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write a trained policy for use elsewhere.

    torchscript and onnx: one file that maps observations to the next actions and runs without this package.
    Normalization is included; the random numbers that the policy draws are inputs. safetensors: a folder with the
    weights that act, the settings as JSON and a model card, for `load_policy`, `serve` and sharing; at most a tenth of
    the size of a checkpoint.
    Example: dtql-robot export runs/pick --format safetensors --out pick
    """

    run: Positional[Path]
    """Run folder that `train` wrote, or RUN@best for another of its checkpoints."""
    format: Literal["torchscript", "onnx", "safetensors"]
    """TorchScript runs with torch, ONNX with any ONNX runtime, safetensors with this package (in NumPy where the mean
    acts)."""
    out: Path
    """File to write; with safetensors a folder."""
    overwrite: bool = False
    """Replace --out if it exists."""
    act: Literal["mean", "sample", "best", "softmax"] | None = None
    """How actions are chosen. Default: same as in training."""


def run(options: Options) -> None:
    """Write the policy.  InputError for a policy that cannot be exported."""
    from dtql_robot.checkpoint import load_policy
    from dtql_robot.policy.export import export_policy, metadata

    path = expanded(options.out)
    with locked(path):
        if options.format != "safetensors":
            check_writable(path)
        policy = load_policy(expanded(options.run))
        if options.format == "safetensors":
            from dtql_robot.policy_folder.save import save_policy_folder

            out = save_policy_folder(policy, path, run=options.run, act=options.act, overwrite=options.overwrite)
            size = sum(file.stat().st_size for file in out.iterdir())
            print(f"{out}: {size / 1e6:.1f} MB in {', '.join(sorted(file.name for file in out.iterdir()))}")
            return
        out = export_policy(policy, path, options.format, options.act, options.overwrite)
    about = metadata(policy, options.act or policy.choice.cfg.act)
    print(f"{out}: {', '.join(about['inputs'])} -> actions (batch, {policy.horizon}, {policy.action_dim})")
