"""LeRobot folders that are damaged, odd or without notes of ours: what is read, and what is refused."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtql_robot.datasets import inspect, load, save_lerobot, validate
from dtql_robot.errors import InputError
from dtql_robot.types import Demonstrations
from tests.helpers.lerobot_demos import picture_demos

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (pip install 'dtql-robot[lerobot]')")
av = pytest.importorskip("av", reason="av is not installed (pip install 'dtql-robot[lerobot]')")


@pytest.fixture(params=["v2.1", "v3.0"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A small folder with videos."""
    return save_lerobot(picture_demos(), tmp_path / "data", version=request.param, video=True)


def read(folder: Path) -> Demonstrations:
    return load(folder, obs_keys=["front_image", "robot"])


def one(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def edit_info(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    info = json.loads((folder / "meta/info.json").read_text())
    change(info)
    (folder / "meta/info.json").write_text(json.dumps(info))


def cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.9])
def test_cut_videos(folder: Path, share: float) -> None:
    cut(one(folder, "videos/**/*.mp4"), share)
    with pytest.raises(
        InputError, match=r"\.mp4 (cannot be decoded|is not an mp4|ends after|is damaged|contains no video)"
    ):
        read(folder)


def test_damaged_videos(folder: Path) -> None:
    video = one(folder, "videos/**/*.mp4")
    content = bytearray(video.read_bytes())
    start = content.index(b"mdat") + 900  # behind what the encoder says of itself
    content[start : start + 400] = bytes(range(1, 201)) * 2
    video.write_bytes(content)
    with pytest.raises(InputError, match=r"\.mp4 .*(damaged|cut short|contains no video)"):
        read(folder)


def test_a_playlist_is_no_video(folder: Path) -> None:
    one(folder, "videos/**/*.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n")
    with pytest.raises(InputError, match="is not an mp4 video"):
        read(folder)


def test_more_and_fewer_frames_than_rows(tmp_path: Path) -> None:
    few, many = picture_demos(steps=(6, 6)), picture_demos(steps=(9, 9))
    folder = save_lerobot(few, tmp_path / "few", version="v2.1", video=True)
    other = save_lerobot(many, tmp_path / "many", version="v2.1", video=True)
    video, longer = one(folder, "videos/**/*.mp4"), one(other, "videos/**/*.mp4")
    shutil.copy(longer, video)
    with pytest.raises(InputError, match=r"episode_0: the video of .* has 9 frames, but the table has 6 rows"):
        read(folder)
    shutil.copy(one(save_lerobot(few, tmp_path / "again", version="v2.1", video=True), "videos/**/*.mp4"), longer)
    with pytest.raises(InputError, match="ends after 6 of the episode's 9 frames"):
        read(other)


def test_a_wrong_rate_is_told(folder: Path) -> None:
    edit_info(folder, lambda info: info.update(fps=31))
    if "v2.1" in (folder / "meta/info.json").read_text():
        with pytest.raises(InputError, match=r"timestamp of step 1 is 0.0500 s; expected 0.0323 s at fps 31"):
            read(folder)
    else:  # the times that the rows name are what counts
        assert read(folder).episodes[0].extras["timestamp"][1] == np.float32(0.05)


def test_timestamps_between_the_frames(tmp_path: Path) -> None:
    import pyarrow as pa

    folder = save_lerobot(picture_demos(), tmp_path / "data", video=True)
    path = one(folder, "data/**/*.parquet")
    table = pq.read_table(path)
    times = np.array(table.column("timestamp").to_pylist(), np.float32) + np.float32(0.02)
    pq.write_table(table.set_column(table.column_names.index("timestamp"), "timestamp", pa.array(times)), path)
    with pytest.raises(InputError, match=r"has no frame at 0.0200 s, where step 0 of the episode lies"):
        read(folder)


def test_files_that_are_missing(folder: Path) -> None:
    for pattern in ("videos/**/*.mp4", "data/**/*.parquet", "meta/tasks.*", "meta/info.json"):
        path = one(folder, pattern)
        path.rename(path.with_suffix(".away"))
        with pytest.raises(InputError, match=r"has no (videos|data|meta)/|without its meta/info\.json"):
            read(folder)
        path.with_suffix(".away").rename(path)
    assert len(read(folder)) == 2


@pytest.mark.parametrize("pattern", ["data/**/*.parquet", "meta/tasks.parquet", "meta/episodes/**/*.parquet"])
def test_damaged_tables(tmp_path: Path, pattern: str) -> None:
    folder = save_lerobot(picture_demos(), tmp_path / "data")
    path = one(folder, pattern)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"PAR1" + bytes(40), whole[:8] + bytes(64) + whole[72:]):
        path.write_bytes(content)
        with contextlib.suppress(InputError):  # and nothing else; some bytes of a table do not matter
            read(folder)


CHANGES: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda info: info.update(codebase_version="v4.0"), r"of version 'v4.0'; v2.0, v2.1, v3.0 are read"),
    (lambda info: info.update(codebase_version="v1.6"), "of version 'v1.6'"),
    (lambda info: info.pop("codebase_version"), "lacks codebase_version"),
    (lambda info: info.pop("features"), "lacks features"),
    (lambda info: info.update(fps=0), "fps is 0"),
    (lambda info: info.update(fps="ten"), "fps is 'ten'"),
    (lambda info: info.update(total_episodes=5), "says 5 episodes, the folder meta lists 2"),
    (lambda info: info.update(data_path="../../data/meta"), "points outside the data set|has no ../../|not a regular"),
    (lambda info: info.update(data_path="/etc/hostname"), "points outside the data set"),
    (lambda info: info.update(data_path="{episode_index.__class__}"), "has a malformed path"),
    (lambda info: info.update(data_path="{home}"), "with the unknown field 'home'"),
    (lambda info: info.update(video_path=None), "no video_path"),
    (lambda info: info["features"].pop("action"), "no feature 'action'"),
    (lambda info: info["features"]["action"].update(shape=[3]), r"values in \d+ rows|3 numbers per row"),
    (lambda info: info["features"]["action"].update(shape=[2**40]), "claims far more values|2 numbers|values in"),
    (lambda info: info["features"]["observation.images.front"].update(shape=[999, 24, 3]), "frames of 16 x 24 pixels"),
    (lambda info: info["features"]["observation.images.front"].update(shape=[16, 24, 4]), r"\(height, width, 1 or 3\)"),
]


