"""What `validate` says about values: constants, outliers, actions among observations, rewards of two formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtql_robot.api.fit import check_fit
from dtql_robot.datasets import load
from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.datasets.validation.findings import Finding, Use
from dtql_robot.datasets.validation.lengths import lengths_warning
from dtql_robot.datasets.validation.validate import validate_reading
from dtql_robot.types import Array, Demonstrations, Episode


def smooth(rng: np.random.Generator, steps: int, size: int) -> Array:
    """A random walk that stays within [-1, 1], (steps, size)."""
    return np.tanh(np.cumsum(rng.normal(0, 0.2, (steps, size)), axis=0))


def episode(seed: int, steps: int = 40, **changes: Any) -> Episode:
    """An episode that ends in success; the action follows from the observations by no linear law."""
    rng = np.random.default_rng(seed)
    joints = smooth(rng, steps + 1, 6)
    actions = np.tanh(3 * joints[:-1, :3] * joints[:-1, 3:]) + 0.05 * rng.normal(size=(steps, 3))
    fields: dict[str, Any] = {
        "obs": {"joints": joints[:-1].astype(np.float32), "object": smooth(rng, steps, 3).astype(np.float32)},
        "final_obs": {"joints": joints[-1].astype(np.float32), "object": np.zeros(3, np.float32)},
        "actions": np.clip(actions, -1, 1).astype(np.float32),
        "rewards": smooth(rng, steps, 1)[:, 0].astype(np.float32),
        "success": np.arange(steps) == steps - 1,
    }
    return Episode(name=f"demo_{seed}", terminated=True, truncated=False, **(fields | changes))


def demos_of(make: Callable[[int], Episode] = episode, count: int = 8) -> Demonstrations:
    return Demonstrations(tuple(make(i) for i in range(count)), "made", "robomimic", "FetchPush-v4")


def findings(demos: Demonstrations, code: str, use: Use | None = None) -> list[Finding]:
    return [f for f in validate_reading(Reading(demos), use).findings if f.code == code]


def with_obs(change: Callable[[Episode], dict[str, Array]], **kwargs: Any) -> Demonstrations:
    """Demonstrations with more observations, or others."""

    def make(i: int) -> Episode:
        e = episode(i, **kwargs)
        return replace(e, obs=e.obs | {k: np.asarray(v, np.float32) for k, v in change(e).items()}, final_obs=None)

    return demos_of(make)


def test_sound_data_has_no_findings() -> None:
    assert validate_reading(Reading(demos_of())).findings == ()


# ---- constants


@pytest.mark.parametrize("unit", [1e-9, 1e-4, 9e-4, 1.0, 1e6])
def test_no_unit_is_so_small_that_a_moving_entry_counts_as_constant(unit: float) -> None:
    demos = with_obs(lambda e: {"joints": e.obs["joints"] * unit})
    demos = replace(demos, episodes=tuple(replace(e, actions=e.actions * np.float32(unit)) for e in demos.episodes))
    assert not findings(demos, "constant-obs")
    assert not findings(demos, "constant-actions")


@pytest.mark.parametrize("value", [0.0, 0.7, -3e5])
def test_what_counts_as_constant_is_named_with_its_value(value: float) -> None:
    rounding = np.spacing(np.float32(value))

    def still(e: Episode) -> dict[str, Array]:
        joints = e.obs["joints"].copy()
        joints[:, 4] = np.float32(value) + rounding * (np.arange(len(e)) % 3)
        return {"joints": joints}

    (finding,) = findings(with_obs(still), "constant-obs")
    assert "joints" in finding.place
    assert f"4 = {value:.6g}" in finding.problem

    demos = demos_of()
    hold = [
        replace(e, actions=np.c_[e.actions[:, :2], np.full(len(e), value)].astype(np.float32)) for e in demos.episodes
    ]
    (finding,) = findings(replace(demos, episodes=tuple(hold)), "constant-actions")
    assert f"2 = {value:.6g}" in finding.problem


# ---- outliers


@pytest.mark.parametrize("size", [1e12, -1e12, 1e6, 3e4])
def test_one_outlier_that_flattens_an_observation(size: float) -> None:
    def spoil(e: Episode) -> dict[str, Array]:
        object_ = e.obs["object"].copy()
        if e.name == "demo_3":
            object_[17, 1] = size
        return {"object": object_}

    (finding,) = findings(with_obs(spoil), "outlier")
    assert finding.place.startswith("demo_3, step 17, observation 'object'")
    assert f"entry 1 is {size:.4g}" in finding.problem


def test_an_outlier_among_the_actions() -> None:
    demos = demos_of()
    actions = demos.episodes[2].actions.copy()
    actions[5, 0] = 1e4
    spoilt = [replace(e, actions=actions) if e.name == "demo_2" else e for e in demos.episodes]
    (finding,) = findings(replace(demos, episodes=tuple(spoilt)), "outlier")
    assert finding.place.startswith("demo_2, step 5, actions")


def test_contacts_switches_and_wide_ranges_are_no_outliers() -> None:
    def rare(e: Episode) -> dict[str, Array]:
        force = np.abs(np.random.default_rng(len(e.name)).normal(0, 0.01, len(e)))
        force[20:26] = 80  # a contact
        switch = (np.arange(len(e)) == 30).astype(float)
        return {"force": np.c_[force, switch], "wide": np.exp(6 * e.obs["joints"][:, :1])}

    assert not findings(with_obs(rare), "outlier")


# ---- actions among observations

ROTATION = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
LEAKS: dict[str, Callable[[Episode], dict[str, Array]]] = {
    "equal": lambda e: {"last": e.actions},
    "scaled": lambda e: {"last": -0.05 * e.actions + 7},
    "one entry of many": lambda e: {"state": np.c_[e.obs["joints"], e.actions[:, 1]]},
    "slightly noisy": lambda e: {"last": e.actions + np.random.default_rng(0).normal(0, 1e-3, e.actions.shape)},
    "in another frame": lambda e: {"last": e.actions @ ROTATION},
    "of the next step": lambda e: {"plan": np.r_[e.actions[1:], e.actions[-1:]]},
    "three steps ahead": lambda e: {"plan": np.r_[e.actions[3:], e.actions[-1:], e.actions[-1:], e.actions[-1:]]},
}


@pytest.mark.parametrize("kind", LEAKS)
def test_an_observation_that_holds_the_action(kind: str) -> None:
    (finding,) = findings(with_obs(LEAKS[kind]), "action-in-obs")
    assert finding.severity == "warning"
    assert {"equal": "entries 0, 1, 2", "one entry of many": "entry 1"}.get(kind, "") in finding.problem
    steps = {"of the next step": "the next step", "three steps ahead": "3 steps later"}.get(kind, "the same step")
    assert steps in finding.problem


def test_a_commanded_pose_from_which_the_action_was_computed() -> None:
    """As Isaac Lab's data generator records it: the target pose of the hand, and the hand."""

    def targets(e: Episode) -> dict[str, Array]:
        hand = smooth(np.random.default_rng(int(e.name[5:])), len(e), 3)
        return {"eef_pos": hand, "datagen_info/target_eef_pose": np.c_[hand + 0.1 * e.actions, np.ones(len(e))]}

    (finding,) = findings(with_obs(targets), "action-in-obs")
    assert "'datagen_info/target_eef_pose' minus 'eef_pos'" in finding.place
    assert "entries 0, 1, 2" in finding.problem


