"""Every rule of `validate` fires where it should, names its place, and stays silent on sound data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dtql_robot.datasets import load, save_robomimic
from dtql_robot.datasets.formats.reading import ObsArray, Reading
from dtql_robot.datasets.validation.findings import Use
from dtql_robot.datasets.validation.validate import validate, validate_reading
from dtql_robot.types import Demonstrations
from tests.helpers.sample_demos import make_demos, make_episode


def sound(count: int = 6, **changes: Any) -> Demonstrations:
    return replace(make_demos(count, **changes), env_spec="FetchPush-v4")


def codes(demos: Demonstrations, use: Use | None = None, **reading: Any) -> dict[str, str]:
    """code -> severity."""
    found = validate_reading(Reading(demos, **reading), use)
    assert all(f.place and f.problem for f in found.findings)
    return {f.code: f.severity for f in found.findings}


def edit(demos: Demonstrations, index: int, **changes: Any) -> Demonstrations:
    episodes = list(demos.episodes)
    episodes[index] = replace(episodes[index], **changes)
    return replace(demos, episodes=tuple(episodes))


def test_sound_data_has_no_findings() -> None:
    assert codes(sound()) == {}


def test_actions_outside_are_a_warning_or_an_error_by_use() -> None:
    demos = edit(sound(), 2, actions=np.full((7, 2), 1.5, np.float32))
    assert codes(demos) == {"actions-outside": "warning"}
    assert codes(demos, Use(action_norm="none")) == {"actions-outside": "error"}
    (finding,) = validate_reading(Reading(demos)).findings
    assert "demo_2, step 0" in finding.place


def test_constant_actions_and_observations() -> None:
    demos = sound()
    still = replace(demos, episodes=tuple(replace(e, actions=e.actions * np.float32([1, 0])) for e in demos.episodes))
    assert codes(still) == {"constant-actions": "warning"}
    dead = replace(demos, episodes=tuple(replace(e, actions=e.actions * 0) for e in demos.episodes))
    assert codes(dead)["constant-actions"] == "error"
    blind = replace(
        demos, episodes=tuple(replace(e, obs=e.obs | {"robot": e.obs["robot"] * 0}) for e in demos.episodes)
    )
    assert codes(blind) == {"constant-obs": "warning"}


def with_controller(absolute_record: bool, actions_are_poses: bool) -> Demonstrations:
    rng = np.random.default_rng(0)
    episodes = []
    for i in range(4):
        pose = rng.normal(0, 0.3, (6, 3)).astype(np.float32)
        actions = rng.uniform(-1, 1, (6, 7)).astype(np.float32)
        if actions_are_poses:
            actions[:, :3] = pose + 0.01
        else:
            actions[:, :3] += 2 * np.sign(actions[:, :3])
        episodes.append(
            make_episode(
                rng,
                f"demo_{i}",
                6,
                actions=actions,
                obs={"robot0_eef_pos": pose},
                final_obs={"robot0_eef_pos": pose[0]},
            )
        )
    args = {"env_name": "Lift", "type": 1, "env_kwargs": {"controller_configs": {"control_delta": not absolute_record}}}
    return Demonstrations(tuple(episodes), "made", "robomimic", None, args)


@pytest.mark.parametrize("absolute_record", [True, False])
@pytest.mark.parametrize("poses", [True, False])
def test_absolute_against_delta_actions(absolute_record: bool, poses: bool) -> None:
    found = codes(with_controller(absolute_record, poses))
    if absolute_record:
        expected = {"absolute-actions": "warning"} if poses else {"delta-actions": "error"}
    else:
        expected = {"absolute-actions": "error"} if poses else {}
    assert {k: v for k, v in found.items() if k.endswith("ta-actions") or k.endswith("te-actions")} == expected


@pytest.mark.parametrize(
    "record", [{"type": "JOINT_POSITION"}, {"type": "OSC_POSE", "input_ref_frame": "base"}], ids=lambda r: r["type"]
)
def test_absolute_targets_that_are_no_poses_of_the_world(record: dict[str, Any]) -> None:
    """Joint angles, or poses in the base's frame: that they are far from the hand in the world says nothing."""
    demos = with_controller(absolute_record=True, actions_are_poses=False)
    part = {"body_parts": {"right": {"input_type": "absolute", **record}}}
    demos = replace(demos, env_args={"env_name": "Lift", "type": 1, "env_kwargs": {"controller_configs": part}})
    assert codes(demos)["absolute-actions"] == "warning"
    assert "delta-actions" not in codes(demos)


