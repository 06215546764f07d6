"""robosuite in its real simulator.  Skipped where the package is not installed."""

import json

import h5py
import numpy as np
import pytest

from dtql_robot.envs import make_env
from dtql_robot.envs.collection.collect import collect
from dtql_robot.envs.rendering.camera import check_frame
from dtql_robot.errors import InputError

pytest.importorskip("robosuite", reason="robosuite is not installed (pip install 'dtql-robot[robosuite]')")

OLD_CONTROLLER = {
    "type": "OSC_POSE",
    "input_max": 1,
    "input_min": -1,
    "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5],
    "output_min": [-0.05, -0.05, -0.05, -0.5, -0.5, -0.5],
    "kp": 150,
    "damping": 1,
    "impedance_mode": "fixed",
    "control_delta": True,
}


def old_env_args(task, **kwargs):
    """What robomimic's published files record."""
    recorded = {
        "has_renderer": False,
        "has_offscreen_renderer": True,
        "use_camera_obs": True,
        "camera_names": "agentview",
        "control_freq": 20,
        "robots": ["Panda"],
        "controller_configs": OLD_CONTROLLER,
    }
    return {"env_name": task, "type": 1, "env_version": "1.4.1", "env_kwargs": recorded | kwargs}


@pytest.fixture(scope="module")
def lift():
    env = make_env("robosuite:Lift")
    yield env
    env.close()


def trace(env, seed, steps=12):
    rng = np.random.default_rng(0)
    obs, _ = env.reset(seed=seed)
    rows = [obs]
    for _ in range(steps):
        rows.append(env.step(rng.uniform(-1, 1, env.action_space.shape))[0])
    return {key: np.stack([row[key] for row in rows]) for key in obs}


@pytest.mark.slow
def test_observations_have_robosuites_own_names(lift):
    facts = lift.get_wrapper_attr("facts")
    assert (facts.horizon, facts.success_rule, facts.action_dim, facts.fps) == (400, "any", 7, 20)
    assert facts.obs_shapes["object"] == facts.obs_shapes["object-state"] == (10,)
    assert facts.obs_shapes["robot0_eef_pos"] == (3,)
    assert facts.obs_shapes["robot0_proprio-state"] == (43,)
    assert {"agentview", "frontview"} <= set(facts.cameras)
    obs, _ = lift.reset(seed=0)
    assert lift.observation_space.contains(obs)
    assert lift.step(np.zeros(7))[4]["success"] is False


@pytest.mark.slow
def test_an_episode_depends_on_its_seed_alone(lift):
    """Bit for bit: after other episodes, in another environment, and whatever numpy's global generator holds."""
    first, other = trace(lift, 5), trace(lift, 6)
    np.random.seed(123)
    again = trace(lift, 5)
    fresh_env = make_env("robosuite:Lift")
    fresh = trace(fresh_env, 5)
    fresh_env.close()
    for key, rows in first.items():
        assert np.array_equal(rows, again[key]), key
        assert np.array_equal(rows, fresh[key]), key
    assert not np.array_equal(first["cube_pos"], other["cube_pos"])


def test_seeding_leaves_the_global_generator_alone(lift):
    np.random.seed(1)
    expected = np.random.random(3)
    np.random.seed(1)
    lift.reset(seed=9)
    assert np.array_equal(np.random.random(3), expected)


@pytest.mark.slow
def test_the_scripted_expert_lifts_and_the_episode_ends():
    """30 of 30 without noise; 4 keep the test short."""
    demos = collect("robosuite:Lift", 4, seed=5, noise=0.0, workers=2, progress=False)
    assert [e.ends_in_success for e in demos.episodes] == [True] * 4
    assert all(e.terminated and e.rewards[-1] == 1 and len(e) < 60 for e in demos.episodes)
    assert demos.env_args["env_name"] == "Lift"
    assert demos.env_args["type"] == 1


