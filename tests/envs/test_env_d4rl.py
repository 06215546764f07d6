"""D4RL's mazes and kitchens: what differs from Gymnasium's is as D4RL has it."""

import mujoco
import numpy as np
import pytest
from gymnasium_robotics.envs.maze.maps import LARGE_MAZE, MEDIUM_MAZE, U_MAZE

from dtql_robot.env_record import choose_env, d4rl_task, same_environment
from dtql_robot.envs import make_env
from dtql_robot.envs.families.d4rl_maze import MAZES, cell_centre
from dtql_robot.errors import InputError
from dtql_robot.eval.reference_returns import find_reference

pytestmark = pytest.mark.simulator


@pytest.mark.parametrize(("maze", "walls"), [("umaze", U_MAZE), ("medium", MEDIUM_MAZE), ("large", LARGE_MAZE)])
def test_walls_are_those_that_gymnasium_took_over(maze, walls):
    assert [[int(cell == "#") for cell in row] for row in MAZES[maze]] == [
        [int(cell == 1) for cell in r] for r in walls
    ]


def test_goals_are_where_d4rl_has_them():
    """In metres from the start: D4RL's cells (3, 1), (6, 6) and (7, 9), counted from 0, and its start (1, 1)."""
    assert [tuple(cell_centre(m, "G")) for m in MAZES] == [(0.0, 8.0), (20.0, 20.0), (32.0, 24.0)]
    env = make_env("d4rl:antmaze-umaze-v2")
    goals = []
    for seed in range(30):
        obs, _ = env.reset(seed=seed)
        goals.append(env.unwrapped.goal - (0, 8))
        shown = env.unwrapped.data.site("target").xpos[:2]
        assert np.array_equal(shown, env.unwrapped.goal)
        assert np.abs(obs["observation"][:2]).max() <= 0.1
    env.close()
    assert np.min(goals) >= 0
    assert 1.0 < np.max(goals) <= 1.5


def test_an_observation_is_the_whole_state():
    env = make_env("d4rl:antmaze-medium-diverse-v2")
    env.reset(seed=3)
    obs = env.step(np.ones(8))[0]["observation"]
    data = env.unwrapped.data
    np.testing.assert_array_equal(obs, np.concatenate([data.qpos, data.qvel]).astype(np.float32))
    assert obs.shape == (29,)
    env.unwrapped.set_state(np.arange(15.0), np.arange(14.0))
    np.testing.assert_array_equal(data.qpos[:3], [0, 1, 2])
    env.close()


def test_the_ant_is_d4rls():
    env = make_env("d4rl:antmaze-umaze-v2")
    env.reset(seed=0)
    model = env.unwrapped.model
    assert env.unwrapped.dt == pytest.approx(0.1)
    assert np.array_equal(model.actuator_gear[:, 0] * model.actuator_ctrlrange[:, 1], np.full(8, 30.0))
    ant = model.geom("torso_geom").id
    np.testing.assert_allclose(model.geom_solref[ant], (0.02, 1))
    np.testing.assert_allclose(model.geom_solimp[ant][:3], (0.8, 0.8, 0.01))
    env.close()


def test_walls_stand_in_the_way():
    """An ant that is thrown at the wall beside the start stays on its side; along the corridor it flies on."""
    for velocity, axis, least, most in (((0, -15), 1, -2.0, 0.5), ((15, 0), 0, 2.5, 20.0)):
        env = make_env("d4rl:antmaze-umaze-v2")
        env.reset(seed=0)
        qpos, qvel = env.unwrapped.data.qpos.copy(), np.zeros(14)
        qvel[:2] = velocity
        env.unwrapped.set_state(qpos, qvel)
        for _ in range(6):
            obs = env.step(np.zeros(8))[0]["observation"]
        assert least < obs[axis] < most
        env.close()


def test_success_is_half_a_metre_from_the_goal_and_ends_the_episode():
    env = make_env("d4rl:antmaze-large-play-v2")
    env.reset(seed=1)
    sim = env.unwrapped
    for distance, reached in ((2.0, False), (0.3, True)):
        qpos = sim.data.qpos.copy()
        qpos[:2] = sim.goal - (distance, 0)
        sim.set_state(qpos, np.zeros(14))
        _, reward, terminated, truncated, info = env.step(np.zeros(8))
        assert (reward, terminated, truncated, info["success"]) == (float(reached), reached, False, reached)
    env.close()


@pytest.mark.parametrize(("kind", "subtask"), [("complete", "slide cabinet"), ("mixed", "bottom burner")])
def test_a_kitchens_observation_is_joints_objects_and_goal(kind, subtask):
    from gymnasium_robotics.envs.franka_kitchen.kitchen_env import OBS_ELEMENT_GOALS, OBS_ELEMENT_INDICES

    env = make_env(f"d4rl:kitchen-{kind}-v0")
    obs, _ = env.reset(seed=0)
    obs, _, _, _, info = env.step(np.zeros(9))
    values, data = obs["observation"], env.unwrapped.data
    goal = np.zeros(30)
    for task in ("microwave", "kettle", "light switch", subtask):
        goal[OBS_ELEMENT_INDICES[task]] = OBS_ELEMENT_GOALS[task]
    np.testing.assert_allclose(values[30:], goal, atol=1e-6)
    np.testing.assert_allclose(values[:30], data.qpos, atol=0.1 * 0.1 + 1e-6)  # D4RL's noise
    assert set(info["subtasks"]) == {"microwave", "kettle", "light switch", subtask}
    data.qpos[OBS_ELEMENT_INDICES["microwave"]] = OBS_ELEMENT_GOALS["microwave"]
    mujoco.mj_forward(env.unwrapped.model, data)
    assert env.step(np.zeros(9))[-1]["subtasks"]["microwave"]
    env.close()


@pytest.mark.parametrize(
    ("name", "steps", "measure"),
    [
        ("antmaze-umaze-diverse-v0", 700, "success"),
        ("antmaze-large-play-v2", 1000, "success"),
        ("kitchen-partial-v0", 280, "subtasks"),
    ],
)
def test_scores_and_horizons(name, steps, measure):
    env = make_env(f"d4rl:{name}")
    facts = env.get_wrapper_attr("facts")
    env.close()
    reference, why = find_reference(facts, {}, facts.horizon)
    assert reference is not None, why
    assert (facts.horizon, reference.source, reference.measure) == (steps, "D4RL", measure)
    assert find_reference(facts, {}, 50)[0] is None


def test_other_names_are_refused_in_one_sentence():
    for name in ("antmaze-umaze-play-v2", "antmaze-ultra-play-v2", "kitchen-complete-v1", "hopper-medium-v2", ""):
        assert d4rl_task(name) is None
        with pytest.raises(InputError, match="d4rl: has the ant mazes and kitchens, such as"):
            make_env(f"d4rl:{name}")
    assert not same_environment("d4rl:antmaze-umaze-v2", "AntMaze_UMaze-v5")


def test_the_bare_name_means_the_same():
    for name in ("antmaze-umaze-v2", "kitchen-mixed-v0"):
        chosen = choose_env(name, None, {})
        assert chosen.spec == f"d4rl:{name}"
        assert chosen.notes == (f"{name} is D4RL's: d4rl:{name} is used, the same task in today's MuJoCo.",)
        assert same_environment(name, f"d4rl:{name}")
        assert choose_env(f"d4rl:{name}", None, {}).notes == ()
