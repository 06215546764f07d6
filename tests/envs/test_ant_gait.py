"""The ant's gait: the same in every direction, and without a clock."""

from dataclasses import replace

import numpy as np
import pytest

from dtql_robot.envs import make_env
from dtql_robot.envs.collection.ant_gait import GAIT, HIP_MOTORS, LEGS, TURN, motors, posture, walk
from dtql_robot.types import Array

QUARTER = np.pi / 2


def turned(state: Array, angle: float) -> Array:
    """The same ant, turned about the vertical."""
    (a, d), (w, x, y, z) = (np.cos(angle / 2), np.sin(angle / 2)), state[3:7]
    return np.concatenate([state[:3], [a * w - d * z, a * x - d * y, a * y + d * x, a * z + d * w], state[7:]])


def legs_moved(state: Array) -> Array:
    """Each leg as the one before it was: what the ant looks like from a quarter turn further on."""
    found = state.copy()
    for first, sign in ((7, 1.0), (21, 1.0)):
        hips, ankles = state[first : first + 8 : 2], TURN * state[first + 1 : first + 9 : 2]
        found[first : first + 8 : 2] = sign * np.roll(hips, 1)
        found[first + 1 : first + 9 : 2] = TURN * np.roll(ankles, 1)
    return found


@pytest.fixture
def states() -> Array:
    rng = np.random.default_rng(0)
    found = rng.standard_normal((20, 29))
    found[:, 3:7] = 0.0
    found[:, 3] = 1.0
    return found


def test_the_world_has_no_special_direction(states):
    for state, angle in zip(states, np.linspace(-3, 3, 20), strict=True):
        np.testing.assert_allclose(walk(turned(state, angle), 0.7 + angle), walk(state, 0.7), atol=1e-9)


def test_the_ant_has_four_fronts(states):
    """A quarter turn of the direction asks of each leg what the leg before it did."""
    soft = replace(GAIT, stiffness=0.01, damping=0.001)  # no action is cut off
    for state in states:
        before = motors(soft, posture(state, 0.3))
        after = motors(soft, posture(legs_moved(state), 0.3 + QUARTER))
        assert np.abs(before).max() < 1
        np.testing.assert_allclose(after[HIP_MOTORS], np.roll(before[HIP_MOTORS], 1), atol=1e-9)
        ankles = HIP_MOTORS + 1
        np.testing.assert_allclose(TURN * after[ankles], np.roll(TURN * before[ankles], 1), atol=1e-9)


def test_a_mirrored_ant_walks_mirrored(states):
    """Left and right exchanged, of all that is seen and done, along the x axis."""
    left_to_right = [3, 2, 1, 0]
    soft = replace(GAIT, stiffness=0.01, damping=0.001)
    assert np.allclose(np.exp(1j * LEGS[left_to_right]), np.exp(-1j * LEGS))
    for state in states:
        mirrored = state.copy()
        for first in (7, 21):
            mirrored[first : first + 8 : 2] = -state[first : first + 8 : 2][left_to_right]
            folds = TURN * state[first + 1 : first + 9 : 2]
            mirrored[first + 1 : first + 9 : 2] = TURN * folds[left_to_right]
        before, after = motors(soft, posture(state, 0.4)), motors(soft, posture(mirrored, -0.4))
        np.testing.assert_allclose(after[HIP_MOTORS], -before[HIP_MOTORS][left_to_right], atol=1e-9)


@pytest.mark.simulator
@pytest.mark.parametrize("direction", [0.0, 0.4, 1.0, 2.5, -2.0])
def test_it_walks_where_it_is_told_to_whatever_way_it_faces(direction):
    """A metre a second and more, and straight, from rest; far above the maze, whose walls are in no one's way."""
    env = make_env("d4rl:antmaze-umaze-v2")
    env.reset(seed=0)
    sim = env.unwrapped
    for wall in range(sim.model.ngeom):
        if sim.model.geom_type[wall] == 6:  # a box
            sim.model.geom_contype[wall] = sim.model.geom_conaffinity[wall] = 0
    qpos = sim.data.qpos.copy()
    qpos[:2], qpos[3:7] = 0, (np.cos(1.1), 0, 0, np.sin(1.1))  # faces 2.2 rad
    sim.set_state(qpos, np.zeros(14))
    sim.set_goal(np.array([500.0, 500.0]))
    obs = sim._get_obs()
    for _ in range(60):
        obs = env.step(walk(obs, direction))[0]["observation"]
    x, y = obs[:2]
    env.close()
    assert np.hypot(x, y) > 6.0
    assert abs(np.angle(np.exp(1j * (np.arctan2(y, x) - direction)))) < 0.25