def test_an_episode_goes_on_after_success_when_asked_to():
    env = make_env("robosuite:Lift", env_args={"end_at_success": False}, max_episode_steps=3)
    env.reset(seed=0)
    env.unwrapped.sim_env._check_success = lambda: True
    assert [env.step(np.zeros(7))[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
    env.close()


STATE = "robosuite:Lift+state=robot0_proprio-state@1.5.2,object-state"


@pytest.mark.slow
def test_the_state_of_a_1_5_2_recording_is_composed_from_named_observations(real_data):
    """Every entry at the start to 1e-5; then the recorded actions follow the recorded path and lift the cube."""
    path = real_data / "robocore_lift_scripted" / "low_dim.hdf5"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with h5py.File(path) as file:
        state, actions = file["data/demo_0/obs/state"][:], file["data/demo_0/actions"][:]
    env = make_env(STATE)
    assert env.get_wrapper_attr("facts").obs_shapes["state"] == (60,) == state.shape[1:]
    sim_env = env.unwrapped.sim_env
    robot = sim_env.robots[0]
    robot.init_qpos, robot.initialization_noise = state[0, :7].astype(float), {"magnitude": 0.0, "type": "gaussian"}
    env.reset(seed=0)
    start, end = sim_env.sim.model.get_joint_qpos_addr(sim_env.cube.joints[0])
    sim_env.sim.data.qpos[start:end] = state[0, [50, 51, 52, 56, 53, 54, 55]]
    sim_env.sim.forward()
    obs = env.unwrapped._observation(sim_env._get_observations(force_update=True))
    assert np.abs(env._add(obs)["state"] - state[0]).max() < 1e-5
    gripper, success = [], False
    for action in actions:
        obs, _, _, _, info = env.step(action)
        gripper.append(obs["state"][35:38])
        success |= info["success"]
    env.close()
    assert success
    assert np.abs(np.stack(gripper)[:-1] - state[1:, 35:38]).max() < 2e-3


def test_a_record_of_robosuite_1_4_is_upgraded():
    env = make_env("robosuite:Lift", env_args=old_env_args("Lift"))
    sim_env = env.unwrapped.sim_env
    controller = sim_env.robots[0].composite_controller.part_controllers["right"]
    assert (controller.name, controller.input_ref_frame, controller.input_type) == ("OSC_POSE", "world", "delta")
    assert sim_env.lite_physics is False
    obs, _ = env.reset(seed=0)
    for now in (obs, env.step(np.ones(7))[0]):
        grip, cube = now["robot0_eef_pos"], now["cube_pos"]
        assert np.allclose(now["object"], np.concatenate([cube, now["cube_quat"], grip - cube]), atol=1e-6)
    env.close()


def test_absolute_actions_of_robosuite_1_4_stay_absolute():
    args = old_env_args("Lift", controller_configs={**OLD_CONTROLLER, "control_delta": False})
    env = make_env("robosuite:Lift", env_args=args)
    controller = env.unwrapped.sim_env.robots[0].composite_controller.part_controllers["right"]
    assert controller.input_type == "absolute"
    env.close()


def quaternion_matrix(q):
    x, y, z, w = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def test_the_object_of_robosuite_1_4_is_ordered_as_it_was():
    """Pose, then pose in the gripper, both of the same moment (robosuite 1.5 itself is a step behind)."""
    env = make_env("robosuite:PickPlaceCan", env_args=old_env_args("PickPlaceCan"))
    obs, _ = env.reset(seed=1)
    for now in (obs, env.step(np.full(7, 0.5))[0]):
        pose = np.concatenate([now["Can_pos"], now["Can_quat"]])
        assert np.allclose(now["object"][:7], pose, atol=1e-6)
        turn = quaternion_matrix(now["robot0_eef_quat"])
        assert np.allclose(now["object"][7:10], turn.T @ (now["Can_pos"] - now["robot0_eef_pos"]), atol=1e-5)
    env.close()


def successes_from_states(env, file):
    """Whether the simulator calls any recorded state of each demonstration a success."""
    sim_env, found = env.unwrapped.sim_env, []
    for demo in file["data"].values():
        states, success = demo["states"][:], False
        for state in [*states[::5], states[-1]]:
            sim_env.sim.set_state_from_flattened(state)
            sim_env.sim.forward()
            success |= bool(sim_env._check_success())
        found.append(success)
    return found


def open_recording(real_data, folder):
    path = real_data / folder / "demo.hdf5"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return h5py.File(path)


@pytest.mark.slow
def test_the_handover_of_2021_is_made_from_its_record_and_sees_its_successes(real_data):
    with open_recording(real_data, "robosuite_handover_2021") as file:
        env_args = json.loads(file["data"].attrs["env_args"])
        env = make_env("robosuite:TwoArmHandover", env_args=env_args)
        facts = env.get_wrapper_attr("facts")
        assert (facts.action_dim, facts.fps, facts.horizon) == (14, 20, 500)
        assert sum(successes_from_states(env, file)) == 4
    env.close()


def test_human_lifts_of_robosuite_1_4_are_successes(real_data):
    with open_recording(real_data, "robosuite_lift_v140") as file:
        env = make_env("robosuite:Lift", env_args=old_env_args("Lift"))
        assert successes_from_states(env, file) == [True] * 3
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["Stack", "NutAssemblySquare", "Door", "TwoArmTransport"])
def test_other_tasks_are_made_and_stepped(task):
    env = make_env(f"robosuite:{task}")
    obs, _ = env.reset(seed=0)
    obs, reward, *_, info = env.step(np.zeros(env.action_space.shape))
    assert env.observation_space.contains(obs)
    assert (reward, info["success"]) == (0.0, False)
    env.close()


@pytest.mark.slow
@pytest.mark.gl
def test_frames_are_sound_after_many_resets_and_show_the_robot_move():
    env = make_env("robosuite:Lift", render=True, width=128, height=96, env_args={"hard_reset": True})
    frames = []
    for seed in range(4):
        env.reset(seed=seed)
        frames.append(env.render())
    for _ in range(6):
        env.step(np.array([0, 0, -1.0, 0, 0, 0, 0]))
    frames.append(env.render())
    env.close()
    for frame in frames:
        check_frame(frame)
    assert (np.abs(frames[-1].astype(int) - frames[-2]).max(axis=2) > 30).mean() > 0.005


@pytest.mark.slow
@pytest.mark.gl
def test_a_camera_is_chosen_by_its_name():
    env = make_env("robosuite:Lift", render=True, width=96, height=96, camera="robot0_eye_in_hand")
    env.reset(seed=0)
    check_frame(env.render())
    env.close()
    with pytest.raises(InputError, match=r"no camera 'ceiling'; it has frontview"):
        make_env("robosuite:Lift", camera="ceiling")


@pytest.mark.parametrize(
    ("spec", "kwargs", "sentence"),
    [
        ("robosuite:Lft", {}, r"no task 'Lft'. Did you mean robosuite:Lift\?"),
        ("robosuite:Lift", {"env_args": {"wings": 2}}, r"cannot be made with arguments .*wings"),
        ("robosuite:Lift+state=cube", {}, r"no observation 'cube'"),
        ("robosuite:Lift+state=robot0_proprio-state@9.9", {}, r"no observation 'robot0_proprio-state@9.9'"),
        ("robosuite:NutAssemblySingle", {}, "another object in each episode"),
    ],
)
@pytest.mark.slow
def test_what_the_user_got_wrong_is_said_in_a_sentence(spec, kwargs, sentence):
    with pytest.raises(InputError, match=sentence):
        make_env(spec, **kwargs)