@pytest.mark.parametrize("wrong", [True, False])
@pytest.mark.parametrize("unit", [1, 1e-7, 1e7])
def test_next_obs_that_does_not_follow(tmp_path: Path, wrong: bool, unit: float) -> None:
    path = save_robomimic(sound(3), tmp_path / "f.hdf5")
    with h5py.File(path, "a") as file:
        for values in (file[f"data/demo_{i}/{which}/robot"] for i in range(3) for which in ("obs", "next_obs")):
            values[...] = values[...] * unit
        demo = file["data/demo_1"]
        if wrong:  # every second step left out
            demo["next_obs/robot"][...] = unit * np.random.default_rng(0).normal(size=demo["next_obs/robot"].shape)
    found = [f for f in validate(path).findings if f.code == "next-obs"]
    assert len(found) == wrong
    if wrong:
        assert found[0].place.startswith("demo_1 in")
        assert "'robot'" in found[0].problem
        assert codes(load(path)) == {"next-obs": "warning"}  # `train` sees it too
        assert "next-obs" not in codes(load(save_robomimic(load(path), tmp_path / "g.hdf5")))


def test_success_and_rewards() -> None:
    unlabelled = sound(success=None)
    assert codes(unlabelled) == {"no-success": "warning"}
    assert codes(unlabelled, Use(reward="success"))["no-success"] == "error"
    failed = replace(sound(), episodes=tuple(replace(e, success=np.zeros(len(e), bool)) for e in sound().episodes))
    assert codes(failed)["never-success"] == "warning"
    zero = replace(unlabelled, episodes=tuple(replace(e, rewards=e.rewards * 0) for e in unlabelled.episodes))
    assert codes(zero)["constant-rewards"] == "warning"
    shaped = [np.r_[np.linspace(0, 0.9, len(e) - 1), 1].astype(np.float32) for e in unlabelled.episodes]
    ending = replace(
        unlabelled, episodes=tuple(replace(e, rewards=r) for e, r in zip(unlabelled.episodes, shaped, strict=True))
    )
    (finding,) = [f for f in validate_reading(Reading(ending)).findings if f.code == "no-success"]
    assert "6 of 6 episodes end at the highest reward, 1;" in finding.remedy
    assert "--success-reward 1" in finding.remedy


def test_time_outs_marked_terminal() -> None:
    failed = [replace(e, success=np.zeros(len(e), bool)) for e in sound(12).episodes[::3]]
    demos = Demonstrations((*failed, sound().episodes[1]), "made", "robomimic")
    assert codes(demos) == {}
    longest = Demonstrations((*failed, make_episode(np.random.default_rng(3), "won", 5)), "made", "robomimic")
    assert codes(longest) == {"timeout-terminal": "warning"}
    recorded = replace(longest, env_args={"id": "FetchPush-v4", "max_episode_steps": 5})
    assert codes(recorded) == {"timeout-terminal": "error"}
    assert codes(edit(sound(), 0, truncated=True)) == {"terminal-and-cut": "warning"}


def test_final_observations_short_and_duplicate_episodes() -> None:
    cut = edit(sound(), 1, final_obs=None, terminated=False, truncated=True)
    assert codes(cut) == {"no-final-obs": "warning"}
    demos = sound()
    twice = replace(demos, episodes=(*demos.episodes, replace(demos.episodes[3], name="again")))
    (finding,) = validate_reading(Reading(twice)).findings
    assert "demo_3 = again" in finding.problem
    short = replace(demos, episodes=(*demos.episodes, make_episode(np.random.default_rng(9), "blink", 1)))
    assert codes(short) == {"short-episode": "warning"}


