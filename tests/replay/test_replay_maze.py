"""Mazes and kitchens: success from the recorded goals, and playback from recorded states."""

import numpy as np
import pytest

from dtql_robot import paper
from dtql_robot.datasets import inspect, load
from dtql_robot.env_record import choose_env
from dtql_robot.envs import make_env
from dtql_robot.replay.playback import play_back
from dtql_robot.replay.players import make_player
from dtql_robot.types import Demonstrations
from tests.helpers.d4rl_files import d4rl_arrays, write_d4rl

pytestmark = pytest.mark.simulator
SPEC = "d4rl:antmaze-umaze-v2"


def thrown_at_the_goal():
    """A recording in which the ant starts a metre from its goal, flies through it, and goes on as D4RL's files do."""
    env = make_env(SPEC)
    env.reset(seed=5)
    sim, rows = env.unwrapped, {}
    goal = sim.goal.copy()
    qpos, qvel = sim.data.qpos.copy(), np.zeros(14)
    qpos[:3] = (*(goal - (1.5, 0)), 0.8)
    qvel[0] = 5.0
    sim.set_state(qpos, qvel)
    obs = sim._get_obs()
    for t in range(5):
        found = {
            "observations": obs,
            "actions": np.zeros(8),
            "infos/goal": goal,
            "infos/qpos": sim.data.qpos.copy(),
            "infos/qvel": sim.data.qvel.copy(),
        }
        obs, reward, *_ = sim.step(np.zeros(8))
        found |= {"rewards": reward, "terminals": False, "timeouts": t == 4}
        for key, value in found.items():
            rows.setdefault(key, []).append(value)
    env.close()
    arrays = {k: np.asarray(v) for k, v in rows.items()}
    return {k: v.astype(np.float32) if v.dtype == float else v for k, v in arrays.items()}


def test_success_is_read_from_the_goals_and_played_back(tmp_path):
    arrays = thrown_at_the_goal()
    assert 0 < arrays["rewards"].sum() < 5
    path = write_d4rl(tmp_path / "antmaze.hdf5", arrays)
    (episode,) = load(path).episodes
    np.testing.assert_array_equal(episode.success, arrays["rewards"] > 0)
    assert any("success is read from the recorded goals" in note for note in inspect(path)["notes"])
    (played,) = play_back(load(path), env=SPEC, progress=False).episodes
    assert (played.success, played.recorded) == (True, True)
    elsewhere = dict(arrays, **{"infos/goal": arrays["infos/goal"] + 3})
    (episode,) = load(write_d4rl(tmp_path / "other.hdf5", elsewhere)).episodes
    assert episode.success[:-1].sum() == 0
    assert play_back(load(tmp_path / "other.hdf5"), env=SPEC, progress=False).episodes[0].success is False


def test_what_follows_decides_at_the_last_step_where_it_is_recorded(tmp_path):
    arrays = thrown_at_the_goal()
    following = np.concatenate([arrays["observations"][1:], arrays["observations"][-1:]])
    following[-1, :2] = arrays["infos/goal"][-1]
    path = write_d4rl(tmp_path / "f.hdf5", {**arrays, "next_observations": following})
    assert load(path).episodes[0].success[-1]


def test_random_files_fail_and_others_are_left_alone(tmp_path):
    arrays = d4rl_arrays(paper.row_of("antmaze-umaze-v2"), 2, 5)
    demos = load(write_d4rl(tmp_path / "f.hdf5", arrays))
    assert [e.succeeds for e in demos.episodes] == [False, False]
    del arrays["infos/goal"]
    assert load(write_d4rl(tmp_path / "g.hdf5", arrays)).episodes[0].success is None
    told = {**arrays, "infos/goal": np.zeros((10, 2)), "infos/success": np.ones(10)}
    assert load(write_d4rl(tmp_path / "h.hdf5", told)).episodes[0].success.all()


@pytest.mark.parametrize(
    "env_id", ["d4rl:kitchen-mixed-v0", "FrankaKitchen-v1", "AntMaze_UMaze-v5", "PointMaze_UMaze-v3"]
)
def test_simulators_inside_an_environment_are_put_to_the_recorded_state(env_id):
    """The recorded actions, from a recorded state in the middle of an episode, lead to the recorded end."""
    env = make_env(env_id)
    env.reset(seed=3)
    env.action_space.seed(0)
    sim, states, actions = env.unwrapped, [], []
    for _ in range(8):
        states.append((sim.data.qpos.copy(), sim.data.qvel.copy()))
        actions.append(env.action_space.sample())
        env.step(actions[-1])
    last = sim.data.qpos.copy()
    env.close()
    extras = {f"infos/{k}": np.array([s[i] for s in states[4:]]) for i, k in enumerate(("qpos", "qvel"))}
    arrays = {"observations": np.zeros((4, 1)), "actions": np.array(actions[4:]), "extras": extras}
    demos = Demonstrations.from_arrays([arrays], env=env_id)
    player = make_player(demos, choose_env(env_id, None, {}))
    player.start(demos.episodes[0])
    np.testing.assert_allclose(player.simulation()[1].qpos, states[4][0], atol=1e-7)
    for action in demos.episodes[0].actions:
        player.step(action)
    within = 0.02 if "itchen" in env_id else 1e-3  # sensor noise goes into the kitchen's control
    np.testing.assert_allclose(player.simulation()[1].qpos, last, atol=within)
    player.close()
