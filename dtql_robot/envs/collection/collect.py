"""Demonstrations from the scripted experts, of mixed quality on purpose."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from dtql_robot.env_record import record_as
from dtql_robot.envs.collection.fetch_expert import expert
from dtql_robot.envs.collection.lapses import Lapse, draw_lapse
from dtql_robot.envs.info import SuccessRule
from dtql_robot.envs.make import env_info, make_env
from dtql_robot.envs.rendering.image_obs import camera_record, check_images, square_images
from dtql_robot.envs.seeding import EPISODES_PER_SEED, check_run, collection_seed, episode_rng
from dtql_robot.errors import InputError
from dtql_robot.system.cores import usable_cores
from dtql_robot.system.progress import progress_bar
from dtql_robot.system.workers import Worker, map_ordered
from dtql_robot.types import Array, Demonstrations, Episode, ImageObs

Record = Literal["executed", "intended"]
NOISE_ATTRS = {"executed": "noise", "intended": "disturbance"}
"""The episode attribute that tells the noise's amplitude: noise is in the recorded actions, a disturbance is not."""
HOPELESS = 50  # with fewer successes than one in so many episodes, waiting for more is no use


class Collector:
    """Records episodes of one task; lives in a worker process."""

    def __init__(
        self,
        task: str,
        seed: int,
        noise: float,
        lapses: float = 0.0,
        images: ImageObs | None = None,
        record: Record = "executed",
    ) -> None:
        self._expert = expert(task)
        self._env = make_env(task, images=images)
        self._horizon = self._env.get_wrapper_attr("facts").horizon
        self._seed, self._noise, self._lapses, self._record = seed, noise, lapses, record

    def episode(self, index: int) -> Episode:
        """Episode `index`, a function of (task, seed, noise, lapses, record, index) alone."""
        env_seed = collection_seed(self._seed, index)
        rng = episode_rng(env_seed)
        scale = self._noise * rng.random()
        attrs: dict[str, Any] = {"seed": env_seed, NOISE_ATTRS[self._record]: round(scale, 6)}
        operate: Lapse | None = None
        if self._lapses:
            attrs["lapse"], operate = draw_lapse(rng, self._lapses, self._horizon)
        obs, _ = self._env.reset(seed=env_seed)
        steps: list[tuple[dict[str, Array], Array, float, bool]] = []
        terminated = truncated = False
        while not (terminated or truncated):
            wanted = self._expert(obs)
            if operate is not None:
                wanted = operate(len(steps), wanted)
            action = np.clip(wanted + scale * rng.standard_normal(wanted.shape), -1.0, 1.0).astype(np.float32)
            next_obs, reward, terminated, truncated, info = self._env.step(action)
            if self._record == "intended":
                action = np.clip(wanted, -1.0, 1.0).astype(np.float32)
            steps.append((obs, action, float(reward), info["success"]))
            obs = next_obs
        return _episode(index, steps, obs, terminated, attrs)

    def close(self) -> None:
        self._env.close()


def _episode(index: int, steps: list, final_obs: dict[str, Array], terminated: bool, attrs: dict[str, Any]) -> Episode:
    observations, actions, rewards, successes = zip(*steps, strict=True)
    return Episode(
        name=f"demo_{index}",
        obs={key: np.stack([obs[key] for obs in observations]) for key in final_obs},
        final_obs=final_obs,
        actions=np.stack(actions),
        rewards=np.asarray(rewards, np.float32),
        terminated=terminated,
        truncated=not terminated,
        success=np.asarray(successes, bool),
        attrs=attrs,
    )


