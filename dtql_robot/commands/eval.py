"""`dtql-robot eval`: a run folder's policy in simulation."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from dtql_robot.commands.words import needs_video, parse_names
from dtql_robot.errors import InputError, MissingOutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtql_robot.eval.result import EvalResult
    from dtql_robot.eval.video.spec import ClipSpec, VideoSpec
    from dtql_robot.reports.evaluations import Kept
    from dtql_robot.system.cluster import Cluster, Finished


_WHERE = ("workers", "where", "worker_timeout", "cluster", "cluster_config")  # which no result depends on
INTERRUPTED = "Results are written when an evaluation is complete; the same command starts it again."


@dataclass(frozen=True, kw_only=True)
class Options:
    """Evaluate a trained policy on unseen start states, and write results.json and report.html into the run folder.

    For a folder that `train --seeds` wrote, every seed is evaluated, and seeds.json receives the mean with its interval
    over seeds. The same --seed gives the same episodes for any number of --workers.
    Example: dtql-robot eval runs/pick --episodes 200 --video runs/pick/rollouts.mp4
    """

    run: Positional[Path]
    """Run folder that `train` wrote; RUN@best or RUN@5000 for a checkpoint that `train --keep` kept."""
    episodes: int = 100
    """Number of episodes. The interval shrinks with its square root; fewer than 50 say little."""
    seed: int = 0
    """Seed for start states and for the noise of the policy."""
    workers: Annotated[int | None, arg(aliases=("--num-envs",))] = None
    """Number of simulators to run at once; results do not depend on it. Default: chosen by the simulator's speed."""
    env: str | None = None
    """Environment. Default: the one that the run was trained for."""
    max_episode_steps: int | None = None
    """Time limit of episodes, in steps. Default: the environment's own."""
    n_action_steps: int | None = None
    """Number of actions executed before the next forward pass. Default: same as in training."""
    temporal_ensemble_coeff: float | Literal["fit", "off"] | None = None
    """Temporal ensembling: average what all chunks so far predicted for a step. fit: with the weights that best predict
    the demonstrations. A number c: with weights exp(-c * i), where i = 0 is the oldest chunk. off: use the newest chunk
    only. Default: same as in training."""
    video: Path | None = None
    """Write an mp4 of sample episodes, up to half of them failures, labelled with seed, step and outcome."""
    video_episodes: int = 6
    """Number of episodes in the video."""
    video_filter: Literal["all", "failures", "successes"] = "all"
    """Which episodes the video shows."""
    video_pick: tuple[int, ...] = ()
    """Show these episodes in the video, by number; 0 is the first."""
    video_random: bool = False
    """Show a random choice of episodes instead of the first ones."""
    video_grid: bool = False
    """Show all episodes of the video side by side."""
    video_size: int = 320
    """Width and height of one episode in the video, in pixels; a multiple of 16."""
    cameras: Annotated[tuple[str, ...], arg(aliases=("--camera",))] = ()
    """Cameras of the simulation, by name, with one video for each. Default: a view that shows the task."""
    video_overlay: tuple[str, ...] = ()
    """What to show beside the scene. actions, q: curves of what is executed, and of the critic's value of the chosen
    chunk. keypoints or saliency: what an image policy looks at. Several: actions,q."""
    clips: int | None = None
    """Number of episodes to film one by one, failures first; the report plays them. Default: those that the video
    shows. 0: none."""
    where: Literal["auto", "processes", "in-process"] = "auto"
    """Run simulators in their own processes or in this one. auto: chosen by a quick timing test."""
    worker_timeout: float = 120.0
    """Seconds that a simulator process may take to answer before it is replaced and its episodes run again."""
    cluster: str | None = None
    """Where to play the episodes: local, auto, an address, or slurm (docs/scale.md). Default: on this machine."""
    cluster_config: Path | None = None
    """JSON file with what a task may use of the cluster, and with options for Slurm (docs/scale.md)."""
    log: bool = False
    """Log results, videos and curves to where `train --log` logged the run."""
    json: Annotated[Path | None, arg(aliases=("--results",))] = None
    """Also write the results to this path; - prints them for programs."""


