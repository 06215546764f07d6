"""How far an episode of robosuite came, by what its tasks themselves compute for staged rewards and success."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium

from dtql_robot.envs.measure import Measure, Place

MARGIN = 0.04
"""Metres above where it rests at which robosuite calls an object lifted (Lift and Stack)."""
ON_TABLE, ON_PEG = 0.05, 0.03
"""Metres above the table, and from the middle of its peg along each axis, within which robosuite takes a nut to lie."""

Reader = Callable[[Any], Mapping[str, bool]]
"""(robosuite's environment) -> stage -> whether it is there now."""


def _lift(sim: Any) -> dict[str, bool]:
    return {"grasped": sim._check_grasp(sim.robots[0].gripper, sim.cube)}


def _stack(sim: Any) -> dict[str, bool]:
    lifted = float(sim.sim.data.body_xpos[sim.cubeA_body_id][2]) > sim.table_offset[2] + MARGIN
    return {"grasped": sim._check_grasp(sim.robots[0].gripper, sim.cubeA), "lifted": lifted}


def _held(sim: Any, objects: list[Any], done: Any) -> tuple[int, Any] | None:
    """(number, position) of what the gripper holds of the objects that are not yet where they belong."""
    gripper, every = sim.robots[0].gripper, sim.single_object_mode == 0
    left = [i for i, thing in enumerate(objects) if not done[i] and (every or thing.name == sim.obj_to_use)]
    if not sim._check_grasp(gripper, [geom for i in left for geom in objects[i].contact_geoms]):
        return None
    held = next((i for i in left if sim._check_grasp(gripper, objects[i])), None)
    return None if held is None else (held, sim.sim.data.body_xpos[sim.obj_body_id[objects[held].name]])


def _pick_place(sim: Any) -> dict[str, bool]:
    held = _held(sim, sim.objects, sim.objects_in_bins)
    if held is None:
        return {}
    i, at = held
    lifted = at[2] + sim.objects[i].bottom_offset[2] > sim.bin1_pos[2] + MARGIN
    away = abs(at[:2] - sim.target_bin_placements[i, :2])
    return {"grasped": True, "lifted": lifted, "above its bin": bool((away < sim.bin_size[:2] / 4).all())}


def _nut_assembly(sim: Any) -> dict[str, bool]:
    held = _held(sim, sim.nuts, sim.objects_on_pegs)
    if held is None:
        return {}
    i, at = held
    lifted = at[2] > sim.table_offset[2] + ON_TABLE
    peg = sim.sim.data.body_xpos[(sim.peg1_body_id, sim.peg2_body_id)[i]]
    return {"grasped": True, "lifted": lifted, "above its peg": bool((abs(at[:2] - peg[:2]) < ON_PEG).all())}


def _two_grippers(sim: Any) -> tuple[Any, Any]:
    first, one = sim.robots[0].gripper, sim.env_configuration == "single-robot"
    return (first["right"], first["left"]) if one else (first, sim.robots[1].gripper)


def _two_arm_lift(sim: Any) -> dict[str, bool]:
    one, two = _two_grippers(sim)
    return {
        "first handle grasped": sim._check_grasp(one, sim.pot.handle0_geoms),
        "second handle grasped": sim._check_grasp(two, sim.pot.handle1_geoms),
    }


def _handover(sim: Any) -> dict[str, bool]:
    first, second, height, table = sim._get_task_info()
    up = height - table > sim.height_threshold
    return {"grasped by the first arm": first, "lifted": first and up, "grasped by the second arm": second and up}


def _transport(sim: Any) -> dict[str, bool]:
    there = sim.transport
    return {"trash in its bin": there.trash_in_trash_bin, "payload in its bin": there.payload_in_target_bin}


def _tool_hang(sim: Any) -> dict[str, bool]:
    return {"frame assembled": sim._check_frame_assembled()}


_PICK = (("grasped", "lifted", "above its bin"), _pick_place)
_NUT = (("grasped", "lifted", "above its peg"), _nut_assembly)
_STAGES: dict[str, tuple[tuple[str, ...], Reader]] = {
    "Lift": (("grasped",), _lift),
    "Stack": (("grasped", "lifted"), _stack),
    **dict.fromkeys(("PickPlace", "PickPlaceMilk", "PickPlaceBread"), _PICK),
    **dict.fromkeys(("PickPlaceCereal", "PickPlaceCan"), _PICK),
    **dict.fromkeys(("NutAssembly", "NutAssemblySquare", "NutAssemblyRound"), _NUT),
    "TwoArmLift": (("first handle grasped", "second handle grasped"), _two_arm_lift),
    "TwoArmHandover": (("grasped by the first arm", "lifted", "grasped by the second arm"), _handover),
    "TwoArmTransport": (("trash in its bin", "payload in its bin"), _transport),
    "ToolHang": (("frame assembled",), _tool_hang),
}


def stages(task: str) -> tuple[str, ...]:
    """What lies between the start and success of a task, in order; nothing where it is not told."""
    return _STAGES[task][0] if task in _STAGES else ()


def stage_reader(task: str) -> Callable[[gymnasium.Env, dict[str, Any]], Mapping[str, bool]] | None:
    """What tells after a step which of the `stages` are there; None where there are none."""
    if task not in _STAGES:
        return None
    read = _STAGES[task][1]
    return lambda env, _: read(env.unwrapped.sim_env)  # type: ignore[attr-defined]


def measure(task: str, env: Any) -> Measure | None:
    """What `_check_success` compares, where it is one number that is observed.

    env: `robosuite_sim.RobosuiteEnv`.
    """
    if task == "Lift":
        table = float(env.sim_env.model.mujoco_arena.table_offset[2])
        return Measure("height of the cube", (Place("cube_pos", 2, 3),), round(table + MARGIN, 6), below=False)
    if task == "Door":
        return Measure("door angle", (Place("hinge_qpos", 0, 1),), 0.3, below=False, unit="rad")
    if task == "Wipe":
        return Measure("share of the dirt wiped off", (Place("proportion_wiped", 0, 1),), below=False, unit="")
    return None
