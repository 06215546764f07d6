"""Which environment is meant, and whether what a file records of its environment applies there."""

import pytest

from dtql_robot.env_record import EVAL_SPEC, choose_env, is_module_id, same_environment
from dtql_robot.errors import InputError

LIFT = {"env_name": "Lift", "env_version": "1.4.1", "type": 1, "env_kwargs": {"control_freq": 10}}
PUSH = {"env_name": "FetchPush-v2", "type": 2, "env_kwargs": {"reward_type": "dense", "max_episode_steps": 70}}
CUBE = {"env_name": "ogbench:cube-single-play-v0", "type": 2, "env_kwargs": {"x": 1}}
POINT = {"id": "Point-v3", "entry_point": "a:B", "kwargs": {"continuing_task": True}, "max_episode_steps": 10**6}
JUDGE = {"id": "Point-v3", "entry_point": "a:B", "kwargs": {"continuing_task": False}, "max_episode_steps": 300}


@pytest.mark.parametrize(
    ("asked", "recorded", "args"),
    [
        (None, "robosuite:Lift", LIFT),
        ("robosuite:Lift", "robosuite:Lift", LIFT),
        ("robosuite:Lift+state=robot0_eef_pos,object", "robosuite:Lift", LIFT),
        ("robosuite:Lift", "robosuite:Lift+state=object", LIFT),
        ("robosuite:Lift+a=x", "robosuite:Lift+b=y", LIFT),
        ("robosuite:Lift", "Lift", LIFT),  # a record of the wrong or of no kind
        ("robosuite:Lift", None, {**LIFT, "type": 7}),
        ("robosuite:Lift", None, {"env_kwargs": {"control_freq": 10}}),
        ("FetchPush-v4", "FetchPush-v2", PUSH),
        ("FetchPush-v4+state=observation,desired_goal", "FetchPush-v2", PUSH),
        ("gymnasium_robotics:FetchPush-v4", "FetchPush-v2", PUSH),
        ("ogbench:cube-single-v0", "ogbench:cube-single-play-v0", CUBE),
    ],
)
def test_the_record_applies_to_the_environment_under_every_name(asked, recorded, args):
    chosen = choose_env(asked, recorded, args)
    assert chosen.spec == (asked or recorded)
    assert chosen.env_args == args
    assert chosen.notes == ()
    assert chosen.require() == chosen.spec


@pytest.mark.parametrize(
    ("asked", "recorded", "args", "told"),
    [
        ("robosuite:Stack", "robosuite:Lift", LIFT, "control_freq, the layout of robosuite 1.4.1"),
        ("robosuite:Stack+state=object", "robosuite:Lift", LIFT, "control_freq"),
        ("FetchPickAndPlace-v4", "FetchPush-v2", PUSH, "reward_type, max_episode_steps"),
        ("FetchPushDense-v4", "FetchPush-v2", PUSH, "reward_type, max_episode_steps"),
        ("metaworld:push-v3", "ogbench:cube-single-play-v0", CUBE, "x"),
        ("metaworld:Lift", "robosuite:Lift", LIFT, "control_freq"),
        ("robosuite:Stack", None, {**LIFT, "type": 7}, "control_freq"),
    ],
)
def test_a_record_of_another_environment_is_dropped_with_a_word(asked, recorded, args, told):
    chosen = choose_env(asked, recorded, args, source="lift.hdf5")
    assert (chosen.spec, chosen.env_args) == (asked, {})
    (note,) = chosen.notes
    assert note.startswith("lift.hdf5 was recorded in ")
    assert f"not in {asked}" in note
    assert told in note


def test_nothing_is_said_where_nothing_is_lost():
    drawn = {"env_name": "Lift", "type": 1, "env_kwargs": {"camera_names": ["front"], "use_camera_obs": True}}
    assert choose_env("FetchPush-v4", "robosuite:Lift", drawn).notes == ()
    assert choose_env("FetchPush-v4", None, {}).notes == ()


def test_without_any_name_one_must_be_given():
    chosen = choose_env(None, None, {}, source="door.hdf5")
    assert chosen.spec is None
    with pytest.raises(InputError, match=r"door\.hdf5 names no environment; .* --env"):
        chosen.require()


@pytest.mark.parametrize("asked", [None, "Point-v3", "package:Point-v3"])
def test_policies_are_judged_where_the_data_says(asked):
    args = {**POINT, EVAL_SPEC: JUDGE}
    judged = choose_env(asked, "Point-v3", args, source="maze")
    assert judged.spec == (asked or "Point-v3")
    assert judged.env_args == JUDGE
    assert "as maze records it for evaluation" in judged.notes[0]
    replayed = choose_env(asked, "Point-v3", args, evaluation=False)
    assert (replayed.env_args, replayed.notes) == (POINT, ())


def test_another_environment_than_both_gets_neither_record():
    chosen = choose_env("Other-v0", "Point-v3", {**POINT, EVAL_SPEC: JUDGE})
    assert chosen.env_args == {}
    assert "continuing_task" in chosen.notes[0]


@pytest.mark.parametrize(
    ("recorded", "kwargs"),
    [
        ("evil:X-v0", {}),
        ("evil.sub:ns/X-v0", {}),
        ("evil:X-v0+state=a", {}),
        (":", {}),
        ("a:b:c", {}),
        ("GymV26Environment-v0", {"env_id": "X-v0"}),
        ("GymV21Environment", {}),
        ("Wrapped-v0", {"env_id": "evil:X-v0"}),
        ("Wrapped-v0", {"inner": [{"env": "evil:X-v0"}]}),
    ],
)
def test_a_files_word_is_not_enough_to_import_a_module(recorded, kwargs):
    args = {"env_name": recorded, "type": 2, "env_kwargs": kwargs}
    chosen = choose_env(None, recorded, args, source="stranger.hdf5")
    with pytest.raises(InputError, match=r"stranger\.hdf5 names the environment .*only an --env that you type") as told:
        chosen.require()
    assert "pip" not in str(told.value)
    assert choose_env(recorded, recorded, args).require() == recorded


@pytest.mark.parametrize("spec", ["robosuite:Lift", "metaworld:push-v3", "ogbench:scene-v0", "FetchPush-v4", "a/B-v0"])
def test_what_imports_nothing_may_be_recorded(spec):
    assert choose_env(None, spec, {}).require() == spec
    assert not is_module_id(spec)
    assert not is_module_id(None)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("FetchPush-v4", "FetchPush-v1", True),
        ("FetchPush-v4", "FetchReach-v4", False),
        ("a/Env-v0", "b/Env-v0", False),
        ("robosuite:Lift", "metaworld:Lift", False),
        ("robosuite:Lift ", "robosuite: Lift", True),
        ("m:Env-v0", "Env-v1", True),
        ("ogbench:scene-noisy-v0", "ogbench:scene-play-v0", True),
        ("Scene-play-v0", "Scene-v0", False),
    ],
)
def test_names_of_one_environment(a, b, same):
    assert same_environment(a, b) is same
    assert same_environment(b, a) is same
