"""OGBench's environments.  Skipped where the package is not installed."""

import numpy as np
import pytest

from dtql_robot.envs import env_info, make_env
from dtql_robot.envs.rendering.camera import check_frame
from dtql_robot.errors import InputError

pytest.importorskip("ogbench", reason="ogbench is not installed (pip install 'dtql-robot[ogbench]')")


def trace(env, seed):
    rng = np.random.default_rng(0)
    rows = [env.reset(seed=seed)[0]]
    for _ in range(10):
        rows.append(env.step(rng.uniform(-1, 1, env.action_space.shape))[0])
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


@pytest.mark.slow
@pytest.mark.parametrize("task", ["cube-single-v0", "antmaze-medium-v0"])
def test_an_episode_and_its_goal_depend_on_the_seed_alone(task):
    env = make_env(f"ogbench:{task}")
    first, other, again = (trace(env, seed) for seed in (5, 6, 5))
    for key in ("observation", "goal"):
        assert np.array_equal(first[key], again[key])
        assert not np.array_equal(first[key], other[key])
    assert env.step(np.zeros(env.action_space.shape))[4]["success"] is False
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "horizon", "keys"),
    [
        ("cube-single-v0", 200, {"observation", "goal"}),
        ("cube-single-play-singletask-v0", 200, {"observation"}),
        ("scene-play-v0", 750, {"observation", "goal"}),
    ],
)
def test_data_sets_name_their_environment(task, horizon, keys):
    info = env_info(f"ogbench:{task}")
    assert (info.horizon, info.action_dim, info.fps, set(info.obs_shapes)) == (horizon, 5, 20, keys)


@pytest.mark.slow
def test_a_solved_scene_is_a_success():
    """The cube put where its goal is."""
    env = make_env("ogbench:cube-single-v0")
    env.reset(seed=0)
    sim = env.unwrapped
    sim._data.joint("object_joint_0").qpos[:3] = sim._data.mocap_pos[sim._cube_target_mocap_ids[0]]
    assert env.step(np.zeros(5))[4]["success"] is True
    env.close()


@pytest.mark.slow
@pytest.mark.gl
def test_frames_are_pictures():
    env = make_env("ogbench:cube-single-v0", render=True, width=128, height=96)
    for seed in range(2):
        env.reset(seed=seed)
        check_frame(env.render())
    env.close()


@pytest.mark.filterwarnings("error")
def test_an_environment_is_made_without_a_warning():
    """Gymnasium's, about the precision of the arm's own bounds, say nothing to whoever trains."""
    make_env("ogbench:cube-single-v0").close()


def test_an_unknown_task_is_said_in_a_sentence():
    with pytest.raises(InputError, match=r"no environment 'cube-singel-v0'. Did you mean .*ogbench:cube-single-v0"):
        make_env("ogbench:cube-singel-v0")


@pytest.mark.slow
def test_a_single_task_succeeds_where_ogbench_says_so():
    """A step that begins where the task is done succeeds and ends the episode, as `info["success"]` says it."""
    import gymnasium

    ours = make_env("ogbench:cube-single-play-singletask-task2-v0")
    theirs = gymnasium.make("cube-single-singletask-task2-v0", disable_env_checker=True)
    assert ours.get_wrapper_attr("facts").success_rule == "any"
    still = np.zeros(5, np.float32)
    found = []
    for env in (ours, theirs):
        env.reset(seed=1)
        sim = env.unwrapped
        qpos = sim.data.qpos.copy()
        qpos[14:17] = sim.data.mocap_pos[0]
        sim.set_state(qpos, 0 * sim.data.qvel)
        steps = [env.step(still) for _ in range(2)]
        found.append([(bool(info["success"]), bool(ended), float(r)) for _, r, ended, _, info in steps])
        env.close()
    assert found[0] == found[1]
    assert [step[:2] for step in found[0]] == [(False, False), (True, True)]
