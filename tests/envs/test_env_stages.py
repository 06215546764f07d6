"""How far an episode came: the stages that Meta-World and robosuite tell, and the distance that decides success."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from dtql_robot.envs import make_env

metaworld = pytest.mark.skipif(importlib.util.find_spec("metaworld") is None, reason="metaworld is not installed")
robosuite = pytest.mark.skipif(importlib.util.find_spec("robosuite") is None, reason="robosuite is not installed")


def scripted(task, seed=0):
    """Meta-World's own policy until success: (environment, observation, info) after each step."""
    from dtql_robot.envs.families.metaworld_tasks import expert

    env, act = make_env(f"metaworld:{task}"), expert(task)
    obs, _ = env.reset(seed=seed)
    for _ in range(200):
        obs, *_, info = env.step(act(obs))
        yield env, obs, info
        if info["success"]:
            return


@metaworld
@pytest.mark.parametrize("task", ["pick-out-of-hole-v3", "button-press-topdown-v3", "sweep-into-v3", "push-v3"])
def test_metaworlds_distance_and_flags_are_its_own(task):
    near, grasped, told = None, None, {}
    for step, (env, obs, info) in enumerate(scripted(task), start=1):
        measure = env.facts.measure
        assert measure.read(obs) == pytest.approx(info["obj_to_target"], abs=2e-6)
        assert info["success"] == (measure.read(obs) <= measure.threshold)
        near = near or (step if info["near_object"] == 1 else None)
        grasped = grasped or (step if info["grasp_success"] == 1 else None)
        told = info["stages"]
    assert info["success"]
    assert near is not None
    flags = {"near the object": near, "object grasped": grasped}
    assert told == {name: flags[name] for name in env.facts.stages}
    if task in ("pick-out-of-hole-v3", "sweep-into-v3"):
        assert None not in told.values()
        assert told["near the object"] <= told["object grasped"] <= step


@metaworld
def test_flags_that_are_rewards_or_constants_are_no_stages():
    """door-open fills "near_object" with a reward, reach with a distance, button-press "grasp_success" with a 1."""
    for task in ("door-open-v3", "reach-v3"):
        env = make_env(f"metaworld:{task}")
        env.reset(seed=0)
        assert env.facts.stages == ()
        assert "stages" not in env.step(np.zeros(4))[4]
        assert env.facts.measure is None
    assert make_env("metaworld:button-press-topdown-v3").facts.stages == ("near the object",)


@metaworld
def test_stages_count_from_the_start_of_an_episode_however_it_is_stepped():
    from dtql_robot.envs.families.metaworld_tasks import expert

    env, act = make_env("metaworld:pick-place-v3"), expert("pick-place-v3")
    actions, obs = [], env.reset(seed=1)[0]
    for _ in range(40):
        actions.append(act(obs))
        obs, *_, info = env.step(actions[-1])
    assert all(20 <= step <= 40 for step in info["stages"].values())
    env.reset(seed=1)
    for first in range(0, 40, 8):
        *_, again = env.steps(actions[first : first + 8])
    assert again["stages"] == info["stages"]
    env.reset(seed=1)
    assert set(env.step(np.zeros(4))[4]["stages"].values()) == {None}


@metaworld
@pytest.mark.slow
def test_an_evaluation_says_how_far_its_episodes_came(tmp_path):
    """A policy that reaches for the object and never closes its gripper, in a process of its own."""
    from dtql_robot.eval import evaluate
    from dtql_robot.reports.episodes import stage_counts
    from dtql_robot.run_folder import read_results
    from tests.helpers.eval_policies import ReachingPolicy

    result = evaluate(
        ReachingPolicy(),
        "metaworld:pick-place-v3",
        episodes=2,
        num_envs=2,
        where="processes",
        max_episode_steps=60,
        progress=False,
    )
    assert result.stages_reached == {"near the object": 1.0, "object grasped": 0.0}
    assert "came as far as: near the object 100%, object grasped 0%" in str(result)
    found = read_results(result.save(tmp_path / "results.json"))
    assert found["stages_reached"] == result.stages_reached
    assert stage_counts(found["per_episode"]) == {
        "near the object": ((2, 2), (0, 0)),
        "object grasped": ((0, 2), (0, 0)),
    }


