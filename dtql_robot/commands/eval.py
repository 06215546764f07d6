"""`dtql-robot eval`: a run folder's policy in simulation."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from dtql_robot.errors import InputError

if TYPE_CHECKING:
    from dtql_robot.eval.video.spec import VideoSpec


@dataclass(frozen=True, kw_only=True)
class Options:
    """Roll a trained policy out on unseen start states; write results.json and report.html into the run folder.

    A folder that `train --seeds` wrote is evaluated seed by seed; seeds.json has the mean with its interval over seeds.
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
    """Simulators run at once. Default: as many as suit their speed. Results do not depend on it."""
    env: str | None = None
    """Environment. Default: the one the run was trained for."""
    max_episode_steps: int | None = None
    """Steps after which an episode ends. Default: the environment's own limit."""
    n_action_steps: int | None = None
    """Actions of a chunk that are executed before the next forward pass. Default: as the run was trained to."""
    temporal_ensemble_coeff: float | Literal["fit", "off"] | None = None
    """Average what successive chunks foresaw, with weights exp(-coeff * i), i = 0 for the oldest; fit: those that
    forecast the demonstrations best; off: the newest chunk alone. Default: as the run was trained to."""
    video: Path | None = None
    """mp4 of episodes, failures first-class, labelled with seed, step and outcome."""
    video_episodes: int = 6
    """Episodes in the video."""
    video_filter: Literal["all", "failures", "successes"] = "all"
    """Episodes that may be in the video; "all" mixes both."""
    video_pick: tuple[int, ...] = ()
    """These episodes of the evaluation (0 is the first) in the video."""
    video_random: bool = False
    """A random choice of episodes, not the first ones."""
    video_grid: bool = False
    """All episodes of the video at once, side by side."""
    video_size: int = 320
    """Width and height of one episode's picture in pixels, a multiple of 16."""
    camera: tuple[str, ...] = ()
    """Cameras of the simulation by their names, a video for each. Default: a view that shows the task."""
    video_overlay: Literal["keypoints", "saliency"] | None = None
    """Show beside the scene what a policy of pixels looks at: the encoder's keypoints, or the pixels that matter."""
    where: Literal["auto", "processes", "in-process"] = "auto"
    """Simulators in processes of their own or in this one. Default: as measured."""
    worker_timeout: float = 120.0
    """Seconds after which a process that does not answer is replaced and its episodes run again."""
    json: Path | None = None
    """A further copy of results.json."""


def run(options: Options) -> None:
    """Evaluate the run, or each seed's, write the results, and print them."""
    from dtql_robot.run_folder import seed_runs

    runs = seed_runs(options.run)
    if runs:
        _run_seeds(options, runs)
    else:
        _run_one(options)


def _run_seeds(options: Options, runs: dict[int, Path]) -> None:
    """Each seed's run by itself, then all together.  A video goes into each run's folder under the given name."""
    from dtql_robot.eval.across_seeds import SeedsResult
    from dtql_robot.run_folder import SEEDS, read_results

    for folder in runs.values():
        video = folder / options.video.name if options.video else None
        _run_one(replace(options, run=folder, video=video, json=None))
    result = SeedsResult({seed: read_results(folder) for seed, folder in runs.items()})
    print(result)
    for path in (options.run / SEEDS, options.json):
        if path:
            print(f"  {result.save(path)}")


def _run_one(options: Options) -> None:
    from dtql_robot.checkpoint import load_policy
    from dtql_robot.env_record import choose_env
    from dtql_robot.eval.evaluation import evaluate
    from dtql_robot.report.run_report import write_run_report
    from dtql_robot.run_folder import RESULTS, read_config
    from dtql_robot.system.files import check_writable

    settings = read_config(options.run)
    videos = _videos(options)
    for path in (options.run / RESULTS, options.json):
        if path:
            check_writable(path)
    chosen = choose_env(options.env, settings["env"], settings["env_args"], source=str(options.run))
    spec = chosen.require()
    for note in chosen.notes:
        print(note, file=sys.stderr)
    policy = load_policy(options.run)
    policy.set_plan(options.n_action_steps, options.temporal_ensemble_coeff)
    result = evaluate(
        policy,
        spec,
        episodes=options.episodes,
        seed=options.seed,
        num_envs=options.num_envs,
        max_episode_steps=options.max_episode_steps,
        env_args=chosen.env_args,
        video=videos,
        where=options.where,
        worker_timeout=options.worker_timeout,
    )
    result.save(options.run / RESULTS)
    if options.json:
        result.save(options.json)
    report = write_run_report(options.run, result.videos, _command(options))
    print(result)
    for path in (options.run / RESULTS, *result.videos, report):
        print(f"  {path}")
    if result.video_note:
        print(f"  {result.video_note}")


def _videos(options: Options) -> list[VideoSpec]:
    """What to film: a video for each camera; nothing without --video."""
    if options.video is None:
        about = [f for f in fields(options) if f.name == "camera" or f.name.startswith("video_")]
        idle = [_flag(f.name) for f in about if getattr(options, f.name) != f.default]
        if idle:
            raise InputError(f"{', '.join(idle)} says what a video shows; name its file with --video too.")
        return []
    from dtql_robot.eval.video.spec import VideoSpec

    def spec(path: Path, camera: str | None) -> VideoSpec:
        return VideoSpec(
            path,
            episodes=options.video_episodes,
            filter=options.video_filter,
            pick=options.video_pick,
            random=options.video_random,
            grid=options.video_grid,
            camera=camera,
            overlay=options.video_overlay,
            width=options.video_size,
            height=options.video_size,
        )

    path, cameras = options.video, options.camera
    if len(cameras) < 2:
        return [spec(path, cameras[0] if cameras else None)]
    return [spec(path.with_name(f"{path.stem}-{camera.replace('/', '-')}{path.suffix}"), camera) for camera in cameras]


def _command(options: Options) -> list[str]:
    """The evaluation's own command line, for the report."""
    words: list[Any] = ["dtql-robot", "eval", options.run, "--episodes", options.episodes, "--seed", options.seed]
    for field in fields(options):
        if field.name not in ("run", "episodes", "seed", "json", "num_envs", "where", "worker_timeout"):
            words += _option(field.name, getattr(options, field.name), field.default)
    return [str(w) for w in words]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _option(name: str, value: Any, default: Any) -> list[Any]:
    """One option as words of a command line; none where it has its default."""
    flag = _flag(name)
    if value == default:
        return []
    if value is True:
        return [flag]
    return [flag, *value] if isinstance(value, tuple) else [flag, value]
