"""Release one stage of a demonstrator as a level of `collect --level`: convert it, measure it, put it in the package.

    python benchmarks/makers/release_maker.py makers/hopper/step_400000.zip --env Hopper-v5 --level medium

The normalization of PPO's observations is read from step_400000.norm.npz, which train_maker.py writes beside the zip.
Prints the line to add to RELEASED in dtql_robot/makers/released.py and the row of the table in docs/paper.md.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from dtql_robot.eval import evaluate
from dtql_robot.makers.released import Maker
from dtql_robot.makers.sb3 import Norm, save_sb3, settings_of_sb3


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zip", type=Path, help="what train_maker.py wrote")
    parser.add_argument("--env", required=True)
    parser.add_argument("--level", choices=("medium", "expert"), required=True)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--workers", type=int)
    options = parser.parse_args(arguments)
    settings, norm = settings_of_sb3(options.zip), norm_beside(options.zip)
    if settings["algorithm"] == "PPO" and norm is None:
        parser.error(f"{options.zip.with_suffix('.norm.npz')} is missing: a PPO that train_maker.py did not train")
    with tempfile.TemporaryDirectory() as folder:
        policy = save_sb3(options.zip, options.env, Path(folder) / "policy", norm=norm)
        result = evaluate(policy, episodes=options.episodes, seed=0, num_envs=options.workers)
    assert result.return_ci95 is not None
    (low, high), mean = result.return_ci95, result.mean_return
    made = Maker(
        options.env,
        options.level,
        settings["algorithm"],
        settings["seed"],
        settings["num_timesteps"],
        *(round(value, 1) for value in (mean, low, high)),
        episodes=options.episodes,
    )
    measured = (
        f"Mean return {mean:.1f} (95% interval {low:.1f} to {high:.1f}) over {options.episodes} episodes "
        "(`dtql-robot eval`, seed 0)."
    )
    save_sb3(options.zip, options.env, made.folder, norm=norm, measured=measured, overwrite=True)
    print(f"    {made},")
    facts = (made.env, made.level, made.algorithm, made.seed, f"{made.steps:,}")
    print(f"| {' | '.join(map(str, facts))} | {mean:.1f} ({low:.1f} to {high:.1f}) |")


def norm_beside(path: Path) -> Norm | None:
    """The normalization of observations that was saved with the agent; None where there is none."""
    arrays = path.with_suffix(".norm.npz")
    if not arrays.exists():
        return None
    with np.load(arrays) as file:
        return file["mean"], file["std"]


if __name__ == "__main__":
    main()
