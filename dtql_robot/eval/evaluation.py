"""`evaluate`: the success rate of a policy, its speed, and optionally its video."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.seeding import check_run, evaluation_seed
from dtql_robot.errors import InputError
from dtql_robot.eval.pools.actor import stack_obs
from dtql_robot.eval.pools.chunked_env import Lost
from dtql_robot.eval.pools.env_pool import EnvPool, Where, make_pool
from dtql_robot.eval.result import EpisodeResult, EvalResult, Restart
from dtql_robot.eval.rollout import run_episodes
from dtql_robot.eval.video.film import film
from dtql_robot.eval.video.spec import Overlay, VideoSpec, check_video
from dtql_robot.system.progress import progress_bar
from dtql_robot.system.workers import WorkerError
from dtql_robot.types import ImageObs, Obs, Policy

LATENCY_CALLS = 50
LATENCY_SECONDS = 2.0
PACKAGES = ("dtql-robot", "numpy", "gymnasium", "mujoco", "gymnasium-robotics", "robosuite", "metaworld", "ogbench")
WORKER_TIMEOUT = 120.0


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


def _portable(policy: Policy) -> Policy | None:
    """The same policy as something to be copied to the simulators, where it can be (see `types.Policy`)."""
    return policy.portable() if hasattr(policy, "portable") else None


def _first_obs(pool: EnvPool, seed: int) -> Obs:
    """An observation to time the policy with."""
    pool.reset(0, seed)
    ((_, reply),) = pool.wait()
    if isinstance(reply, Lost):
        raise WorkerError(f"The simulator does not start. {reply.reason}")
    assert isinstance(reply, dict)
    return reply


def _check_run(seed: int, episodes: int, num_envs: int | None, worker_timeout: float) -> None:
    """InputError for numbers that make no evaluation."""
    check_run(seed, episodes)
    if num_envs is not None and num_envs < 1:
        raise InputError(f"num_envs must be at least 1, found {num_envs}.")
    if not worker_timeout > 0:
        raise InputError(f"worker_timeout must be above 0 seconds, found {worker_timeout:g}.")


def _check(policy: Policy, facts: EnvInfo) -> int:
    """The horizon; InputError where policy and environment do not fit or episodes would not end."""
    if policy.action_dim != facts.action_dim:
        raise InputError(
            f"{facts.spec} takes actions with {facts.action_dim} entries, but this policy was trained for "
            f"{policy.action_dim}; evaluate it in the environment of its data set."
        )
    if facts.horizon is None:
        raise InputError(f"{facts.spec} has no time limit of its own; give one (max_episode_steps).")
    return facts.horizon


def check_overlay(kind: Overlay, policy: Policy, obs: Obs) -> None:
    """InputError, before anything is run, for an overlay that the policy has nothing to show for."""
    if getattr(policy, "image_obs", None) is None or not hasattr(policy, "attention"):
        raise InputError("--video-overlay shows where a policy looks in its camera images; this one sees none.")
    policy.attention(obs, kind)


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def evaluate(
    policy: Policy,
    spec: str,
    *,
    episodes: int = 50,
    seed: int = 0,
    num_envs: int | None = None,
    max_episode_steps: int | None = None,
    env_args: dict[str, Any] | None = None,
    video: VideoSpec | Sequence[VideoSpec] | None = None,
    where: Where = "auto",
    worker_timeout: float = WORKER_TIMEOUT,
    progress: bool = True,
) -> EvalResult:
    """Success rate of `policy` in the environment `spec`, each episode run to its end.

    Episode i starts from its own environment seed and draws the policy's noise from its own generator, both derived
    from (seed, i) (see dtql_robot.envs.seeding), so that the results are the same for every `num_envs`.  Collection of
    demonstrations uses other seeds.  env_args: as for `make_env`.
    num_envs: environments at once; default: as many as suit the simulator, see `suitable_envs`.
    A policy with an attribute `image_obs` (types.ImageObs) is shown those images, drawn by the environment's cameras.
    where: whether the environments run in processes of their own ("auto": as measured, see `make_pool`).
    A process that dies, or does not answer within worker_timeout seconds, is replaced and its episodes run again
    from their start; the result's `restarts` lists these.
    video: what to film, if anything; one video for each of several.
    Where frames cannot be drawn the evaluation runs all the same, and the result's video_note says why.
    """
    _check_run(seed, episodes, num_envs, worker_timeout)
    films = [video] if isinstance(video, VideoSpec) else list(video or ())
    seeds = [evaluation_seed(seed, i) for i in range(episodes)]
    images: ImageObs | None = getattr(policy, "image_obs", None)
    making = make_pool(
        num_envs,
        spec,
        max_episode_steps,
        env_args,
        images,
        episodes=episodes,
        where=where,
        chunk=policy.n_action_steps,
        timeout=worker_timeout,
        policy=_portable(policy),
    )
    with contextlib.closing(making) as pool:
        facts = pool.facts()
        horizon = _check(policy, facts)
        for wanted in films:
            check_video(wanted, facts, episodes)
        first = _first_obs(pool, seeds[0])
        for overlay in {wanted.overlay for wanted in films if wanted.overlay is not None}:
            check_overlay(overlay, policy, first)
        rate = policy_rate(policy, first)
        start = time.perf_counter()
        results, restarts = _run_with_bar(policy, pool, seeds, facts, progress)
        elapsed = time.perf_counter() - start
    result = EvalResult(
        env=spec,
        seed=seed,
        per_episode=tuple(results),
        success_rule=facts.success_rule,
        horizon=horizon,
        n_action_steps=policy.n_action_steps,
        chunk_weights=getattr(policy, "chunk_weights", None),
        policy_hz=rate,
        env_steps_per_s=sum(e.length for e in results) / elapsed,
        versions=_versions(),
        restarts=tuple(restarts),
        num_envs=pool.num_envs,
        where="in-process" if pool.in_process else "processes",
    )
    options: dict[str, Any] = {"max_episode_steps": max_episode_steps, "env_args": env_args, "progress": progress}
    return _filmed(result, [film(policy, result, wanted, **options) for wanted in films])


def _filmed(result: EvalResult, made: Sequence[tuple[Path | None, str | None]]) -> EvalResult:
    """The result with its videos, and each note on them once.  made: what `film` returns."""
    notes = dict.fromkeys(note for _, note in made if note)
    return replace(result, videos=tuple(path for path, _ in made if path), video_note=" ".join(notes) or None)


def _run_with_bar(
    policy: Policy, pool: EnvPool, seeds: Sequence[int], facts: EnvInfo, progress: bool
) -> tuple[list[EpisodeResult], list[Restart]]:
    """`run_episodes` under a progress bar with the success rate so far."""
    won = done = 0
    with progress_bar(f"evaluate {facts.spec}", total=len(seeds), unit="ep", enabled=progress) as bar:

        def report(episode: EpisodeResult) -> None:
            nonlocal won, done
            won, done = won + episode.success, done + 1
            bar.set_postfix_str(f"success {won}/{done}", refresh=False)
            bar.update()

        return run_episodes(policy, pool, pool.num_envs, seeds, facts, report)
