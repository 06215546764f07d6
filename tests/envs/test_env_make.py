import subprocess
import sys

import numpy as np
import pytest

from dtql_robot.envs import env_info, make_env
from dtql_robot.errors import InputError


@pytest.mark.slow
def test_importing_the_packages_is_cheap():
    code = (
        "import sys, dtql_robot.envs, dtql_robot.eval\n"
        "heavy = {'mujoco', 'gymnasium', 'gymnasium_robotics', 'matplotlib', 'torch', 'imageio', 'PIL', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


@pytest.fixture(scope="module")
def pick():
    env = make_env("FetchPickAndPlace-v4")
    yield env
    env.close()


def test_fetch_gives_flat_float32_observations_and_success_after_every_step(pick):
    obs, _ = pick.reset(seed=3)
    assert {k: v.shape for k, v in obs.items()} == {
        "observation": (25,),
        "achieved_goal": (3,),
        "desired_goal": (3,),
    }
    assert pick.observation_space.contains(obs)
    for step in range(50):
        obs, reward, terminated, truncated, info = pick.step(np.zeros(4))
        assert all(v.dtype == np.float32 for v in obs.values())
        assert isinstance(info["success"], bool)
        assert info["success"] == (reward == 0.0)
        assert not terminated
        assert truncated == (step == 49)


def test_actions_are_clipped_to_the_action_space(pick):
    outcomes = []
    for scale in (1.0, 100.0):
        pick.reset(seed=5)
        outcomes.append(pick.step(scale * np.array([1.0, -1.0, 1.0, 1.0]))[0]["observation"])
    assert np.array_equal(*outcomes)


@pytest.mark.parametrize("spec", ["FetchPickAndPlace-v4", "AdroitHandDoor-v1"])
def test_an_episode_depends_on_its_seed_alone(spec):
    """Bit for bit, whatever was played in the environment before."""
    env = make_env(spec)
    traces = []
    for seed in (1, 2, 1):
        rng = np.random.default_rng(0)
        obs, _ = env.reset(seed=seed)
        trace = [obs["observation"]]
        for _ in range(15):
            trace.append(env.step(rng.uniform(-1, 1, env.action_space.shape))[0]["observation"])
        traces.append(np.stack(trace))
    env.close()
    assert np.array_equal(traces[0], traces[2])
    assert not np.array_equal(traces[0], traces[1])


def test_observations_that_are_arrays_get_the_key_observation():
    info = env_info("AdroitHandDoor-v1")
    assert info.obs_shapes == {"observation": (39,)}
    assert (info.horizon, info.success_rule, info.action_dim, info.fps) == (200, "any", 28, 100)


def test_fetch_is_judged_by_its_last_step():
    info = env_info("FetchReach-v4")
    assert (info.spec, info.horizon, info.success_rule, info.action_dim) == ("FetchReach-v4", 50, "last", 4)


def test_kitchen_flattens_nested_goals_and_succeeds_when_every_task_is_done():
    env = make_env("FrankaKitchen-v1", env_args={"tasks_to_complete": ["kettle", "microwave"]})
    obs, _ = env.reset(seed=0)
    assert obs["desired_goal/kettle"].shape == (7,)
    assert env.get_wrapper_attr("facts").horizon == 280
    kitchen = env.unwrapped
    assert env.step(np.zeros(9))[4]["success"] is False
    kitchen.episode_task_completions.append("kettle")
    assert env.step(np.zeros(9))[4]["success"] is False
    kitchen.episode_task_completions.append("microwave")
    *_, terminated, _, info = env.step(np.zeros(9))
    assert (info["success"], terminated) == (True, True)
    env.close()


@pytest.mark.parametrize(
    ("env_args", "horizon"),
    [
        ({"env_name": "FetchReach-v4", "type": 2, "env_kwargs": {"reward_type": "dense"}}, 50),
        ({"id": "FetchReach-v4", "entry_point": "x:y", "max_episode_steps": 7, "kwargs": {"reward_type": "dense"}}, 7),
        ({"reward_type": "dense", "max_episode_steps": 9, "render_mode": "human"}, 9),
    ],
    ids=["robomimic", "minari", "plain"],
)
def test_recorded_arguments_of_an_environment_are_used(env_args, horizon):
    env = make_env("FetchReach-v4", env_args=env_args)
    assert env.unwrapped.reward_type == "dense"
    assert env.get_wrapper_attr("facts").horizon == horizon
    env.close()


def test_the_callers_time_limit_wins():
    env = make_env("FetchReach-v4", max_episode_steps=3, env_args={"max_episode_steps": 9})
    env.reset(seed=0)
    assert [env.step(np.zeros(4))[3] for _ in range(3)] == [False, False, True]
    env.close()


@pytest.mark.parametrize(
    ("spec", "kwargs", "sentence"),
    [
        ("FetchPush-v2", {}, r"'FetchPush-v2' is not known .* Did you mean FetchPush-v4\?"),
        ("FetchPush-v1", {}, r"Did you mean FetchPush-v4\?"),
        ("FetchPickPlace-v4", {}, r"Did you mean FetchPickAndPlace-v4"),
        ("Qwertzuiop", {}, r"One that exists is FetchPickAndPlace-v4"),
        ("no_such_package:Foo-v0", {}, r"`pip install no_such_package`"),
        ("CartPole-v1", {}, r"expected continuous actions .* found Discrete\(2\)"),
        ("", {}, r"Expected an environment id"),
        ("FetchReach-v4", {"max_episode_steps": 0}, r"at least 1, found 0"),
        ("FetchReach-v4", {"env_args": {"wings": 2}}, r"cannot be made with arguments .*wings"),
    ],
)
def test_what_the_user_got_wrong_is_said_in_a_sentence(spec, kwargs, sentence):
    with pytest.raises(InputError, match=sentence):
        make_env(spec, **kwargs)