@robosuite
@pytest.mark.slow
@pytest.mark.parametrize(
    ("recording", "reached"),
    [
        ("robosuite_v101/stack", [("grasped", "lifted")]),
        ("robosuite_handover_2021", [("grasped by the first arm", "lifted", "grasped by the second arm"), ()]),
    ],
)
def test_people_pass_robosuites_stages_in_order_and_before_success(real_data: Path, recording, reached):
    """Of the hand-overs, the first two: one succeeds, and in the other the hammer is never taken up."""
    from dtql_robot.datasets.formats.robosuite_recording import open_recording, read_state_demo
    from dtql_robot.replay.robosuite_states import StateSimulation

    path = real_data / recording / "demo.hdf5"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    source = open_recording(path)
    simulation = StateSimulation(source.env_spec, source.env_args)
    for name, expected in zip(source.names, reached, strict=False):
        demo = read_state_demo(source.path, name)
        simulation.start(demo)
        first, success = {}, None
        for step, state in enumerate(demo.states):
            simulation.put(state)
            for stage, there in simulation.env._stages(simulation.env.env, {}).items():
                if there:
                    first.setdefault(stage, step)
            if success is None and simulation.sim_env._check_success():
                success = step
        assert tuple(first) == expected
        assert list(first.values()) == sorted(first.values())
        assert (success is not None) == bool(expected)
        assert success is None or max(first.values()) < success


@robosuite
@pytest.mark.slow
def test_a_can_is_held_then_lifted_then_above_its_bin():
    """The can between the fingers, at 4 cm above the bin and below, and its compartment under it and elsewhere."""
    env = make_env("robosuite:PickPlaceCan")
    env.reset(seed=0)
    sim = env.unwrapped.sim_env
    data, can = sim.sim.data, next(thing for thing in sim.objects if thing.name == "Can")
    number, fingers = sim.objects.index(can), data.site_xpos[next(iter(sim.robots[0].eef_site_id.values()))]

    def told():
        return {name: bool(there) for name, there in env._stages(env.env, {}).items()}

    assert told() == {}
    sim.sim.forward()
    pose = data.get_joint_qpos(can.joints[0]).copy()
    pose[:3] = fingers
    data.set_joint_qpos(can.joints[0], pose)
    sim.sim.forward()
    held = {"grasped": True, "lifted": True, "above its bin": False}
    assert told() == held
    assert sim._check_success() == 0
    for away, there in ((0.09, True), (0.1, False)):  # its compartment is 19.5 cm wide
        sim.target_bin_placements[number, :2] = fingers[:2] + np.array([away, 0.0])
        assert told() == held | {"above its bin": there}
    for height, there in ((0.039, False), (0.041, True)):
        sim.bin1_pos = np.array([0.0, 0.0, fingers[2] + can.bottom_offset[2] - height])
        assert told()["lifted"] == there
    pose[:3] += 0.2  # out of the fingers
    data.set_joint_qpos(can.joints[0], pose)
    sim.sim.forward()
    assert told() == {}


@robosuite
@pytest.mark.slow
def test_the_door_of_robosuite_has_an_angle():
    env = make_env("robosuite:Door")
    env.reset(seed=0)
    sim, measure = env.unwrapped.sim_env, env.facts.measure
    for angle, won in ((0.29, False), (0.31, True)):
        sim.sim.data.qpos[sim.hinge_qpos_addr] = angle
        sim.sim.forward()
        assert measure.read(sim._get_observations(force_update=True)) == pytest.approx(angle)
        assert bool(sim._check_success()) == won == (angle > measure.threshold)
