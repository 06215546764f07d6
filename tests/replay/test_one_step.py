"""Which version of a locomotion environment a file is closest to, told by one step from each recorded state."""

from dataclasses import replace

import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load
from dtql_robot.envs import make_env
from dtql_robot.replay.one_step import closest, predictions, sentences
from dtql_robot.types import Demonstrations
from tests.helpers.d4rl_files import write_d4rl

pytestmark = pytest.mark.simulator


def recorded(env_id, path, *, states=True, episodes=4, steps=60):
    """A file in D4RL's layout, of random actions."""
    env = make_env(env_id, max_episode_steps=steps)
    env.action_space.seed(0)
    rows = {}
    for seed in range(episodes):
        obs, _ = env.reset(seed=seed)
        ended = False
        while not ended:
            action, data = env.action_space.sample(), env.unwrapped.data
            state = {"infos/qpos": data.qpos.copy(), "infos/qvel": data.qvel.copy()} if states else {}
            after, reward, terminated, truncated, _ = env.step(action)
            found = {
                "observations": obs["observation"],
                "next_observations": after["observation"],
                "actions": action,
                "rewards": reward,
                "terminals": terminated,
                "timeouts": truncated and not terminated,
            }
            for key, value in {**found, **state}.items():
                rows.setdefault(key, []).append(value)
            obs, ended = after, terminated or truncated
    env.close()
    arrays = {k: np.asarray(v) for k, v in rows.items()}
    return write_d4rl(path, {k: v.astype(np.float32) if v.dtype == float else v for k, v in arrays.items()})


@pytest.mark.parametrize("env_id", ["HalfCheetah-v4", "Hopper-v5", "Walker2d-v4", "Walker2d-v5"])
@pytest.mark.parametrize("states", [True, False])
def test_the_version_of_the_recording_is_found(env_id, states, tmp_path):
    demos = load(recorded(env_id, tmp_path / "f.hdf5", states=states))
    found = predictions(demos, env_id)
    assert [p.env[-2:] for p in found] == ["v4", "v5"]
    own = next(p for p in found if p.env == env_id)
    assert own.change < 1e-3
    assert own.reward < 1e-3
    assert own.ends == 1
    assert closest(found, env_id) is own
    note, doubt = sentences(found, env_id)
    assert f"one step from {own.steps} recorded states: " in note
    assert doubt is None
    other = next(p.env for p in found if p.env != env_id)
    same = env_id.startswith("HalfCheetah")  # whose versions predict the same
    assert note.endswith("They predict it alike." if same else f"{env_id} is closest.")
    assert (sentences(found, other)[1] is None) == same


def test_validate_tells_and_warns_of_another_version(tmp_path, capsys):
    data = recorded("Walker2d-v5", tmp_path / "walker2d_random-v2.hdf5")
    assert main(["validate", str(data), "--env", "Walker2d-v4"]) == 0
    said = capsys.readouterr().out
    assert "Walker2d-v5 is closest." in said
    assert "Walker2d-v5 is closer to the recording than Walker2d-v4; choose it with --env Walker2d-v5." in said
    assert main(["validate", str(data), "--env", "Walker2d-v5"]) == 0
    assert "is closer to the recording" not in capsys.readouterr().out


def test_what_no_version_predicts_is_told(tmp_path):
    demos = load(recorded("Hopper-v4", tmp_path / "f.hdf5"))
    shuffled = [replace(e, actions=e.actions[::-1].copy()) for e in demos.episodes]
    found = predictions(replace(demos, episodes=tuple(shuffled)), "Hopper-v4")
    assert "no version of Hopper-v4 predicts the recorded steps" in sentences(found, "Hopper-v4")[1]


def test_where_nothing_can_be_said(tmp_path):
    demos = load(recorded("Hopper-v4", tmp_path / "f.hdf5", states=False, episodes=2, steps=10))
    assert predictions(demos, "FetchPush-v4") == predictions(demos, None) == ()
    assert sentences((), "Hopper-v4") == (None, None)
    fast = [replace(e, obs={"observation": np.full_like(e.obs["observation"], 10.0)}) for e in demos.episodes]
    assert predictions(replace(demos, episodes=tuple(fast)), "Hopper-v4") == ()
    one = {"observations": np.zeros((1, 11)), "actions": np.zeros((1, 3))}
    assert predictions(Demonstrations.from_arrays([one]), "Hopper-v4") == ()