@pytest.mark.parametrize(("change", "sentence"), CHANGES)
def test_info_that_cannot_be(folder: Path, change: Callable[[dict[str, Any]], Any], sentence: str) -> None:
    edit_info(folder, change)
    with pytest.raises(InputError, match=sentence):
        read(folder)


def test_links_lead_nowhere_but_to_the_hubs_blobs(tmp_path: Path) -> None:
    whole = save_lerobot(picture_demos(), tmp_path / "whole")
    snapshot, blobs = tmp_path / "hub/snapshots/1", tmp_path / "hub/blobs"
    blobs.mkdir(parents=True)
    for file in (p for p in whole.rglob("*") if p.is_file()):
        link = snapshot / file.relative_to(whole)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blobs / file.name)
        link.symlink_to(blobs / file.name)
    shutil.copy(one(whole, "data/**/*.parquet"), blobs / "data")
    table = one(snapshot, "data/**/*.parquet")
    table.unlink()
    table.symlink_to(blobs / "data")
    for name in ("meta/episodes/chunk-000/file-000.parquet",):
        (snapshot / name).unlink()
        shutil.copy(whole / name, snapshot / name)
    assert len(load(snapshot)) == 2
    table.unlink()
    table.symlink_to(one(whole, "data/**/*.parquet"))
    with pytest.raises(InputError, match="points outside the data set"):
        load(snapshot)


def test_rows_that_contradict_the_notes(tmp_path: Path) -> None:
    import pyarrow as pa

    folder = save_lerobot(picture_demos(), tmp_path / "data")
    path = one(folder, "data/**/*.parquet")
    table = pq.read_table(path)
    frames = table.column("frame_index").to_pylist()
    broken = {
        "frame_index does not count": ("frame_index", frames[::-1]),
        "rows instead of": ("episode_index", [0] * len(frames)),
        "not contiguous": ("episode_index", [0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]),
    }
    for sentence, (column, values) in broken.items():
        index = table.column_names.index(column)
        pq.write_table(table.set_column(index, column, pa.array(values)), path)
        with pytest.raises(InputError, match=sentence):
            load(folder)
    pq.write_table(table.drop_columns(["next.success"]), path)
    with pytest.raises(InputError, match=r"no column .next\.success."):
        load(folder)
    pq.write_table(table.set_column(0, "action", pa.array([[None, 1.0]] * len(frames))), path)
    with pytest.raises(InputError, match="missing values"):
        load(folder)


def test_validate_names_every_bad_episode(tmp_path: Path) -> None:
    folder = save_lerobot(picture_demos(), tmp_path / "data", version="v2.1")
    one(folder, "data/**/*.parquet").write_bytes(b"PAR1")
    findings = validate(folder).findings
    assert any(f.severity == "error" and "damaged" in str(f) for f in findings), findings


@pytest.mark.parametrize("package", ["pyarrow", "av"])
def test_without_the_packages_it_is_one_sentence(folder: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"`pip install 'dtql-robot\[lerobot\]'`"):
        read(folder)


def test_without_notes_of_ours_it_is_read_by_convention(folder: Path) -> None:
    (folder / "meta/dtql_robot.json").unlink()
    demos = load(folder, obs_keys=["observation", "observation.images.front"])
    assert demos.obs_shapes == {"observation": (5,), "front_image": (16, 24, 3)}
    assert demos.attrs["fps"] == 20
    assert demos.attrs["names"]["observation.state"] == ["robot.0", "robot.1", "robot.2", "robot.3", "gripper"]
    assert (demos.env_spec, demos.env_args) == (None, {})


def test_openpi_names_and_rewards_that_mean_success(tmp_path: Path) -> None:
    folder = save_lerobot(picture_demos(), tmp_path / "data", version="v2.1")
    (folder / "meta/dtql_robot.json").unlink()
    names = {"action": "actions", "observation.state": "state", "observation.images.front": "image"}
    drop = ["next.success", "next.truncated"]

    def rename(info: dict[str, Any]) -> None:
        info["features"] = {names.get(k, k): v for k, v in info["features"].items() if k not in drop}

    edit_info(folder, rename)
    lines = [json.loads(line) for line in (folder / "meta/episodes.jsonl").read_text().splitlines()]
    kept = [json.dumps({k: v for k, v in line.items() if k != "dtql_robot"}) for line in lines]
    (folder / "meta/episodes.jsonl").write_text("\n".join(kept))
    for path in folder.glob("data/**/*.parquet"):
        table = pq.read_table(path).drop_columns(drop)
        pq.write_table(table.rename_columns([names.get(c, c) for c in table.column_names]), path)
    demos = load(folder, obs_keys=["state", "image"])
    assert demos.obs_shapes == {"state": (5,), "image": (16, 24, 3)}
    assert [e.ends_in_success for e in demos.episodes] == [True, False]
    assert any("success is read from the rewards" in note for note in inspect(folder)["notes"])
