"""Recorded demonstrations succeed in the simulator as they did when they were recorded."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load, save_robomimic
from dtql_robot.envs.collection.collect import collect
from dtql_robot.errors import InputError
from dtql_robot.replay.playback import play_back

DOOR = "d4rl_door_human_v0/door-v0_demos_clipped.hdf5"


def real(real_data: Path, name: str) -> Path:
    if not (real_data / name).is_file():
        pytest.skip(f"{real_data / name} is not there")
    return real_data / name


@pytest.mark.slow
def test_door_demonstrations_open_loop(real_data: Path) -> None:
    demos = load(real(real_data, DOOR))
    found = play_back(demos, env="AdroitHandDoor-v1", progress=False)
    opened = [bool((e.obs["observation"][:, 28] >= 1.35).any()) for e in demos.episodes]
    assert [e.success for e in found.episodes] == opened
    assert sum(opened) == 8
    assert min(e.agrees for e in found.episodes if e.agrees is not None) >= 35
    assert "8 of 25 succeed" in str(found)


def test_states_without_a_judge_say_so(real_data: Path) -> None:
    demos = load(real(real_data, DOOR))
    few = dataclasses.replace(demos, episodes=demos.episodes[:2])
    found = play_back(few, env="AdroitHandDoor-v1", use="states", progress=False)
    assert [e.success for e in found.episodes] == [None, None]
    assert "cannot be judged" in str(found)


def test_collected_demonstrations_repeat_exactly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demos = collect("FetchPush-v4", 3, seed=5, workers=1, progress=False)
    path = save_robomimic(demos, tmp_path / "push.hdf5")
    assert main(["playback", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    for recorded, played in zip(demos.episodes, report["episodes"], strict=True):
        assert played["success"] == played["recorded"] == recorded.ends_in_success
        assert played["agrees"] == len(recorded) + 1


@pytest.mark.slow
def test_disturbed_demonstrations_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file alone tells it."""
    demos = collect("FetchPush-v4", 3, seed=5, record="intended", workers=1, progress=False)
    path = save_robomimic(demos, tmp_path / "push.hdf5")
    assert main(["playback", str(path)]) == 0
    assert "noise disturbed the robot in 3, which their actions do not contain" in capsys.readouterr().out
    plain = play_back(collect("FetchReach-v4", 2, workers=1, progress=False), progress=False)
    assert "disturbed" not in str(plain)
    assert "for 50 of 50 steps" in str(plain)  # the observation after the last step agrees too, and is no 51st step


@pytest.mark.slow
@pytest.mark.gl
def test_video(tmp_path: Path) -> None:
    demos = collect("FetchReach-v4", 2, workers=1, progress=False)
    path = save_robomimic(demos, tmp_path / "reach.hdf5")
    video = tmp_path / "reach.mp4"
    assert main(["playback", str(path), "--episodes", "1", "--video", str(video), "--video-episodes", "1"]) == 0
    import imageio.v2 as imageio

    frames = imageio.mimread(video, memtest=False)
    assert len(frames) > 50
    assert frames[0].shape[1] == 320


def test_what_cannot_be_replayed_is_said(tmp_path: Path) -> None:
    demos = collect("FetchReach-v4", 1, workers=1, progress=False)
    nameless = dataclasses.replace(demos, env_spec=None)
    with pytest.raises(InputError, match="names no environment"):
        play_back(nameless, progress=False)
    seedless = dataclasses.replace(demos, episodes=tuple(dataclasses.replace(e, attrs={}) for e in demos.episodes))
    with pytest.raises(InputError, match="neither its simulator states nor the seed"):
        play_back(seedless, progress=False)
    for seed in (-5, 2**70):
        odd = tuple(dataclasses.replace(e, attrs={"seed": seed}) for e in demos.episodes)
        with pytest.raises(InputError, match=f"recorded seed of its reset is {seed}; expected 0 to"):
            play_back(dataclasses.replace(demos, episodes=odd), progress=False)
    with pytest.raises(InputError, match="no recorded states"):
        play_back(demos, use="states", progress=False)
    qpos = {"infos/qpos": np.zeros((50, 3)), "infos/qvel": np.zeros((50, 3))}
    other = dataclasses.replace(demos, episodes=tuple(dataclasses.replace(e, extras=qpos) for e in demos.episodes))
    with pytest.raises(InputError, match="FetchReach-v4 cannot be put into a recorded state"):
        play_back(other, progress=False)
    with pytest.raises(InputError, match="does not fit Hopper-v5: qpos and qvel have"):
        play_back(other, env="Hopper-v5", progress=False)


def write_raw(path: Path) -> str:
    """A recording of robosuite states in which a state has 5 entries, too few for any scene."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {"robots": "Panda"}})
        data["demo_0/states"], data["demo_0/actions"] = np.zeros((4, 5)), np.zeros((4, 7))
    return str(path)


def test_a_raw_recording_without_robosuite_names_its_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "robosuite", None)  # as if it were not installed
    assert main(["playback", write_raw(tmp_path / "raw.hdf5")]) == 2
    assert "pip install 'dtql-robot[robosuite]'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_raw_recording_whose_states_do_not_fit_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("robosuite", reason="robosuite is not installed (pip install 'dtql-robot[robosuite]')")
    raw = write_raw(tmp_path / "raw.hdf5")
    assert main(["playback", raw]) == 2
    assert "its states have 5 entries" in capsys.readouterr().err
    assert main(["convert", raw, str(tmp_path / "out.hdf5"), "--workers", "1"]) == 2
    assert "its states have 5 entries" in capsys.readouterr().err
    assert not (tmp_path / "out.hdf5").exists()