ECHOES: dict[str, Callable[[Episode], dict[str, Array]]] = {
    "last action": lambda e: {"last": np.r_[0 * e.actions[:1], e.actions[:-1]]},
    "joint that follows its target": lambda e: {"arm": np.r_[0 * e.actions[:1], e.actions[:-1]] + 0.01},
    "last action, slow robot": lambda e: {"last": np.r_[0 * e.actions[:1], e.actions[:-1]]},
}


@pytest.mark.parametrize("kind", ECHOES)
def test_an_echo_of_the_last_action_is_none_of_it(kind: str) -> None:
    def make(i: int) -> Episode:
        e = episode(i, steps=200)
        if kind.endswith("slow robot"):
            e = replace(e, actions=np.tanh(np.cumsum(0.02 * e.actions, axis=0)))
        return replace(
            e, obs=e.obs | {k: np.asarray(v, np.float32) for k, v in ECHOES[kind](e).items()}, final_obs=None
        )

    assert not findings(demos_of(make), "action-in-obs")


# ---- success and rewards


def test_success_that_is_always_on() -> None:
    demos = demos_of(lambda i: episode(i, success=np.ones(40, bool)))
    (finding,) = findings(demos, "always-success")
    assert "8 of 8 episodes succeed from the first step" in finding.problem
    assert not findings(demos_of(lambda i: episode(i, success=np.arange(40) > 3)), "always-success")


@pytest.mark.slow
def test_two_formulas_of_rewards(real_file: Callable[[str], Path]) -> None:
    (finding,) = findings(load(real_file("door_more/door_more.hdf5")), "mixed-rewards")
    assert "220 and 25 episodes" in finding.problem
    assert "success signal" in finding.problem
    assert not findings(load(real_file("d4rl_door_human_v0/door-v0_demos_clipped.hdf5")), "mixed-rewards")


def dense(i: int, scale: float = 1.0, shift: float = 0.0, **changes: Any) -> Episode:
    """Rewards by the distance to a goal: alike at the beginning, better the sooner the goal is reached."""
    e = episode(i)
    distance = np.maximum(0, 1 - np.arange(40) / (20 + 3 * i)) + 0.01 * np.random.default_rng(i).normal(size=40)
    return replace(e, rewards=(scale * (shift - distance)).astype(np.float32), **changes)


