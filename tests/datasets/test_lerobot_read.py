"""LeRobot datasets that LeRobot itself wrote, read without it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load
from dtql_robot.datasets.loader import read_source
from dtql_robot.errors import InputError

pytest.importorskip("pyarrow", reason="pyarrow is not installed (pip install 'dtql-robot[lerobot]')")
pytest.importorskip("av", reason="av is not installed (pip install 'dtql-robot[lerobot]')")

WRITTEN = Path(__file__).parent / "lerobot"
"""Folders that lerobot wrote; beside each, what was given to it and what its loader returned (every fourth pixel)."""


CAMERAS = {"observation.images.front": "front_image", "observation.images.wrist": "wrist_image"}


@pytest.mark.parametrize("name", ["video_v21", "video_v30", "image_v21", "image_v30"])
def test_as_lerobot_reads_its_own(name: str) -> None:
    given = np.load(WRITTEN / f"{name}.npz")
    cameras = {k: v for k, v in CAMERAS.items() if f"frames|{k}" in given}
    demos = load(WRITTEN / name, obs_keys=["observation", "environment_state", *cameras])
    for i, episode in enumerate(demos.episodes):
        np.testing.assert_array_equal(episode.obs["observation"], given[f"{i}|observation.state"])
        np.testing.assert_array_equal(episode.obs["environment_state"], given[f"{i}|observation.environment_state"])
        np.testing.assert_array_equal(episode.actions, given[f"{i}|action"])
        np.testing.assert_array_equal(episode.rewards, given[f"{i}|next.reward"][:, 0])
        np.testing.assert_array_equal(episode.success, given[f"{i}|next.success"][:, 0])
        np.testing.assert_array_equal(episode.extras["force"], given[f"{i}|force"])
        assert episode.extras["force"].dtype == np.float64
        assert episode.attrs == {"task": ["lift the cube", "push it"][i]}
        assert (episode.name, episode.terminated, episode.truncated) == (f"episode_{i}", i == 0, i == 1)
    for feature, key in cameras.items():
        frames = np.concatenate([e.obs[key] for e in demos.episodes])
        np.testing.assert_array_equal(frames[:, ::4, ::4], given[f"frames|{feature}"])
    assert demos.attrs == {
        "fps": 10,
        "robot_type": "panda",
        "names": {"observation.state": ["x", "y", "z", "g"], "action": ["dx", "dy"]},
    }
    assert demos.format == "lerobot"


def test_pictures_are_listed_and_left_out_by_default() -> None:
    reading = read_source(WRITTEN / "video_v30")
    assert set(reading.demos.obs_shapes) == {"observation", "environment_state"}
    assert reading.left_out == dict.fromkeys(CAMERAS.values(), "uint8 (32, 48, 3)")
    assert reading.filter_keys == {"train": ["episode_0", "episode_1"]}


@pytest.mark.parametrize(("asked", "names"), [("1", [1]), ("0:1", [0]), ("1,0", [0, 1]), ("train", [0, 1])])
@pytest.mark.parametrize("folder", ["video_v21", "video_v30"])
def test_episodes_are_chosen_by_index_or_split(folder: str, asked: str, names: list[int]) -> None:
    whole = load(WRITTEN / folder, obs_keys=["front_image"])
    chosen = load(WRITTEN / folder, obs_keys=["front_image"], filter_key=asked)
    assert [e.name for e in chosen.episodes] == [f"episode_{i}" for i in names]
    for i, episode in zip(names, chosen.episodes, strict=True):
        np.testing.assert_array_equal(episode.obs["front_image"], whole.episodes[i].obs["front_image"])


@pytest.mark.parametrize(
    ("asked", "sentence"), [("7", "names episode 7"), ("0:0", "selects no"), ("x", "no split 'x'")]
)
def test_episodes_that_are_not_there(asked: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load(WRITTEN / "video_v30", filter_key=asked)


def test_large_ones_are_decoded_once_and_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtql_robot.datasets.cache.read_through.__defaults__", (0,))
    first = load(WRITTEN / "video_v21", obs_keys=["front_image"])
    monkeypatch.setattr("dtql_robot.datasets.formats.lerobot.video.Video.read", None)
    again = load(WRITTEN / "video_v21", obs_keys=["front_image"])
    for a, b in zip(first.episodes, again.episodes, strict=True):
        assert isinstance(b.obs["front_image"].base, np.memmap | np.ndarray)
        np.testing.assert_array_equal(a.obs["front_image"], b.obs["front_image"])


@pytest.mark.slow
def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(shutil.copytree(WRITTEN / "video_v30", tmp_path / "lift"))
    assert main(["inspect", data]) == 0
    assert "(lerobot)" in capsys.readouterr().out
    assert main(["inspect", data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trees"][data][0]["path"] == "observation.state"
    assert main(["validate", data]) == 0
    for out, layout in (("a.hdf5", "auto"), ("b", "lerobot")):
        assert main(["convert", data, str(tmp_path / out), "--format", layout]) == 0
        again = load(tmp_path / out, obs_keys=["observation", "front_image"])
        for a, b in zip(load(data, obs_keys=["observation", "front_image"]).episodes, again.episodes, strict=True):
            np.testing.assert_array_equal(a.obs["front_image"], b.obs["front_image"])
            assert a.attrs == b.attrs
    assert main(["split", data, "--train", "0.5"]) == 0
    assert main(["split", data, "--train", "0.5"]) == 2
    halves = [load(data, filter_key=key).episodes for key in ("train", "valid")]
    assert {e.name for half in halves for e in half} == {"episode_0", "episode_1"}
