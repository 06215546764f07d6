"""How well today's simulators predict recorded locomotion: one step from each of many recorded states.

D4RL's files were recorded in a MuJoCo of 2018.  A file holds the whole state: positions and velocities in `infos`, or
in the observation, which leaves out only the place along the way, of which nothing depends.  (Hopper and Walker2d
observe no velocity beyond 10; such steps are left out.)  So each version of the environment can be asked what follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtql_robot.envs import make_env
from dtql_robot.replay.players import has_positions
from dtql_robot.types import Array, Demonstrations, Episode

LOCOMOTION = re.compile(r"(HalfCheetah|Hopper|Walker2d)-v[45]")
VERSIONS = ("v4", "v5")
STEPS = 200
AGREES = 0.05
"""Share of what a step changes, up to which a simulator is said to agree with the recording."""
_KEY, _CLIPPED = "observation", 10.0
_SAME, _NOTHING = 1.5, 1e-4  # times the smallest error, and an error, up to which two versions are not told apart


@dataclass(frozen=True)
class Predicted:
    """How one environment predicts recorded steps.

    change  mean error of the next observation, in units of what a step changes (root mean square over entries, each
            by its own standard deviation)
    reward  mean absolute error of the reward; None where none are recorded
    ends    share of the steps at which it ends the episode exactly where the recording is terminal
    steps   how many were tried
    """

    env: str
    change: float
    reward: float | None
    ends: float
    steps: int


def predictions(demos: Demonstrations, spec: str | None) -> tuple[Predicted, ...]:
    """What each version of the locomotion environment `spec` predicts; () for others, and where no state is known."""
    found = LOCOMOTION.fullmatch(spec or "")
    if found is None or set(demos.obs_shapes) != {_KEY}:
        return ()
    steps = list(_spread(demos))
    changes = np.array([after - e.obs[_KEY][t] for e, t, after in steps], np.float64)
    if len(changes) < 2:
        return ()
    scale = changes.std(axis=0)
    scale[scale == 0] = np.inf
    tried = (_predict(f"{found[1]}-{version}", steps, scale) for version in VERSIONS)
    return tuple(prediction for prediction in tried if prediction is not None)


def sentences(found: Sequence[Predicted], spec: str) -> tuple[str | None, str | None]:
    """(what was found, a warning where another version, or none, predicts the recording) in words."""
    if not found:
        return None, None
    best = closest(found, spec)
    told = "; ".join(
        f"{p.env} errs by {p.change:.2g} of what a step changes"
        + ("" if p.reward is None else f", by {p.reward:.2g} in reward")
        + (f", and ends {1 - p.ends:.0%} of the steps otherwise" if p.ends < 1 else "")
        for p in found
    )
    note = f"one step from {found[0].steps} recorded states: {told}."
    if len(alike := _alike(found)) < len(found):
        note += f" {best.env} is closest."
    elif len(alike) > 1:
        note += " They predict it alike."
    if best.change > AGREES:
        return (
            note,
            f"no version of {spec} predicts the recorded steps ({best.env} errs by {best.change:.0%} of what "
            "a step changes); it was perhaps recorded in another environment.",
        )
    if best.env != spec:
        return note, f"{best.env} is closer to the recording than {spec}; choose it with --env {best.env}."
    return note, None


def closest(found: Sequence[Predicted], spec: str) -> Predicted:
    """The environment that predicts best; `spec` where it does so as well as another."""
    alike = _alike(found)
    return next((p for p in alike if p.env == spec), alike[0])


def _alike(found: Sequence[Predicted]) -> list[Predicted]:
    """The best predictions: by the ends of episodes, then the next observation, then the reward."""
    best = [p for p in found if p.ends == max(p.ends for p in found)]
    best = [p for p in best if p.change <= max(_SAME * min(p.change for p in best), _NOTHING)]
    return [p for p in best if (p.reward or 0) <= max(_SAME * min(p.reward or 0 for p in best), _NOTHING)]


def _spread(demos: Demonstrations) -> Iterator[tuple[Episode, int, Array]]:
    """(episode, step, the observation after it), up to STEPS of them evenly over the data, the last steps included."""
    known = [(e, t) for e in demos.episodes for t in range(len(e) if e.final_obs is not None else len(e) - 1)]
    if not known:
        return
    ends = [(e, len(e) - 1) for e in demos.episodes if e.terminated and e.final_obs is not None][: STEPS // 4]
    even = [known[i] for i in np.unique(np.linspace(0, len(known) - 1, STEPS).round().astype(int))]
    for e, t in [*even, *ends]:
        last = t == len(e) - 1 and e.final_obs is not None
        yield e, t, np.asarray(e.final_obs[_KEY] if last and e.final_obs else e.obs[_KEY][t + 1])


def _predict(env_id: str, steps: Sequence[tuple[Episode, int, Array]], scale: Array) -> Predicted | None:
    env = make_env(env_id)
    sim: Any = env.unwrapped
    sim.reset(seed=0)
    errors, rewards, ends = [], [], []
    for episode, t, after in steps:
        state = _state(episode, t, sim.model.nq, sim.model.nv, clipped=not env_id.startswith("HalfCheetah"))
        if state is None or len(after) != sim.model.nq - 1 + sim.model.nv:
            continue
        sim.data.qacc_warmstart[:] = 0
        sim.set_state(*state)
        obs, reward, terminated, *_ = sim.step(np.clip(episode.actions[t], -1, 1).astype(np.float64))
        errors.append(float(np.sqrt(np.mean(((obs - after) / scale) ** 2))))
        rewards.append(abs(float(reward) - float(episode.rewards[t])))
        ends.append(terminated == (episode.terminated and t == len(episode) - 1))
    env.close()
    if not errors:
        return None
    missing = all(e.attrs.get("rewards_missing") for e, *_ in steps)
    reward_error = None if missing else float(np.mean(rewards))
    return Predicted(env_id, float(np.mean(errors)), reward_error, float(np.mean(ends)), len(errors))


def _state(episode: Episode, step: int, nq: int, nv: int, *, clipped: bool) -> tuple[Array, Array] | None:
    """(qpos, qvel) before a step; None where it is not recorded."""
    if has_positions(episode):
        qpos, qvel = (np.asarray(episode.extras[f"infos/{k}"][step], np.float64) for k in ("qpos", "qvel"))
        return (qpos, qvel) if (qpos.shape, qvel.shape) == ((nq,), (nv,)) else None
    obs = np.asarray(episode.obs[_KEY][step], np.float64)
    if len(obs) != nq - 1 + nv:
        return None
    qvel = obs[nq - 1 :]
    if clipped and np.abs(qvel).max() >= _CLIPPED:
        return None
    return np.concatenate([[0.0], obs[: nq - 1]]), qvel