PRINTED = Path("-")
"""Where --json prints instead of writing a file."""


def run(options: Options) -> None:
    """Evaluate the run, or each seed's, write the results, and print them."""
    from dtql_robot.run_folder import seed_runs
    from dtql_robot.run_name import split_checkpoint
    from dtql_robot.system.cluster import connect

    paths = {name: getattr(options, name) for name in ("run", "video", "json")}
    printed = options.json == PRINTED
    options = replace(options, **{name: path.expanduser() for name, path in paths.items() if path is not None})
    options = replace(options, json=None) if printed else options
    if options.workers is not None and options.workers < 1:
        raise InputError(f"--workers must be 1 or more, found {options.workers}.")
    runs = seed_runs(split_checkpoint(options.run)[0])
    quiet = contextlib.redirect_stdout(sys.stderr) if printed else contextlib.nullcontext()
    with quiet, connect(options.cluster, options.cluster_config) as cluster:
        if runs:
            found, missing = _run_seeds(options, runs, cluster)
        else:
            found, _, missing = _run_one(options, cluster)
    if printed:
        print(json.dumps(found, indent=2))
    if missing:
        raise MissingOutputError(missing)


def _run_seeds(options: Options, runs: dict[int, Path], cluster: Cluster | None) -> tuple[dict[str, Any], str | None]:
    """Each seed's run by itself, then all together.  A video goes into each run's folder under the given name.

    Returns (the content of seeds.json, why a video is missing).
    """
    from dtql_robot.eval.across_seeds import SeedsResult
    from dtql_robot.reports.evaluations import OTHERS
    from dtql_robot.run_folder import SEEDS
    from dtql_robot.run_name import at_checkpoint, of_checkpoint, split_checkpoint
    from dtql_robot.system.files import check_writable

    out, name = split_checkpoint(options.run)
    seeds = out / of_checkpoint(SEEDS, name)
    for path in (seeds, options.json):
        if path:
            check_writable(path)
    done = {}
    for seed, folder in runs.items():
        video = folder / options.video.name if options.video else None
        done[seed] = _run_one(replace(options, run=at_checkpoint(folder, name), video=video, json=None), cluster)
    result = SeedsResult({seed: found for seed, (found, _, _) in done.items()})
    print(result)
    probes = [kept.results.name for _, kept, _ in done.values() if kept.headline is not None]
    summary = out / OTHERS / f"seeds-{probes[0]}" if probes else seeds
    for path in (summary, options.json):
        if path:
            print(f"  {result.save(path)}")
    return result.to_dict(), next((missing for _, _, missing in done.values() if missing), None)


def _run_one(options: Options, cluster: Cluster | None) -> tuple[dict[str, Any], Kept, str | None]:
    """Evaluate one run folder.  Returns (the content of its results.json, where that is, why a video is missing)."""
    from dtql_robot.checkpoint import step_of
    from dtql_robot.reports.evaluations import keep
    from dtql_robot.reports.run_report import write_run_report
    from dtql_robot.run_folder import RESULTS, checkpoint_digest
    from dtql_robot.run_name import checkpoint_file, of_checkpoint, split_checkpoint
    from dtql_robot.system.files import check_writable, write_json
    from dtql_robot.system.locks import locked
    from dtql_robot.tracking.tracking import log_evaluation

    folder, name = split_checkpoint(options.run)
    videos = _videos(options)
    outputs = [path for path in (*(video.path for video in videos), options.json) if path]
    for path in (folder / of_checkpoint(RESULTS, name), *outputs):
        check_writable(path)
    with contextlib.ExitStack() as stack:
        for path in dict.fromkeys(outputs):
            stack.enter_context(locked(path))
        digest, step = checkpoint_digest(folder, name), step_of(checkpoint_file(folder, name))
        judged = {"checkpoint": digest, "checkpoint_name": name, "checkpoint_step": step}
        finished = None if cluster is None else _finished(options, folder / RESULTS, judged)
        result = _evaluate(options, videos, judged, cluster, finished)
        print(result)
        found = {**result.to_dict(), **judged, "asked": _asked(options)}
        if options.json:
            write_json(options.json, found)
        kept = keep(folder, found, result.videos)
        report = write_run_report(folder, result.videos, _command(options), kept.results, kept.report)
        if finished is not None:
            finished.remove()
    if options.log and (told := log_evaluation(folder, found, result.videos, step)):
        print(f"  logged to {', '.join(told)}")
    for path in (kept.results, *result.videos, report):
        print(f"  {path}")
    for note in (str(kept), result.video_note):
        if note:
            print(f"  {note}")
    return found, kept, result.video_note if len(result.videos) < len(videos) else None


