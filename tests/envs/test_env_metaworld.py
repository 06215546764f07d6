"""Meta-World in its real simulator.  Skipped where the package is not installed."""

import numpy as np
import pytest

from dtql_robot.envs import make_env
from dtql_robot.envs.collection.collect import collect
from dtql_robot.envs.rendering.camera import check_frame
from dtql_robot.errors import InputError

pytest.importorskip("metaworld", reason="metaworld is not installed (pip install 'dtql-robot[metaworld]')")

TASK = "metaworld:pick-place-v3"


def trace(env, seed):
    rng = np.random.default_rng(0)
    rows = [env.reset(seed=seed)[0]["observation"]]
    for _ in range(20):
        rows.append(env.step(rng.uniform(-1, 1, 4))[0]["observation"])
    return np.stack(rows)


@pytest.mark.parametrize("task", [TASK, "metaworld:hammer-v3"])
def test_an_episode_depends_on_its_seed_alone(task):
    env, fresh = make_env(task), make_env(task)
    first, other, again = (trace(env, seed) for seed in (5, 6, 5))
    assert np.array_equal(first, again)
    assert np.array_equal(first, trace(fresh, 5))
    assert not np.array_equal(first, other)
    env.close()
    fresh.close()


@pytest.mark.slow
def test_the_goal_is_observed_and_an_episode_is_never_stepped_past_its_end():
    env = make_env(TASK)
    facts = env.get_wrapper_attr("facts")
    assert (facts.horizon, facts.success_rule, facts.action_dim, facts.fps) == (500, "any", 4, 80)
    obs, _ = env.reset(seed=3)
    assert env.observation_space.contains(obs)
    assert np.allclose(obs["observation"][-3:], env.unwrapped.sim_env._target_pos)
    ended = [env.step(np.zeros(4))[3] for _ in range(500)]
    assert ended == [False] * 499 + [True]
    env.close()


@pytest.mark.slow
def test_its_own_scripted_policy_collects():
    demos = collect(TASK, 2, seed=1, noise=0.1, workers=1, progress=False)
    assert all(e.success.any() for e in demos.episodes)
    assert demos.env_spec == demos.env_args["env_name"] == TASK


@pytest.mark.gl
def test_frames_show_something_that_moves():
    env = make_env(TASK, render=True, width=128, height=96)
    env.reset(seed=0)
    first = env.render()
    for _ in range(25):
        env.step(np.ones(4))
    second = env.render()
    env.close()
    for frame in (first, second):
        check_frame(frame)
    assert (np.abs(first.astype(int) - second).max(axis=2) > 30).mean() > 0.005


@pytest.mark.parametrize(
    ("spec", "kwargs", "sentence"),
    [
        ("metaworld:pick-plce-v3", {}, r"no task 'pick-plce-v3'. Did you mean metaworld:pick-place-v3\?"),
        (TASK, {"max_episode_steps": 501}, r"at most 500 steps"),
        (TASK, {"env_args": {"wings": 2}}, r"takes no arguments"),
        (TASK, {"camera": "ceiling"}, r"no camera 'ceiling'"),
    ],
)
def test_what_the_user_got_wrong_is_said_in_a_sentence(spec, kwargs, sentence):
    with pytest.raises(InputError, match=sentence):
        make_env(spec, **kwargs)
