"""What a Minari dataset records of its actions and of the environment for evaluation, written by minari itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer

from dtql_robot.datasets import inspect, load, save_minari, save_robomimic
from dtql_robot.env_record import EVAL_SPEC, choose_env
from dtql_robot.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
BOX = spaces.Box(-1, 1, (2,), np.float32)
T = 8


@pytest.fixture(autouse=True)
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


def create(name: str, action_space: Any = BOX, **options: Any) -> str:
    rng = np.random.default_rng(0)
    flags = np.zeros(T, bool)
    action_space.seed(0)
    sampled = [action_space.sample() for _ in range(T)]
    if isinstance(action_space, spaces.Dict):
        actions: Any = {k: np.stack([s[k] for s in sampled]) for k in action_space}
    elif isinstance(action_space, spaces.Tuple):
        actions = tuple(np.stack([s[i] for s in sampled]) for i in range(len(action_space)))
    else:
        actions = np.stack(sampled)
    episodes = [
        EpisodeBuffer(
            id=i,
            observations=rng.normal(size=(T + 1, 3)),
            actions=actions,
            rewards=np.zeros(T),
            terminations=flags,
            truncations=np.eye(T, dtype=bool)[-1],
            infos={},
        )
        for i in range(2)
    ]
    minari.create_dataset_from_buffers(
        name, episodes, action_space=action_space, observation_space=spaces.Box(-9, 9, (3,), np.float64), **options
    )
    return f"minari:{name}"


SPACES = {
    "Discrete": spaces.Discrete(5),
    "MultiDiscrete": spaces.MultiDiscrete([5, 3]),
    "MultiBinary": spaces.MultiBinary(4),
    "Box of whole numbers": spaces.Box(0, 10, (2,), np.int64),
    "whole numbers .uint8": spaces.Box(0, 255, (2,), np.uint8),
    "Dict": spaces.Dict({"a": BOX, "b": BOX}),
    "Tuple": spaces.Tuple((BOX, BOX)),
}


@pytest.mark.parametrize("kind", SPACES)
def test_actions_that_are_not_continuous_are_refused(kind: str) -> None:
    data = create("made/actions-v0", SPACES[kind])
    with pytest.raises(InputError, match=rf"records the action space .*{kind}.*; only continuous actions"):
        load(data)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_boxes_of_floats_are_read(dtype: Any) -> None:
    assert load(create("made/floats-v0", spaces.Box(-1, 1, (2,), dtype))).action_dim == 2


def pendulum(**changes: Any) -> Any:
    spec = gym.spec("Pendulum-v1")
    spec.kwargs = {"g": 9.0}
    spec.max_episode_steps = 1_000_000
    for key, value in changes.items():
        setattr(spec, key, value)
    return gym.make(spec)


def test_the_environment_of_evaluation_is_read_and_told(tmp_path: Path) -> None:
    data = create("made/judged-v0", env=pendulum(), eval_env=pendulum(kwargs={"g": 5.0}, max_episode_steps=300))
    demos = load(data)
    assert demos.env_spec == "Pendulum-v1"
    assert (demos.env_args["max_episode_steps"], demos.env_args["kwargs"]) == (1_000_000, {"g": 9.0})
    judged = demos.env_args[EVAL_SPEC]
    assert (judged["id"], judged["max_episode_steps"], judged["kwargs"]["g"]) == ("Pendulum-v1", 300, 5.0)
    note = next(n for n in inspect(data)["notes"] if "eval_env_spec" in n)
    assert "Pendulum-v1 (g=5.0, max_episode_steps=300)" in note
    assert choose_env(None, demos.env_spec, demos.env_args).env_args == judged
    assert "max_episode_steps" in choose_env(None, demos.env_spec, demos.env_args, evaluation=False).env_args
    again = load(save_minari(demos, tmp_path / "copy-v0"))
    assert again.env_args == demos.env_args
    metadata = json.loads((tmp_path / "copy-v0/data/metadata.json").read_text())
    assert json.loads(metadata["eval_env_spec"])["max_episode_steps"] == 300
    assert json.loads(metadata["env_spec"])["max_episode_steps"] == 1_000_000
    robomimic = load(save_robomimic(demos, tmp_path / "f.hdf5"))
    assert robomimic.env_args[EVAL_SPEC] == judged


def test_the_same_environment_twice_is_no_news() -> None:
    data = create("made/same-v0", env=pendulum(), eval_env=pendulum())
    assert EVAL_SPEC not in load(data).env_args


def test_a_broken_record_is_an_error(tmp_path: Path) -> None:
    data = create("made/broken-v0", env=pendulum())
    path = tmp_path / "made/broken-v0/data/metadata.json"
    record = json.loads(path.read_text())
    for key in ("eval_env_spec", "action_space"):
        path.write_text(json.dumps(record | {key: "{"}))
        with pytest.raises(InputError, match=f"'{key}' of main_data.hdf5 is not JSON"):
            load(data)