IMAGES = [
    (ObsArray((9, 3, 84, 84), np.dtype("u1")), "image-layout"),
    (ObsArray((9, 84, 84, 3), np.dtype("f4")), "image-dtype"),
    (ObsArray((9, 900), np.dtype("u1"), jpeg=True), "image-jpeg"),
    (ObsArray((9, 84, 84, 3), np.dtype("u1")), None),
]


@pytest.mark.parametrize(("stored", "code"), IMAGES)
def test_image_layouts(stored: ObsArray, code: str | None) -> None:
    available = {"front": stored}
    assert codes(sound(), available=available) == ({} if code is None else {code: "warning"})
    used = codes(sound(), Use(obs_keys=("front",)), available=available)
    assert used == ({} if code is None else {code: "error"})


def test_filter_keys() -> None:
    names = tuple(e.name for e in sound().episodes)
    leak = {"train": ["demo_0", "demo_1"], "valid": ["demo_1"]}
    assert codes(sound(), filter_keys=leak, names=names) == {"filter-key-leak": "warning"}
    assert codes(sound(), filter_keys={"a": ["demo_0", "demo_0"]}, names=names) == {"filter-key-repeats": "warning"}
    assert codes(sound(), filter_keys={"a": ["demo_77"]}, names=names) == {"filter-key-missing": "warning"}
    assert codes(sound(), filter_keys={"train": ["demo_0"], "valid": ["demo_1"]}, names=names) == {}


def test_simulator_versions() -> None:
    def lift(recorded: str | None) -> Demonstrations:
        args: dict[str, Any] = {"env_name": "Lift", "type": 1, "env_kwargs": {}}
        return replace(
            sound(), env_spec="robosuite:Lift", env_args=args | ({"env_version": recorded} if recorded else {})
        )

    try:
        here = version("robosuite")
    except PackageNotFoundError:
        assert codes(lift("1.4.1")) == {"simulator-missing": "warning"}
    else:
        assert codes(lift("1.4.1")) == codes(lift(None)) == {"simulator-version": "warning"}
        assert codes(lift(here)) == {}
    assert codes(replace(sound(), env_spec="FetchPush-v1")) == {"simulator-version": "warning"}


def test_every_bad_episode_of_a_file_is_an_error(tmp_path: Path) -> None:
    path = save_robomimic(sound(), tmp_path / "f.hdf5")
    with h5py.File(path, "a") as file:
        file["data/demo_1/actions"][2, 0] = np.nan
        del file["data/demo_3/rewards"]
        file["data/demo_3/rewards"] = np.zeros(99)
        file["data/demo_4"].attrs["num_samples"] = 3
    found = validate(path)
    assert [f.code for f in found.errors] == ["unreadable", "unreadable"]
    assert "demo_1: 'actions' is nan at [2, 0]" in found.errors[0].problem
    assert "'rewards' has 99" in found.errors[1].problem
    assert [f.code for f in found.warnings] == ["num-samples"]
    assert found.checked == {"episodes": 4, "transitions": 25}


REAL = {
    "d4rl_door_human_v0/door-v0_demos_clipped.hdf5": {"no-success": "warning", "no-final-obs": "warning"},
    "robocore_lift_scripted/low_dim.hdf5": {
        "no-success": "warning",
        "no-final-obs": "warning",
        "constant-actions": "warning",
    },
    "robosuite_lift_v140/demo.hdf5": {"unreadable": "error"},
    "robosuite_handover_2021/demo.hdf5": {"unreadable": "error"},
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(real_file: Callable[[str], Path], name: str) -> None:
    found = validate(real_file(name))
    assert {f.code: f.severity for f in found.findings} == REAL[name]
    if name.startswith("robosuite"):
        assert "dtql-robot convert" in found.errors[0].problem
    if name.startswith("robocore"):
        assert "200 of 200 episodes end at the highest reward, 1;" in found.warnings[1].remedy
