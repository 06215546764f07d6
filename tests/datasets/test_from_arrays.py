"""Demonstrations from arrays in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtql_robot import Config, Demonstrations, InputError, evaluate, inspect, load, save_minari, save_robomimic, train
from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.datasets.validation.validate import validate_reading
from tests.helpers.sample_demos import assert_same_episode

RNG = np.random.default_rng(0)


def episode(steps: int = 6, **changes: Any) -> dict[str, Any]:
    obs = {"robot": RNG.normal(size=(steps + 1, 4)), "hand": {"pose": RNG.normal(size=(steps + 1, 3))}}
    fields = {"observations": obs, "actions": RNG.uniform(-1, 1, (steps, 2)), "rewards": np.arange(steps) / 10.0}
    return {k: v for k, v in (fields | changes).items() if v is not ...}


def test_every_array_finds_its_place() -> None:
    given = episode(
        3, success=[0, 0, 1], extras={"force": np.ones((3, 2), np.int16)}, attrs={"who": "Ann"}, name="first"
    )
    demos = Demonstrations.from_arrays([given, episode(5)], env="FetchPush-v4", source="my robot")
    first, second = demos.episodes
    assert (demos.env_spec, demos.source, demos.format, len(demos)) == ("FetchPush-v4", "my robot", "arrays", 2)
    assert demos.obs_shapes == {"robot": (4,), "hand/pose": (3,)}
    np.testing.assert_array_equal(first.obs["robot"], given["observations"]["robot"][:3].astype(np.float32))
    np.testing.assert_array_equal(
        first.final_obs["hand/pose"], given["observations"]["hand"]["pose"][3].astype(np.float32)
    )
    assert first.obs["robot"].dtype == first.actions.dtype == first.rewards.dtype == np.float32
    assert (first.name, first.attrs, first.extras["force"].dtype) == ("first", {"who": "Ann"}, np.int16)
    assert first.success.tolist() == [False, False, True]
    assert (first.terminated, first.truncated) == (True, False)  # it ends in success
    assert (second.name, second.success, second.terminated, second.truncated) == ("episode_1", None, False, True)


def test_one_array_and_nested_lists_do_too() -> None:
    demos = Demonstrations.from_arrays({"observations": [[1, 2], [3, 4]], "actions": [[0.5], [1]]} for _ in range(2))
    assert demos.obs_shapes == {"observation": (2,)}
    assert demos.episodes[0].final_obs is None
    assert demos.episodes[0].attrs == {"rewards_missing": True}
    assert inspect(demos)["return"] is None


def test_images_stay_as_they_are() -> None:
    image = RNG.integers(0, 255, (7, 16, 16, 3)).astype(np.uint8)
    demos = Demonstrations.from_arrays([episode(6, observations={"front_image": image, "x": np.ones(7)})])
    assert np.shares_memory(demos.episodes[0].obs["front_image"], image)
    assert demos.obs_shapes == {"front_image": (16, 16, 3), "x": (1,)}


def test_next_observations_give_the_last_one() -> None:
    rows = RNG.normal(size=(7, 3)).astype(np.float32)
    demos = Demonstrations.from_arrays([episode(observations=rows[:6], next_observations=rows[1:])])
    np.testing.assert_array_equal(demos.episodes[0].final_obs["observation"], rows[6])


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        ({}, (False, True)),
        ({"success": True}, (True, False)),
        ({"success": True, "terminated": False}, (False, True)),
        ({"terminated": [0, 0, 0, 0, 0, 1]}, (True, False)),
        ({"masks": [1, 1, 1, 1, 1, 0]}, (True, False)),
        ({"masks": np.ones(6), "success": True}, (False, True)),
        ({"masks": [1, 1, 0, 1, 1, 1]}, (False, True)),
        ({"masks": [1, 1, 0, 1, 1, 0]}, (True, False)),
        ({"terminated": True, "truncated": True}, (True, True)),
    ],
)
def test_how_an_episode_ends(said: dict[str, Any], ends: tuple[bool, bool]) -> None:
    found = Demonstrations.from_arrays([episode(**said)]).episodes[0]
    assert (found.terminated, found.truncated) == ends


@pytest.mark.parametrize(
    ("said", "masks"),
    [
        ([1, 0, 0, 1, 1, 0], [True, False, False, True, True, False]),
        (np.array([[1.0], [1], [0], [1], [1], [1]]), [True, True, False, True, True, True]),
        ([True] * 6, None),
        ([1, 1, 1, 1, 1, 0], None),  # which `terminated` says
        (0, None),
    ],
)
def test_masks_inside_a_recording(said: Any, masks: list[bool] | None) -> None:
    found = Demonstrations.from_arrays([episode(masks=said)]).episodes[0].masks
    assert (None if found is None else found.tolist()) == masks


NAN = np.zeros((6, 2))
NAN[4, 1] = np.nan
ROWS = np.arange(21.0).reshape(7, 3)
CIRCLE: dict[str, Any] = {}
CIRCLE["a"] = CIRCLE


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"actions": ...}, r"episode_1: there are no 'actions' \(only observations, rewards\)"),
        ({"actions": NAN}, r"episode_1: 'actions' is nan at \[4, 1\], which is not a finite float32, in arrays"),
        ({"actions": np.ones(6)}, r"episode_1: 'actions' has shape \(6,\)"),
        ({"actions": np.ones((6, 2), int) * 3}, "categories or switches"),
        ({"actions": np.ones((6, 3))}, "actions have 3 dims, those of episode_0 2"),
        ({"actions": [["a"]] * 6}, "'actions' has dtype <U1; expected numbers"),
        ({"actions": [[1], [1, 2]]}, "'actions' is not an array of one shape"),
        ({"rewards": np.ones(5)}, "'actions' has 6 rows, 'rewards' has 5"),
        ({"observations": np.ones((8, 3))}, r"'actions' has 6 rows and observations have 'observation' 8"),
        ({"observations": {"a": np.ones((6, 3)), "b": np.ones((7, 3))}}, "'a' 6, 'b' 7.*All must have 6, or all 7"),
        ({"observations": {}}, "'observations' is empty"),
        ({"observations": {"a/b": ROWS, "a": {"b": ROWS}}}, "'observations' has 'a/b' twice"),
        ({"observations": CIRCLE}, "'observations' has mappings 8 deep or contains itself"),
        ({"rewards": np.ma.masked_equal(np.arange(6.0), 3)}, "'rewards' has masked entries"),
        ({"observations": {3: ROWS}}, "has the key 3; expected text"),
        ({"observations": {"robot": ROWS}}, "observations are .*, those of episode_0"),
        ({"observations": ROWS[:6], "next_observations": ROWS[:6]}, "at step 0 is not the observation of step 1"),
        ({"observations": ROWS, "next_observations": ROWS[1:] + np.eye(6, 3, -5)}, "at step 5 is not the observation"),
        ({"next_observations": {"robot": np.ones((6, 4))}}, "Both need one row per step"),
        ({"success": [0, 0, 2, 0, 0, 0]}, "'success' has values other than true and false"),
        ({"success": [0, 1]}, "'actions' has 6 rows, 'success' has 2"),
        ({"terminated": [0, 0, 1, 0, 0, 0]}, "'terminated' is set at step 2, before the last"),
        ({"masks": [1, 1, 2, 1, 1, 1]}, "'masks' is 2 at step 2; expected 1 .* or 0 .*"),
        ({"masks": [1, 1, 0, 1, 1]}, "'actions' has 6 rows, 'masks' has 5"),
        ({"masks": [np.nan] * 6}, "'masks' is nan at"),
        ({"masks": [1, 1, 1, 1, 1, 0], "terminated": False}, "'masks' and 'terminated' disagree"),
        ({"reward": np.ones(6)}, "there is no key 'reward'.*Did you mean rewards"),
        ({"extras": {"force": np.ones(7)}}, "'actions' has 6 rows, 'force' has 7"),
        ({"extras": {"note": ["a"] * 6}}, "'note' of 'extras' is <U1"),
        ({"attrs": {"when": object()}}, "'attrs' cannot be written as JSON"),
    ],
)
def test_a_bad_episode_is_named_with_its_key(bad: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as error:
        Demonstrations.from_arrays([episode(), episode(**bad)])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bad", [{"observations": ROWS, "actions": ROWS}, "episodes", 3, [], [1]])
def test_what_are_no_episodes(bad: Any) -> None:
    with pytest.raises(InputError, match=r"one mapping per episode|contains no episodes|expected a mapping"):
        Demonstrations.from_arrays(bad)


def test_an_environment_is_a_name() -> None:
    with pytest.raises(InputError, match="expected its name"):
        Demonstrations.from_arrays([episode()], env=3)  # type: ignore[arg-type]


def test_digits_that_float32_loses_are_said() -> None:
    far = np.full((7, 1), 1e7) + np.linspace(0, 0.1, 7)[:, None]
    with pytest.warns(UserWarning, match="changes by too little for float32"):
        Demonstrations.from_arrays([episode(observations=far)])


def test_written_and_read_again(tmp_path: Path) -> None:
    demos = Demonstrations.from_arrays(
        [episode(success=True, extras={"force": np.ones(6)}, attrs={"who": "Ann"}), episode(4, success=False)],
        env="FetchPush-v4",
    )
    for found in (load(save_robomimic(demos, tmp_path / "a.hdf5")), load(save_minari(demos, tmp_path / "a-v0"))):
        assert found.env_spec == "FetchPush-v4"
        for before, after in zip(demos.episodes, found.episodes, strict=True):
            assert_same_episode(before, after)


@pytest.mark.slow
def test_train_and_evaluate(tmp_path: Path) -> None:
    """Fetch's own observations, as an own recorder would keep them."""
    from dtql_robot import make_env

    env = make_env("FetchReach-v4")
    episodes = []
    for seed in range(3):
        rows, actions = [env.reset(seed=seed)[0]], RNG.uniform(-1, 1, (12, 4)).astype(np.float32)
        for action in actions:
            rows.append(env.step(action)[0])
        episodes.append(
            {"observations": {k: [row[k] for row in rows] for k in rows[0]}, "actions": actions, "success": False}
        )
    env.close()
    demos = Demonstrations.from_arrays(episodes, env="FetchReach-v4")
    assert not [f for f in validate_reading(Reading(demos)).findings if f.severity == "error"]
    cfg = Config(steps=4, device="cpu")
    cfg = replace(cfg, optim=replace(cfg.optim, batch_size=8))
    run = train(demos, tmp_path / "run", cfg, progress=False)
    assert len(evaluate(run, episodes=2, max_episode_steps=3, num_envs=1).per_episode) == 2
