"""Episodes that are kept while a collection goes on are read as they were."""

import dataclasses

import numpy as np
import pytest

from dtql_robot.envs.collection.parts import read_part, write_part
from dtql_robot.errors import InputError
from dtql_robot.experiments.travel import located, renamed, travelling, unpack, write_files
from dtql_robot.types import Episode

FULL = Episode(
    name="demo_3",
    obs={"state": np.arange(6, dtype=np.float32).reshape(3, 2), "front_image": np.zeros((3, 4, 4, 3), np.uint8)},
    final_obs={"state": np.ones(2, np.float32)},
    actions=np.ones((3, 1), np.float32),
    rewards=np.array([0, 0.5, 1], np.float32),
    terminated=False,
    truncated=True,
    success=np.array([False, False, True]),
    extras={"infos/qpos": np.ones((3, 5))},
    attrs={"seed": 7, "noise": 0.3, "lapse": None, "counts": np.int64(2)},
    masks=np.array([True, True, False]),
)
BARE = dataclasses.replace(FULL, final_obs=None, success=None, extras={}, attrs={}, masks=None)


@pytest.mark.parametrize("episode", [FULL, BARE])
def test_a_kept_episode_is_read_as_it_was(episode, tmp_path):
    write_part(tmp_path / "0.npz", episode)
    found = read_part(tmp_path / "0.npz")
    for field in dataclasses.fields(Episode):  # so that a field which is added is not forgotten
        mine, theirs = getattr(episode, field.name), getattr(found, field.name)
        np.testing.assert_equal(theirs, mine, err_msg=field.name)
        for one, other in _arrays(mine, theirs):
            assert one.dtype == other.dtype


def _arrays(mine, theirs):
    if isinstance(mine, np.ndarray):
        yield mine, theirs
    elif isinstance(mine, dict):
        yield from ((mine[key], theirs[key]) for key in mine if isinstance(mine[key], np.ndarray))


class Apart:
    """A cluster whose machines see none of our files."""

    def sees(self, path):
        return False


def test_demonstrations_travel_by_file_and_by_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.hdf5").write_bytes(b"a")
    (tmp_path / "store.zarr" / "data").mkdir(parents=True)
    (tmp_path / "store.zarr" / "data" / "0").write_bytes(b"z")
    (tmp_path / "cube-single-play-v0.npz").write_bytes(b"c")
    (tmp_path / "cube-single-play-v0-val.npz").write_bytes(b"v")
    task = "cube-single-play-singletask-task2-v0.npz"  # a name for what the recording beside it holds
    data = located(f"a.hdf5,store.zarr,{task},robomimic:lift/mh/low_dim")
    assert data.split(",")[0] == str(tmp_path / "a.hdf5")
    sources = travelling(Apart(), [data])
    names = renamed(data, unpack(sources, tmp_path / "there")).split(",")
    assert [name.rsplit("/", 1)[1] for name in names[:3]] == ["a.hdf5", "store.zarr", task]
    assert names[3] == "robomimic:lift/mh/low_dim"
    there = tmp_path / "there"
    found = {p.relative_to(there).as_posix(): p.read_bytes() for p in there.rglob("*") if p.is_file()}
    assert found == {
        "0/a.hdf5": b"a",
        "1/store.zarr/data/0": b"z",
        "2/cube-single-play-v0.npz": b"c",
        "2/cube-single-play-v0-val.npz": b"v",
    }


def test_files_stay_in_their_folder(tmp_path):
    for name in ("../a", "/tmp/a", "b/../../a"):
        with pytest.raises(InputError, match="leads out of its folder"):
            write_files(tmp_path / "run", {name: b""})
