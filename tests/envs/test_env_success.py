"""Success is what the simulator calls one: each task is solved by moving its objects, and the next step says so."""

import importlib.util

import numpy as np
import pytest

from dtql_robot.envs import make_env


def slide(sim):
    sim._utils.set_joint_qpos(sim.model, sim.data, "object0:joint", [*sim.goal, 1, 0, 0, 0])


def hammer(sim):
    sim.data.joint("nail_dir").qpos[:] = sim.model.joint("nail_dir").range[1]


def pen(sim):
    # The pen turns by its hinges; turn the target to where the pen is instead.
    sim.model.body_quat[sim.target_obj_body_id] = sim.data.xquat[sim.obj_body_id]


def relocate(sim):
    sim.model.site_pos[sim.target_obj_site_id] = sim.data.xpos[sim.obj_body_id]


def can(sim):
    bin_ = sim.target_bin_placements[sim.object_id]
    sim.sim.data.set_joint_qpos(sim.objects[sim.object_id].joints[0], [*bin_[:2], bin_[2] + 0.06, 1, 0, 0, 0])


def square(sim):
    peg = sim.sim.data.body_xpos[sim.peg1_body_id]
    sim.sim.data.set_joint_qpos(sim.nuts[0].joints[0], [*peg[:2], sim.table_offset[2] + 0.03, 1, 0, 0, 0])


def stack(sim):
    at = sim.sim.data.body_xpos[sim.cubeB_body_id]
    height = sim.cubeA.size[2] + sim.cubeB.size[2] - 0.001
    sim.sim.data.set_joint_qpos(sim.cubeA.joints[0], [*at[:2], at[2] + height, 1, 0, 0, 0])


def door(sim):
    sim.sim.data.qpos[sim.hinge_qpos_addr] = 0.35


CASES = {
    "FetchSlide-v4": slide,
    "AdroitHandHammer-v1": hammer,
    "AdroitHandPen-v1": pen,
    "AdroitHandRelocate-v1": relocate,
    "robosuite:PickPlaceCan": can,
    "robosuite:NutAssemblySquare": square,
    "robosuite:Stack": stack,
    "robosuite:Door": door,
}


@pytest.mark.slow
@pytest.mark.parametrize("spec", CASES)
def test_a_solved_scene_is_a_success_and_an_untouched_one_is_not(spec):
    robosuite = spec.startswith("robosuite:")
    if robosuite and importlib.util.find_spec("robosuite") is None:
        pytest.skip("robosuite is not installed (pip install 'dtql-robot[robosuite]')")
    env = make_env(spec)
    env.reset(seed=4)
    still = np.zeros(env.action_space.shape)
    assert env.step(still)[4]["success"] is False
    sim = env.unwrapped
    CASES[spec](sim.sim_env if robosuite else sim)
    _, _, terminated, _, info = env.step(still)
    assert info["success"] is True
    assert terminated == robosuite
    env.reset(seed=5)
    assert env.step(still)[4]["success"] is False
    env.close()


def test_kitchen_sees_each_part_done_in_the_simulation():
    from gymnasium_robotics.envs.franka_kitchen.kitchen_env import OBS_ELEMENT_GOALS, OBS_ELEMENT_INDICES

    parts = ("microwave", "hinge cabinet")
    env = make_env("FrankaKitchen-v1", env_args={"tasks_to_complete": list(parts)})
    env.reset(seed=0)
    assert env.step(np.zeros(9))[4]["subtasks"] == {"microwave": False, "hinge cabinet": False}
    seen = []
    for part in parts:
        env.unwrapped.data.qpos[OBS_ELEMENT_INDICES[part]] = OBS_ELEMENT_GOALS[part]
        *_, terminated, _, info = env.step(np.zeros(9))
        seen.append((info["subtasks"][part], info["success"], terminated))
    assert seen == [(True, False, False), (True, True, True)]
    env.close()
