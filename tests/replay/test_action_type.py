"""Delta and absolute actions of real robosuite recordings, proved by playing them back."""

import copy
import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

pytest.importorskip("robosuite", reason='needs pip install "dtql-robot[robosuite]"')

from dtql_robot.cli import main
from dtql_robot.datasets import load, save_robomimic
from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.datasets.formats.robosuite_recording import open_recording, read_raw
from dtql_robot.datasets.loader import read_source
from dtql_robot.datasets.validation.validate import validate_reading
from dtql_robot.envs import make_env
from dtql_robot.errors import InputError
from dtql_robot.replay.action_type import convert_actions
from dtql_robot.replay.playback import play_back
from dtql_robot.types import Demonstrations

LIFT, HANDOVER = "robosuite_lift_v140/demo.hdf5", "robosuite_handover_2021/demo.hdf5"


@pytest.fixture
def real_file(real_data):
    def file(name):
        if not (real_data / name).is_file():
            pytest.skip(f"{real_data / name} is not there")
        return real_data / name

    return file


def recording(path, *numbers, steps=None):
    """Demonstrations of a recording, without observations."""
    demos = read_raw(path)
    episodes = []
    for number in numbers:
        e = demos.episodes[number]
        end = len(e) if steps is None else steps
        episodes.append(replace(e, actions=e.actions[:end], rewards=e.rewards[:end], obs={k: v[:end] for k, v in
                        e.obs.items()}, extras={k: v[:end] for k, v in e.extras.items()}, success=None))  # fmt: skip
    return replace(demos, episodes=tuple(episodes))


@pytest.mark.slow
@pytest.mark.simulator
def test_absolute_actions_of_a_real_demonstration_succeed_as_its_deltas_do(real_file):
    demos = recording(real_file(LIFT), 2)
    absolute, said = convert_actions(demos, "absolute")
    assert said == ()
    assert absolute.env_args["env_kwargs"]["controller_configs"]["control_delta"] is False
    arm, gripper = absolute.episodes[0].actions[:, :6], absolute.episodes[0].actions[:, 6]
    np.testing.assert_array_equal(gripper, demos.episodes[0].actions[:, 6])
    assert np.abs(arm[:, 2] - 0.95).max() < 0.3  # metres above the floor, at the table
    assert np.abs(arm[:, 3:]).max() > 2  # radians: the hand points down
    found = play_back(absolute, progress=False)
    assert [e.success for e in found.episodes] == [True]
    back, said = convert_actions(absolute, "delta")
    assert said == ()
    np.testing.assert_allclose(back.episodes[0].actions, np.clip(demos.episodes[0].actions, -1, 1), atol=2e-5)
    assert back.env_args == demos.env_args


@pytest.mark.slow
@pytest.mark.simulator
def test_two_arms_in_the_base_frame(real_file):
    """Both arms, in a record of robosuite 1.5 whose poses are seen from each robot's base."""
    demos = recording(real_file(HANDOVER), 0, steps=10)
    part = {**demos.env_args["env_kwargs"]["controller_configs"], "input_type": "delta", "input_ref_frame": "base"}
    part = {k: v for k, v in part.items() if k != "control_delta"}
    new = {"type": "BASIC", "body_parts": {"right": {**part, "gripper": {"type": "GRIP"}}}}
    record = copy.deepcopy(demos.env_args) | {"env_version": "1.5.1"}
    record["env_kwargs"]["controller_configs"] = [copy.deepcopy(new), copy.deepcopy(new)]
    demos = replace(demos, env_args=record)
    absolute, _ = convert_actions(demos, "absolute")
    for robot in absolute.env_args["env_kwargs"]["controller_configs"]:
        assert robot["body_parts"]["right"]["input_type"] == "absolute"
    for start in (0, 7):
        assert not np.allclose(
            absolute.episodes[0].actions[:, start : start + 6], demos.episodes[0].actions[:, start : start + 6]
        )
        assert np.array_equal(absolute.episodes[0].actions[:, start + 6], demos.episodes[0].actions[:, start + 6])
    back, _ = convert_actions(absolute, "delta")
    np.testing.assert_allclose(back.episodes[0].actions, np.clip(demos.episodes[0].actions, -1, 1), atol=1e-4)


@pytest.mark.slow
@pytest.mark.simulator
def test_a_pose_out_of_reach_of_a_delta_is_cut_off_and_told(real_file):
    absolute, _ = convert_actions(recording(real_file(LIFT), 0, steps=5), "absolute")
    far = absolute.episodes[0].actions.copy()
    far[3, 0] += 0.5
    far = replace(absolute, episodes=(replace(absolute.episodes[0], actions=far),))
    back, said = convert_actions(far, "delta")
    assert said == ("1 of 5 steps ask for more than a delta can, and are cut off there",)
    assert back.episodes[0].actions[3, 0] == 1


