"""`dtql-robot eval`: a run folder's policy in simulation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from dtql_robot.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Roll a trained policy out on unseen start states; write results.json and report.html into the run folder.

    The same seed gives the same episodes whatever --num-envs is.
    Example: dtql-robot eval runs/pick --episodes 200 --video runs/pick/rollouts.mp4
    """

    run: Positional[Path]
    """Run folder that `train` wrote."""
    episodes: int = 100
    """Episodes. The interval narrows with their square root; under 50 it says little."""
    seed: int = 0
    """Seed of the evaluation's start states and of the policy's noise."""
    num_envs: int | None = None
    """Simulators run at once. Default: one per CPU core. Results do not depend on it."""
    env: str | None = None
    """Environment. Default: the one the run was trained for."""
    max_episode_steps: int | None = None
    """Steps after which an episode ends. Default: the environment's own limit."""
    video: Path | None = None
    """mp4 of episodes, failures first-class, labelled with seed, step and outcome."""
    video_episodes: int = 6
    """Episodes in the video."""
    json: Path | None = None
    """A further copy of results.json."""


def run(options: Options) -> None:
    from dtql_robot import checkpoint
    from dtql_robot.commands.report import write_run_report
    from dtql_robot.eval.evaluation import evaluate
    from dtql_robot.eval.video import VideoSpec
    from dtql_robot.policy import load_policy

    settings = checkpoint.read_config(options.run)
    spec = options.env or settings["env"]
    if spec is None:
        raise InputError(f"{options.run} names no environment (nor did its data); give one with --env.")
    policy = load_policy(options.run)
    result = evaluate(
        policy,
        spec,
        episodes=options.episodes,
        seed=options.seed,
        num_envs=options.num_envs,
        max_episode_steps=options.max_episode_steps,
        env_args=settings["env_args"] if spec == settings["env"] else None,
        video=VideoSpec(options.video, episodes=options.video_episodes) if options.video else None,
    )
    result.save(options.run / checkpoint.RESULTS)
    if options.json:
        result.save(options.json)
    report = write_run_report(options.run, result.video, _command(options))
    print(result)
    for path in (options.run / checkpoint.RESULTS, result.video, report):
        if path:
            print(f"  {path}")
    if result.video_note:
        print(f"  {result.video_note}")


def _command(options: Options) -> list[str]:
    """The evaluation's own command line, for the report."""
    words: list[Any] = ["dtql-robot", "eval", options.run, "--episodes", options.episodes, "--seed", options.seed]
    for name in ("env", "max_episode_steps", "video"):
        if (value := getattr(options, name)) is not None:
            words += [f"--{name.replace('_', '-')}", value]
    return [str(w) for w in words]
