"""Recordings that go on after the task is done: what of that is learned."""

import dataclasses

import numpy as np
import pytest
import torch

from dtql_robot.config import Config
from dtql_robot.errors import InputError
from dtql_robot.training.after_success import LEAST_HELD, choose_after_success, cut_after_success
from dtql_robot.training.held_out import measured_on
from dtql_robot.training.prepare import prepare, resolve
from dtql_robot.types import Demonstrations, Episode
from tests.algorithm.test_agent import small_config

CPU = torch.device("cpu")


def recording(first: int | None, after: int, name: str = "demo_0", stays: float = 1.0) -> Episode:
    """An episode that succeeds first at step `first` (never if None) and goes on for `after` steps, of which the share
    `stays` succeed too.  Its states and actions count the steps."""
    steps = (first or 0) + 1 + after
    success = np.zeros(steps, bool)
    if first is not None:
        success[first] = True
        success[first + 1 : first + 1 + round(stays * after)] = True
    count = np.arange(steps + 1, dtype=np.float32)
    states = np.stack([count, np.sin(count)], axis=1)
    return Episode(
        name=name,
        obs={"state": states[:-1]},
        final_obs={"state": states[-1]},
        actions=np.sin(states[:-1]),
        rewards=success.astype(np.float32),
        success=success,
        terminated=False,
        truncated=True,
    )


def of(*episodes: Episode, env: str | None = "AdroitHandDoor-v1") -> Demonstrations:
    named = tuple(dataclasses.replace(e, name=f"demo_{i}") for i, e in enumerate(episodes))
    return Demonstrations(source="made.hdf5", format="arrays", episodes=named, env_spec=env)


@pytest.mark.parametrize(
    ("first", "after", "kept"),
    [
        (60, 400, 81),  # 60, the success, a third of 60
        (6, 400, 7 + LEAST_HELD),
        (60, 20, 81),  # no more than a third follows
        (60, 0, 61),
        (0, 400, 401),  # nothing led to it
        (None, 400, 401),
    ],
)
def test_a_third_as_many_steps_as_it_took_are_kept(first, after, kept):
    whole = recording(first, after)
    (cut,) = cut_after_success([whole])
    assert len(cut) == kept
    np.testing.assert_array_equal(cut.actions, whole.actions[:kept])
    left = whole.obs["state"][kept] if kept < len(whole) else whole.final_obs["state"]
    np.testing.assert_array_equal(cut.final_obs["state"], left)


@pytest.mark.parametrize(
    ("episodes", "env", "chosen"),
    [
        ([recording(60, 400)], "AdroitHandDoor-v1", "cut"),
        ([recording(60, 400)], None, "cut"),
        ([recording(60, 400), recording(None, 460)], "metaworld:pick-place-v3", "cut"),
        ([recording(60, 400)], "FetchPush-v4", "all"),  # the goal must be held to the end
        ([recording(60, 400, stays=0.1)], "PointMaze_UMaze-v3", "all"),  # and on it goes to another goal
        ([recording(60, 20)], "AdroitHandDoor-v1", "all"),
        ([recording(60, 22), recording(None, 460)], "AdroitHandDoor-v1", "all"),  # two steps are not worth it
        ([recording(None, 460)], "AdroitHandDoor-v1", "all"),
        ([recording(0, 460)], "AdroitHandDoor-v1", "all"),
        ([dataclasses.replace(recording(60, 400), success=None)], "AdroitHandDoor-v1", "all"),
        ([dataclasses.replace(recording(60, 400), masks=np.ones(461, bool))], "AdroitHandDoor-v1", "all"),
    ],
)
def test_it_is_cut_where_a_success_at_any_step_counts_and_stays(episodes, env, chosen):
    demos = of(*episodes, env=env)
    assert resolve(demos, Config(), env).cfg.data.after_success == chosen


def test_a_choice_is_kept_and_a_resolved_one_decides_the_same_again():
    demos = of(recording(60, 400), recording(60, 400, stays=0.1), env="FetchPush-v4")
    for choice in ("all", "cut"):
        assert choose_after_success(demos, choice, "last") == choice
    cut = resolve(of(recording(60, 400), recording(50, 400)), Config())
    again = resolve(of(recording(60, 400), recording(50, 400)), cut.cfg)
    assert [len(e) for e in again.behaviour.demos.episodes] == [81, 51 + 17]
    assert again.cfg == cut.cfg


def test_networks_scalings_and_what_is_held_out_see_the_cut_recordings_and_the_user_is_told():
    demos = of(*(recording(60, 400) for _ in range(3)))
    found = resolve(demos, small_config())
    cfg, face, buffer, said = prepare(demos, found, CPU)
    assert cfg.data.after_success == "cut"
    assert len(buffer) == 3 * 81
    assert face.obs_norm.invert(np.ones((1, 2), np.float32))[0, 0] < 81  # a standard deviation above the mean
    (sentence,) = [s for s in said if "go on after they succeed" in s]
    assert "3 of 3 recordings" in sentence
    assert "1,140 of 1,383 transitions are left out" in sentence
    held = measured_on(demos, prepare(demos, found, CPU), found, CPU).held
    assert len(held) == 3 * 81


def test_the_sentence_is_left_out_where_the_user_chose():
    demos = of(recording(60, 400))
    for choice in ("all", "cut"):
        cfg = dataclasses.replace(small_config(), data=dataclasses.replace(small_config().data, after_success=choice))
        assert not any("go on after" in s for s in resolve(demos, cfg).decisions)


def test_without_a_success_signal_there_is_nothing_to_cut_at():
    unlabelled = of(dataclasses.replace(recording(60, 400), success=None))
    assert choose_after_success(unlabelled, "auto", "any") == "all"
    with pytest.raises(InputError, match=r"after_success=cut, but made\.hdf5 has no success signal"):
        choose_after_success(unlabelled, "cut", "any")