@pytest.mark.slow
@pytest.mark.simulator
def test_absolute_poses_are_not_clipped_in_the_simulator(real_file):
    """robosuite itself clips no pose; 1.2 m above the floor must not become 1 m."""
    record = open_recording(real_file(LIFT)).env_args
    record["env_kwargs"]["controller_configs"]["control_delta"] = False
    env = make_env("robosuite:Lift", env_args=record)
    env.reset(seed=0)
    env.step(np.array([0.0, 0.0, 1.2, 3.0, 0.0, 0.0, 5.0]))
    arm = env.unwrapped.sim_env.robots[0].part_controllers["right"]
    np.testing.assert_allclose(arm.goal_pos, (0, 0, 1.2))
    assert env.unwrapped.action_space.high.tolist() == [np.inf] * 6 + [1.0]
    env.close()


def made(changes=lambda config: None):
    """Three steps in robosuite's layout."""
    from tests.helpers.sample_demos import make_demos

    config = {"type": "OSC_POSE", "control_delta": True, "impedance_mode": "fixed"}
    changes(config)
    record = {"env_name": "Lift", "type": 1, "env_version": "1.4.1", "env_kwargs": {"controller_configs": config}}
    return replace(make_demos(2), env_spec="robosuite:Lift", env_args=record)


@pytest.mark.parametrize(
    ("demos", "to", "words"),
    [
        (replace(made(), env_spec="FetchPush-v4"), "absolute", "names FetchPush-v4"),
        (replace(made(), env_spec=None), "absolute", "names no environment"),
        (replace(made(), env_args={"env_name": "Lift", "type": 1, "env_kwargs": {}}), "absolute", "no controller"),
        (made(lambda c: c.update(type="JOINT_POSITION")), "absolute", "has JOINT_POSITION, and OSC_POSE or"),
        (made(lambda c: c.update(impedance_mode="variable_kp")), "delta", "stiffness is part of the action"),
        (made(lambda c: c.pop("control_delta")), "absolute", "does not say whether actions are deltas or absolute"),
        (made(), "delta", "its actions are delta already"),
        (made(lambda c: c.update(control_delta=False)), "absolute", "its actions are absolute already"),
        (made(), "absolute", "neither simulator states"),
    ],
)
def test_what_the_record_does_not_allow_is_one_sentence(demos, to, words):
    with pytest.raises(InputError, match=r"The actions of made cannot be converted: ") as found:
        convert_actions(demos, to)
    assert words in str(found.value)


@pytest.mark.slow
def test_absolute_actions_that_the_file_brings_are_taken(tmp_path, capsys):
    rng = np.random.default_rng(0)
    plain = made()
    poses = [rng.normal(size=e.actions.shape).astype(np.float32) * 2 for e in plain.episodes]
    episodes = [replace(e, extras={"actions_abs": p}) for e, p in zip(plain.episodes, poses, strict=True)]
    source = save_robomimic(replace(plain, episodes=tuple(episodes)), tmp_path / "in.hdf5")
    out = tmp_path / "out.hdf5"
    assert main(["edit", str(source), str(out), "--actions", "absolute"]) == 0
    assert "note: absolute actions: actions_abs" in capsys.readouterr().out
    found = load(out)
    for episode, pose, before in zip(found.episodes, poses, plain.episodes, strict=True):
        np.testing.assert_array_equal(episode.actions, pose)
        np.testing.assert_array_equal(episode.extras["actions_delta"], before.actions)
    with h5py.File(out) as file:
        record = json.loads(file["data"].attrs["env_args"])
    assert record["env_kwargs"]["controller_configs"]["control_delta"] is False
    codes = {f.code: f.severity for f in validate_reading(read_source(out)).findings}
    assert "action-in-obs" not in codes
    assert codes["absolute-actions"] == "warning"
    assert "actions-outside" not in codes
    assert main(["edit", str(source), str(tmp_path / "x.hdf5"), "--actions", "delta"]) == 2
    assert "its actions are delta already" in capsys.readouterr().err


def test_a_pose_to_go_to_that_is_where_the_hand_is_gives_nothing_away():
    """An arm that mostly stays: its target is its place.  An observation of the command does give it away."""
    rng = np.random.default_rng(0)
    pose = np.cumsum(rng.normal(size=(60, 7)), axis=0).astype(np.float32)
    record = made(lambda c: c.update(control_delta=False)).env_args
    for key, leaks in (("robot0_eef_pose", False), ("target_pose", True)):
        arrays = {"observations": {key: pose}, "actions": pose}
        demos = replace(Demonstrations.from_arrays([arrays], env="robosuite:Lift"), env_args=record)
        codes = {f.code for f in validate_reading(Reading(demos)).findings}
        assert ("action-in-obs" in codes) == leaks
