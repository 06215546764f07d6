"""What is written as a LeRobot folder comes back unchanged, and looks as LeRobot's own files do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from dtql_robot.cli import main
from dtql_robot.datasets import load, save_lerobot
from dtql_robot.datasets.formats.lerobot.write import cannot_hold
from dtql_robot.errors import InputError
from dtql_robot.types import Demonstrations
from tests.helpers.lerobot_demos import picture_demos, rich_demos
from tests.helpers.sample_demos import assert_same_arrays, assert_same_episode, assert_same_source, demonstrations

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (pip install 'dtql-robot[lerobot]')")
pytest.importorskip("av", reason="av is not installed (pip install 'dtql-robot[lerobot]')")

WRITTEN = Path(__file__).parent / "lerobot"


def assert_same(a: Demonstrations, b: Demonstrations) -> None:
    assert_same_source(a, b)
    for one, other in zip(a.episodes, b.episodes, strict=True):
        assert_same_episode(one, other)
        assert_same_arrays(one.masks, other.masks)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_everything_comes_back(tmp_path: Path, version: str) -> None:
    demos = rich_demos()
    again = load(save_lerobot(demos, tmp_path / "d", version=version), obs_keys=list(demos.obs_shapes))
    assert_same(demos, again)
    assert cannot_hold(demos) == []


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(demos=demonstrations())
@pytest.mark.slow
def test_any_demonstrations_come_back(tmp_path_factory: pytest.TempPathFactory, demos: Demonstrations) -> None:
    folder = save_lerobot(demos, tmp_path_factory.mktemp("any") / "d")
    lost = cannot_hold(demos)
    again = load(folder, obs_keys=list(demos.obs_shapes))
    for one, other in zip(demos.episodes, again.episodes, strict=True):
        kept = {k: v for k, v in one.extras.items() if not lost or k in other.extras}
        assert_same_episode(replace(one, extras=kept), other)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_videos_lose_little_and_nothing_else(tmp_path: Path, version: str) -> None:
    demos = picture_demos((6, 9, 4))
    again = load(
        save_lerobot(demos, tmp_path / "d", version=version, video=True), obs_keys=["robot", "gripper", "front_image"]
    )
    for a, b in zip(demos.episodes, again.episodes, strict=True):
        difference = np.abs(a.obs["front_image"].astype(int) - b.obs["front_image"])
        assert 0 < difference.mean() < 6
        assert_same_episode(a, replace(b, obs={**b.obs, "front_image": a.obs["front_image"]}))
    assert "videos are compressed" in cannot_hold(demos, video=True)[0]


@pytest.mark.parametrize(("version", "theirs"), [("v2.1", "image_v21"), ("v3.0", "image_v30")])
def test_files_and_columns_are_those_of_lerobot(tmp_path: Path, version: str, theirs: str) -> None:
    """The same data through our writer: the same files, columns with the same types, the same notes."""
    given = WRITTEN / theirs
    demos = load(given, obs_keys=["observation", "environment_state", "front_image"])
    ours = save_lerobot(demos, tmp_path / "d", version=version)
    names = {p.relative_to(given).as_posix() for p in given.rglob("*") if p.is_file()}
    assert {p.relative_to(ours).as_posix() for p in ours.rglob("*") if p.is_file()} == names | {"meta/dtql_robot.json"}
    info, expected = (json.loads((f / "meta/info.json").read_text()) for f in (ours, given))
    assert info["features"].pop("next.truncated") == {"dtype": "bool", "shape": [1], "names": None}
    assert info == expected
    for path in names:
        if path.endswith(".parquet"):
            schema, wanted = pq.read_schema(ours / path), pq.read_schema(given / path)
            extra = {"next.truncated", "dtql_robot"} | {n for n in schema.names if n.startswith("stats/next.truncated")}
            assert set(schema.names) - extra == set(wanted.names)
            for name in set(wanted.names) - {"__index_level_0__"}:
                if "force" in name or "stats/observation.images" in name:  # of other depth in theirs
                    continue
                assert schema.field(name).type == wanted.field(name).type, name
    statistics = "meta/stats.json" if version == "v3.0" else "meta/episodes_stats.jsonl"
    a, b = ((f / statistics).read_text().splitlines() for f in (ours, given))
    a, b = (json.loads("".join(t) if version == "v3.0" else t[0]) for t in (a, b))
    a, b = (x if version == "v3.0" else x["stats"] for x in (a, b))
    for feature in set(b) - {"force"}:
        for name in ("min", "max", "mean", "std", "count"):
            if name == "std" and "images" in feature and version == "v3.0":
                continue  # 0.4.4 adds up the episodes' in another way
            found, wanted = np.asarray(a[feature][name], float), np.asarray(b[feature][name], float)
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6, err_msg=f"{feature} {name}")


def test_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtql_robot.datasets.formats.lerobot.tables_out.Folder._full", lambda *_: True)
    demos = picture_demos((4, 5, 6))
    folder = save_lerobot(demos, tmp_path / "d", video=True)
    assert len(list(folder.glob("data/**/*.parquet"))) == len(list(folder.glob("videos/**/*.mp4"))) == 3
    again = load(folder, obs_keys=["robot", "front_image"], filter_key="2,0")
    assert [len(e) for e in again.episodes] == [4, 6]
    np.testing.assert_array_equal(again.episodes[1].obs["robot"], demos.episodes[2].obs["robot"])


def test_odd_names_are_kept_apart(tmp_path: Path) -> None:
    demos = picture_demos()
    odd = ["a/b", "a.b", "../x", "timestamp", "action", "observation.state", "next.done", "ä ö", "masks"]
    extras = [{k: np.full(len(e), i, np.int64) for i, k in enumerate(odd)} for e in demos.episodes]
    obs = [{**e.obs, "../cam_image": e.obs["front_image"]} for e in demos.episodes]
    episodes = tuple(replace(e, obs=o, extras=x) for e, o, x in zip(demos.episodes, obs, extras, strict=True))
    demos = replace(demos, episodes=episodes)
    folder = save_lerobot(demos, tmp_path / "d", video=True)
    assert not [p for p in tmp_path.rglob("*cam*") if not p.is_relative_to(folder)]
    again = load(folder, obs_keys=["robot"])
    for a, b in zip(demos.episodes, again.episodes, strict=True):
        assert_same_arrays(a.extras, b.extras)


def test_the_rate_is_the_sources_own(tmp_path: Path) -> None:
    demos = picture_demos()
    for rate, changed in (
        (20, demos),
        (12.5, replace(demos, attrs={"fps": 12.5})),
        (10, replace(demos, env_args={"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 10}})),
    ):
        folder = save_lerobot(changed, tmp_path / "d", video=True, overwrite=True)
        assert json.loads((folder / "meta/info.json").read_text())["fps"] == rate
        assert load(folder, obs_keys=["front_image"]).attrs == changed.attrs
    with pytest.raises(InputError, match="a number above 0"):
        save_lerobot(demos, tmp_path / "e", fps=0)


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    folder = save_lerobot(picture_demos(), tmp_path / "d")
    with pytest.raises(InputError, match="exists already"):
        save_lerobot(picture_demos(), folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine").write_text("x")
    with pytest.raises(InputError, match=r"contains no meta/info\.json"):
        save_lerobot(picture_demos(), tmp_path / "other", overwrite=True)
    bad = replace(picture_demos().episodes[0], rewards=np.zeros(3, np.float32))
    with pytest.raises(InputError):
        save_lerobot(replace(picture_demos(), episodes=(bad,)), tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


def test_convert_says_what_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dtql_robot.datasets import save_robomimic

    source = save_robomimic(picture_demos(), tmp_path / "a.hdf5", masks={"few": [1]})
    options = ["--format", "lerobot", "--lerobot-version", "v2.1", "--video"]
    assert main(["convert", str(source), str(tmp_path / "b"), *options]) == 0
    said = capsys.readouterr().out
    assert "20 steps per second are noted" in said
    assert "note: LeRobot has no place for every last bit of front_image" in said
    assert [e.name for e in load(tmp_path / "b", filter_key="few").episodes] == ["episode_1"]
    assert main(["convert", str(tmp_path / "b"), str(tmp_path / "c.hdf5")]) == 0
    assert len(load(tmp_path / "c.hdf5", filter_key="few")) == 1