MIXED: dict[str, Callable[[int], Episode]] = {
    "scale": lambda i: dense(i, 10.0 if i % 2 else 1.0, success=None if i % 2 else dense(i).success),
    "offset, by source": lambda i: replace(dense(i, shift=i % 2), name=f"demo_{i} of {'a' if i % 2 else 'b'}.hdf5"),
    "attribute": lambda i: dense(i, shift=2.0 * (i % 2), attrs={"seed": i} if i % 2 else {}),
    "sparse and dense": lambda i: dense(i) if i % 2 else episode(i, rewards=(np.arange(40) > 38).astype(np.float32)),
    "bonus and cost": lambda i: episode(i, rewards=(np.arange(40) > 38) - np.float32(i % 2)),
}


@pytest.mark.parametrize("kind", MIXED)
def test_mixtures_of_rewards(kind: str) -> None:
    demos = demos_of(MIXED[kind])
    assert len(findings(demos, "mixed-rewards")) == 1
    assert not findings(demos, "mixed-rewards", Use(reward="success"))


def test_a_sparse_cost_that_some_episodes_never_pay_is_one_formula() -> None:
    """As in Fetch tasks where some episodes begin in success: -1 until success, 0 after it."""
    some = demos_of(lambda i: episode(i, rewards=(np.arange(40) > 20 * (i % 2)).astype(np.float32) - 1))
    never = demos_of(lambda i: episode(i, rewards=-np.ones(40, np.float32) * (i % 2)))
    assert not findings(some, "mixed-rewards")
    assert not findings(never, "mixed-rewards")


def test_episodes_that_end_differently_have_one_formula() -> None:
    """Failing episodes without label beside successful ones, sparse rewards where some never succeed."""
    assert not findings(demos_of(lambda i: dense(i, success=None if i % 2 else dense(i).success)), "mixed-rewards")
    some = demos_of(lambda i: episode(i, rewards=((np.arange(40) > 38) & bool(i % 2)).astype(np.float32)))
    assert not findings(some, "mixed-rewards")


# ---- lengths


def test_chunks_longer_than_every_episode() -> None:
    demos = demos_of(lambda i: episode(i, steps=6 + i % 2))
    (finding,) = findings(demos, "shorter-than-chunks", Use(horizon=16))
    assert "8 of 8 episodes (the longest has 7 steps)" in finding.problem
    assert not findings(demos, "shorter-than-chunks", Use(horizon=6))


def succeeding_at(*steps: int, length: int = 60) -> Demonstrations:
    return demos_of(lambda i: episode(i, steps=length, success=np.arange(length) == steps[i] - 1), len(steps))


def test_demonstrations_slower_than_the_environments_limit() -> None:
    late = succeeding_at(30, 51, 55, 59)
    text = lengths_warning(late, 50, "AdroitHandDoor-v1")
    assert text is not None
    assert "3 of 4 demonstrations first succeed after the 50 steps that AdroitHandDoor-v1 allows" in text
    assert "(at steps 51 to 59)" in text
    assert "--max-episode-steps 100" in text
    assert lengths_warning(succeeding_at(30, 49, 50), 50) is None
    assert lengths_warning(succeeding_at(30, 59), None) is None
    assert lengths_warning(succeeding_at(*[30] * 19, 59), 50) is None  # one of twenty is an exception
    unlabelled = demos_of(lambda i: episode(i, steps=60, success=None))
    assert "8 of 8 demonstrations end after the 50 steps" in (lengths_warning(unlabelled, 50) or "")
    assert lengths_warning(unlabelled, 60) is None
    failing = demos_of(lambda i: episode(i, steps=60, success=np.zeros(60, bool)))
    assert lengths_warning(failing, 50) is None
    play = replace(late, episodes=tuple(replace(e, masks=~e.success) for e in late.episodes))
    assert lengths_warning(play, 50) is None  # where the task is done somewhere in a recording says nothing of a pace


def test_human_doors_are_slower_than_todays_limit(real_file: Callable[[str], Path]) -> None:
    demos = load(real_file("d4rl_door_human_v0/door-v0_demos_clipped.hdf5"))
    (note,) = check_fit(demos, "AdroitHandDoor-v1", ["observation"])
    assert "25 of 25 demonstrations end after the 200 steps" in note
    assert "--max-episode-steps" in note


def joined(i: int) -> Episode:
    """Two recordings in one episode."""
    one, two = episode(100 + i), episode(200 + i)
    if i % 4:
        return one
    obs = {k: np.concatenate([v, two.obs[k] + 2]) for k, v in one.obs.items()}
    rows = {k: np.concatenate([getattr(one, k), getattr(two, k)]) for k in ("actions", "rewards")}
    return replace(one, obs=obs, success=np.arange(80) == 79, **rows)


def test_jumps_inside_an_episode() -> None:
    (finding,) = findings(demos_of(joined), "jump")
    assert "demo_100, step 39" in finding.place
