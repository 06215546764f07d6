"""Release one stage of a demonstrator as a level of `collect --level`: convert it, measure it, put it in the package.

    python benchmarks/makers/release_maker.py makers/hopper/step_110000.zip --env Hopper-v5 --level medium

Prints the line to add to RELEASED in dtql_robot/makers/released.py and the row of the table in docs/paper.md.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from dtql_robot.eval import evaluate
from dtql_robot.makers.released import Maker
from dtql_robot.makers.sac import save_sac, settings_of_sac


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zip", type=Path, help="what SAC.save or train_maker.py wrote")
    parser.add_argument("--env", required=True)
    parser.add_argument("--level", choices=("medium", "expert"), required=True)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--workers", type=int)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        policy = save_sac(options.zip, options.env, Path(folder) / "policy")
        result = evaluate(policy, episodes=options.episodes, seed=0, num_envs=options.workers)
    assert result.return_ci95 is not None
    (low, high), mean = result.return_ci95, result.mean_return
    settings = settings_of_sac(options.zip)
    made = Maker(
        options.env,
        options.level,
        settings["seed"],
        settings["num_timesteps"],
        *(round(value, 1) for value in (mean, low, high)),
        episodes=options.episodes,
    )
    measured = (
        f"Mean return {mean:.1f} (95% interval {low:.1f} to {high:.1f}) over {options.episodes} episodes "
        "(`dtql-robot eval`, seed 0)."
    )
    save_sac(options.zip, options.env, made.folder, measured=measured, overwrite=True)
    print(f"    {made},")
    print(
        f"| {made.env} | {made.level} | {made.seed} | {made.steps:,} | {mean:.1f} ({low:.1f} to {high:.1f}) "
        f"| {made.episodes} |"
    )


if __name__ == "__main__":
    main()