def collect(
    task: str,
    episodes: int,
    seed: int = 0,
    *,
    noise: float = 0.3,
    record: Record = "executed",
    lapses: float = 0.0,
    successes_only: bool = False,
    workers: int | None = None,
    progress: bool = True,
    cameras: Sequence[str] = (),
    size: int = 84,
) -> Demonstrations:
    """`episodes` episodes of the scripted expert of `task`.

    noise: standard deviation of the Gaussian noise on every action entry (actions are in [-1, 1]).  Each episode draws
    its own amplitude uniformly from [0, noise], so that the data mixes clean and clumsy demonstrations; it is recorded
    in `attrs["noise"]`, next to the environment's `attrs["seed"]`.
    record: the action that is written down.  executed: with the noise.  intended: the expert's own, which noise
    disturbed on its way to the robot (DART, Laskey et al. 2017, arXiv 1703.09327); the amplitude is then
    `attrs["disturbance"]`, and playing the recorded actions back does not lead through the recorded states.
    lapses: share of the episodes in which the demonstrator fails on purpose (`collection.lapses`); how is recorded in
    `attrs["lapse"]`.
    successes_only: leave out the episodes that fail, and record more until there are `episodes` that succeed.
    cameras: names of cameras; each gives an observation "<camera>_image", (size, size, 3) uint8.
    Other observations are float32; actions are float32, after clipping to [-1, 1].
    The same (task, episodes, seed, noise, record, lapses) give the same data whatever the number of workers (default:
    one per core).
    """
    expert(task)  # an unknown task is the first thing to report
    check_run(seed, episodes)
    if not 0.0 <= noise <= 2.0:
        raise InputError(f"noise must be between 0 and 2 (actions are in [-1, 1]), found {noise}.")
    if not 0.0 <= lapses <= 1.0:
        raise InputError(f"lapses is a share of the episodes between 0 and 1, found {lapses}.")
    images = square_images(cameras, size) if cameras else None
    env_args = _env_args(task) | (camera_record_of(task, images) if images else {})
    attempts = EPISODES_PER_SEED if successes_only else episodes
    count = max(1, min(workers or usable_cores(), episodes))
    bar = progress_bar(f"collect {task}", total=episodes, unit="ep", enabled=progress)
    with _attempts(attempts, count, task, seed, noise, lapses, images, record) as results, bar:
        if successes_only:
            results = _successes(results, task, env_info(task).success_rule)
        recorded: list[Episode] = []
        successes = 0
        for episode in itertools.islice(results, episodes):
            recorded.append(replace(episode, name=f"demo_{len(recorded)}"))
            successes += episode.ends_in_success
            bar.set_postfix_str(f"success {successes}/{len(recorded)}", refresh=False)
            bar.update()
    source = f"scripted expert, seed {seed}, {NOISE_ATTRS[record]} {noise:g}"
    source += f", lapses {lapses:g}" if lapses else ""
    source += ", successes only" if successes_only else ""
    return Demonstrations(tuple(recorded), source, "robomimic", env_spec=task, env_args=env_args)


@contextlib.contextmanager
def _attempts(attempts: int, workers: int, *args: Any) -> Iterator[Iterator[Episode]]:
    """Episodes 0, 1, ... in order, recorded by that many workers; one is this process.  args: of `Collector`."""
    with contextlib.ExitStack() as stack:
        if workers == 1:
            collector = stack.enter_context(contextlib.closing(Collector(*args)))
            yield map(collector.episode, range(attempts))
        else:
            made = (Worker("dtql_robot.envs.collection.collect:Collector", *args) for _ in range(workers))
            pool = [stack.enter_context(contextlib.closing(worker)) for worker in made]
            yield map_ordered(pool, "episode", range(attempts))


def _successes(episodes: Iterator[Episode], task: str, rule: SuccessRule) -> Iterator[Episode]:
    """Those that succeed, as an evaluation counts it.  InputError where hardly any does."""
    found = 0
    for tried, episode in enumerate(episodes, start=1):
        if episode.ends_in_success if rule == "last" else np.any(episode.success):
            found += 1
            yield episode
        elif found * HOPELESS < tried - HOPELESS:
            raise InputError(f"{task}: only {found} of {tried} episodes succeed, too few to record successes only.")


def camera_record_of(task: str, images: ImageObs) -> dict[str, Any]:
    """What env_args tell about the images of `task`.  InputError for a camera that it has not."""
    facts = env_info(task)
    check_images(images, facts, {})
    return camera_record(images, facts)


PACKAGES = {"robosuite": "robosuite", "metaworld": "metaworld", "ogbench": "ogbench"}


def _env_args(task: str) -> dict[str, Any]:
    """robomimic's record of an environment.  Other families than robosuite keep their name in ours."""
    from importlib.metadata import version

    package = PACKAGES.get(task.partition(":")[0], "gymnasium-robotics")
    return record_as(task, {"env_version": version(package), "env_kwargs": {}})
