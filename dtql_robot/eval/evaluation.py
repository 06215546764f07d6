"""`evaluate`: the success rate or the return of a policy, its speed, and optionally its video."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.make import as_spec
from dtql_robot.errors import InputError, require_list
from dtql_robot.eval.episode_result import EpisodeResult, Restart
from dtql_robot.eval.pools.actor import bad_key, stack_obs
from dtql_robot.eval.pools.chunked_env import Lost
from dtql_robot.eval.pools.env_pool import EnvPool
from dtql_robot.eval.ranges import run_on_cluster
from dtql_robot.eval.reference_returns import find_reference
from dtql_robot.eval.result import EvalResult
from dtql_robot.eval.rollout import HOPELESS, run_episodes
from dtql_robot.eval.settings import EvalSettings
from dtql_robot.eval.subject import Function, Subject, as_subject
from dtql_robot.eval.video.film import Filmed, film, film_clips
from dtql_robot.eval.video.spec import ClipSpec, VideoSpec, check_video
from dtql_robot.system.progress import progress_bar
from dtql_robot.types import Obs, Policy, ShowsAttention, ValuesActions, image_obs_of

if TYPE_CHECKING:
    import gymnasium

LATENCY_CALLS = 50
LATENCY_SECONDS = 2.0
PACKAGES = ("dtql-robot", "numpy", "gymnasium", "mujoco", "gymnasium-robotics", "robosuite", "metaworld", "ogbench")


def evaluate(
    policy: Policy | Function | str | os.PathLike[str],
    env: str | Callable[..., gymnasium.Env] | None = None,
    *,
    video: VideoSpec | Sequence[VideoSpec] | str | os.PathLike[str] | None = None,
    clips: ClipSpec | None = None,
    **settings: Any,
) -> EvalResult:
    """Measure a policy's success rate in simulation, or its return if the environment reports no success.

        evaluate("runs/lift", episodes=200)
        evaluate(load_policy("runs/lift"))
        evaluate(lambda obs: np.zeros(4), "FetchPush-v4", seed=3)

    policy: a run folder, a checkpoint of one ("runs/lift@best"), what `load_policy` returns, any `types.Policy`, or a
    function from one robot's observation (key -> array) to its next action.
    env: the environment, by name or by the function that makes it; None is the one that the run was trained for.  What
    the run records of its environment (robots, controllers, ...) is used whenever that environment is evaluated.
    video: what to film, if anything: the path of an mp4, or a `VideoSpec`; one video for each of several.
    clips: single episodes to film into files of their own, which the report plays.
    settings: `episodes`, `seed`, `num_envs` and the other fields of `EvalSettings`.

    Episode i starts from its own environment seed and draws the policy's noise from its own generator, both derived
    from (seed, i) (see dtql_robot.envs.seeding), so that the results are the same for every `num_envs`.  Collection of
    demonstrations uses other seeds.
    An episode whose process dies or hangs, or whose environment raises an error or returns NaN, is run again from its
    start in a new one (`EvalResult.restarts`); one that fails every time counts as a failure (`EvalResult.failed`).
    InputError if no episode can be played. If frames cannot be drawn, the evaluation runs anyway, and the result's
    video_note says why.
    """
    how = EvalSettings.named(settings)
    subject = as_subject(policy, None if env is None else as_spec(env), how.env_args)
    films = _films(video)
    result = _rolled_out(subject, how, films)
    options: dict[str, Any] = {
        "max_episode_steps": how.max_episode_steps,
        "env_args": subject.env_args,
        "progress": how.progress,
    }
    made = [
        film(subject.policy, result, wanted, clips=None if i else clips, **options) for i, wanted in enumerate(films)
    ]
    if clips is not None:
        written = made[0].clips if made else {}
        made.append(film_clips(subject.policy, result, clips, made=written, **options))
    return _with_films(result, made)


def _films(video: VideoSpec | Sequence[VideoSpec] | str | os.PathLike[str] | None) -> tuple[VideoSpec, ...]:
    """What to film, as `evaluate` takes it."""
    if isinstance(video, str | os.PathLike):
        return (VideoSpec(Path(video)),)
    if isinstance(video, VideoSpec):
        return (video,)
    return require_list("video", video or (), VideoSpec, "VideoSpec, or a path")


def _rolled_out(subject: Subject, how: EvalSettings, films: Sequence[VideoSpec]) -> EvalResult:
    """The result without its videos; what cannot be filmed is refused before anything is run."""
    with contextlib.closing(how.make_pool(subject)) as pool:
        facts = pool.facts()
        subject.meets(facts)
        horizon = _check(subject.policy, facts)
        for wanted in films:
            check_video(wanted, facts, how.episodes)
        first = _first_obs(pool, how.seeds, facts)
        for wanted in films:
            check_overlays(wanted, subject.policy, first)
        rate = policy_rate(subject.policy, first)
        start = time.perf_counter()
        results, restarts = _run_with_bar(subject, pool, how, facts)
        elapsed = time.perf_counter() - start
    scores = subject.scores if how.max_episode_steps is None else None  # they are of episodes of the usual length
    reference, note = find_reference(facts, subject.env_args, horizon, scores)
    return EvalResult(
        env=subject.spec,
        seed=how.seed,
        per_episode=tuple(results),
        success_rule=facts.success_rule,
        horizon=horizon,
        n_action_steps=subject.policy.n_action_steps,
        chunk_weights=subject.chunk_weights,
        policy_hz=rate,
        env_steps_per_s=sum(e.length for e in results) / elapsed,
        versions=_versions(),
        restarts=tuple(restarts),
        num_envs=pool.num_envs if how.cluster is None else how.cluster.slots,
        where="cluster" if how.cluster is not None else "in-process" if pool.in_process else "processes",
        reference=reference,
        reference_note=note,
        measure=facts.measure,
    )


def policy_rate(policy: Policy, obs: Obs) -> float:
    """Control decisions per second of one robot: 1 / median seconds of `predict` at batch size 1, after warming up."""
    batch, rng = stack_obs([obs]), np.random.default_rng(0)
    for _ in range(3):
        policy.predict(batch, [rng])
    seconds: list[float] = []
    deadline = time.perf_counter() + LATENCY_SECONDS
    while len(seconds) < LATENCY_CALLS and (time.perf_counter() < deadline or len(seconds) < 3):
        start = time.perf_counter()
        policy.predict(batch, [rng])
        seconds.append(time.perf_counter() - start)
    return 1.0 / max(float(np.median(seconds)), 1e-9)


def _first_obs(pool: EnvPool, seeds: Sequence[int], facts: EnvInfo) -> Obs:
    """An observation to time the policy with: of the first episode that can be begun.  InputError where none can."""
    found: list[Obs] = []
    reason = ""
    for seed in seeds[:HOPELESS]:
        pool.reset(0, seed)
        ((_, reply),) = pool.wait()
        if isinstance(reply, Lost):
            reason = reply.reason
        elif isinstance(reply, dict):
            found.append(reply)
            if bad_key(reply) is None:
                return reply
    if not found:
        raise InputError(f"{facts.spec} cannot start an episode. {reason}")
    return found[0]


def _check(policy: Policy, facts: EnvInfo) -> int:
    """The horizon; InputError where policy and environment do not fit or episodes would not end."""
    if policy.action_dim != facts.action_dim:
        raise InputError(
            f"{facts.spec} takes actions with {facts.action_dim} entries, but this policy was trained for "
            f"{policy.action_dim}; evaluate it in the environment of its data set."
        )
    if facts.horizon is None:
        raise InputError(f"{facts.spec} has no time limit of its own; set max_episode_steps.")
    return facts.horizon


def check_overlays(spec: VideoSpec, policy: Policy, obs: Obs) -> None:
    """InputError, before anything is run, for an overlay that the policy has nothing to show for."""
    if spec.looks is not None:
        if image_obs_of(policy) is None or not isinstance(policy, ShowsAttention):
            raise InputError("--video-overlay shows where a policy looks in its camera images; this one sees none.")
        policy.attention(obs, spec.looks)
    if "q" in spec.curves:
        if not isinstance(policy, ValuesActions):
            raise InputError("--video-overlay q shows what a policy's critic thinks of its actions; this one has none.")
        batch = stack_obs([obs])
        policy.action_values(batch, policy.predict(batch, [np.random.default_rng(0)]))


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _with_films(result: EvalResult, made: Sequence[Filmed]) -> EvalResult:
    """The result with its videos and clips, and each note on them once."""
    notes = dict.fromkeys(filmed.note for filmed in made if filmed.note)
    videos = tuple(filmed.video for filmed in made if filmed.video)
    clips = {seed: path for filmed in made for seed, path in filmed.clips.items()}
    return replace(result, videos=videos, clips=clips, video_note=" ".join(notes) or None)


class Stopped(Exception):  # noqa: N818 (no error)
    """An evaluation was asked to end before its last episode."""


def _run_with_bar(
    subject: Subject, pool: EnvPool, how: EvalSettings, facts: EnvInfo
) -> tuple[list[EpisodeResult], list[Restart]]:
    """`run_episodes` under a progress bar with the success rate or the mean return so far."""
    won = done = 0
    returned = 0.0
    with progress_bar(f"evaluate {facts.spec}", total=how.episodes, unit="ep", enabled=how.progress) as bar:

        def report(episode: EpisodeResult) -> None:
            nonlocal won, done, returned
            won, done, returned = won + bool(episode.success), done + 1, returned + episode.episode_return
            so_far = f"return {returned / done:.1f}" if episode.success is None else f"success {won}/{done}"
            bar.set_postfix_str(so_far, refresh=False)
            bar.update()
            if how.stop():
                raise Stopped

        if how.cluster is None:
            return run_episodes(subject.policy, pool, pool.num_envs, how.seeds, facts, report)
        steps, timeout = how.max_episode_steps, how.worker_timeout
        return run_on_cluster(how.cluster, how.finished, subject, steps, how.seeds, timeout, report)