def _finished(options: Options, results: Path, judged: dict[str, Any]) -> Finished:
    """Episodes on a cluster are kept as they end, with all that they depend on."""
    from dtql_robot.system.cluster import Finished

    return Finished.beside(results, {**judged, "env": options.env, "seed": options.seed, **_asked(options)})


def _evaluate(
    options: Options,
    videos: Sequence[VideoSpec],
    judged: dict[str, Any],
    cluster: Cluster | None,
    finished: Finished | None,
) -> EvalResult:
    from dtql_robot.checkpoint import load_policy
    from dtql_robot.env_record import choose_env
    from dtql_robot.eval.evaluation import evaluate
    from dtql_robot.run_folder import settings_of
    from dtql_robot.run_name import split_checkpoint

    folder = split_checkpoint(options.run)[0]
    settings = settings_of(folder)
    chosen = choose_env(options.env, settings["env"], settings["env_args"], source=str(folder))
    spec = chosen.require()
    for note in chosen.notes:
        print(note, file=sys.stderr)
    policy = load_policy(options.run)
    policy.set_plan(options.n_action_steps, options.temporal_ensemble_coeff)
    return evaluate(
        policy,
        spec,
        episodes=options.episodes,
        seed=options.seed,
        num_envs=options.workers,
        max_episode_steps=options.max_episode_steps,
        env_args=chosen.env_args,
        video=videos,
        clips=_clips(options, folder, judged, spec),
        where=options.where,
        worker_timeout=options.worker_timeout,
        cluster=cluster,
        finished=finished,
    )


def _clips(options: Options, folder: Path, judged: dict[str, Any], spec: str) -> ClipSpec | None:
    """The clips to make, in a folder of this evaluation's own; None for none."""
    from dtql_robot.eval.video.spec import ClipSpec
    from dtql_robot.reports.evaluations import name_of
    from dtql_robot.run_folder import CLIPS

    if options.clips == 0 or (options.clips is None and options.video is None):
        return None
    about = {"env": spec, "seed": options.seed, "episodes": options.episodes, "asked": _asked(options), **judged}
    return ClipSpec(folder / CLIPS / name_of(about), options.clips or 0, min(options.video_size, 320))


def _asked(options: Options) -> dict[str, Any]:
    """What was asked for instead of what the run and its environment have."""
    names = ("max_episode_steps", "n_action_steps", "temporal_ensemble_coeff")
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _videos(options: Options) -> list[VideoSpec]:
    """What to film: a video for each camera; nothing without --video."""
    if not needs_video(options) or options.video is None:
        return []
    from dtql_robot.eval.video.spec import VideoSpec, path_of_each_camera

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

    return [spec(path, camera) for path, camera in path_of_each_camera(options.video, parse_names(options.cameras))]


def _command(options: Options) -> list[str]:
    """The evaluation's own command line, for the report."""
    words: list[Any] = ["dtql-robot", "eval", options.run, "--episodes", options.episodes, "--seed", options.seed]
    for field in fields(options):
        if field.name not in {"run", "episodes", "seed", "json", *_WHERE}:
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
