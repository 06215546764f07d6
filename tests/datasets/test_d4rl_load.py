"""D4RL's flat files, above all where an episode ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dtql_robot.datasets import inspect, load, save_robomimic
from dtql_robot.datasets.formats.resets import jumps_inside
from dtql_robot.errors import InputError
from dtql_robot.types import Episode
from tests.helpers.sample_demos import make_demos

LENGTHS = (40, 30, 50, 40, 35)
ENDS = np.cumsum(LENGTHS) - 1
N = sum(LENGTHS)


def walk(seed: int = 0, stride: float = 0.1) -> Any:
    """(N, 3) random walks, one per episode, each from near the origin, and a constant."""
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=3) * 0.01 + np.cumsum(rng.normal(size=(n, 3)) * stride + 0.3, axis=0) for n in LENGTHS]
    return np.hstack([np.concatenate(parts), np.ones((N, 1))])


def marks(rows: Any) -> Any:
    found = np.zeros(N, bool)
    found[np.asarray(rows, int)] = True
    return found


def write(path: Path, **arrays: Any) -> Path:
    fields = {
        "observations": walk(),
        "actions": np.ones((N, 2)),
        "rewards": np.arange(N, dtype=float),
        "terminals": marks([]),
        "timeouts": marks([]),
    }
    with h5py.File(path, "w") as file:
        for key, value in (fields | arrays).items():
            if value is not None:
                file[key.replace("__", "/")] = value
    return path


def ends(path: Path) -> list[tuple[int, bool, bool]]:
    return [(len(e), e.terminated, e.truncated) for e in load(path).episodes]


def test_timeouts_are_ends(tmp_path: Path) -> None:
    assert ends(write(tmp_path / "f.hdf5", timeouts=marks(ENDS))) == [(n, False, True) for n in LENGTHS]


def test_terminals_and_timeouts_are_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "f.hdf5", terminals=marks(ENDS[[0, 2]]), timeouts=marks(ENDS[[1, 3]]))
    expected = [(40, True, False), (30, False, True), (50, True, False), (40, False, True), (35, False, True)]
    assert ends(path) == expected  # the last one is cut off by the end of the file
    assert inspect(path)["notes"] == []


def test_terminal_and_timeout_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "f.hdf5", terminals=marks(ENDS), timeouts=marks(ENDS))
    assert ends(path) == [(n, True, True) for n in LENGTHS]


@pytest.mark.parametrize("seed", range(5))
def test_timeouts_inside_episodes_are_disregarded(tmp_path: Path, seed: int) -> None:
    path = write(tmp_path / "f.hdf5", observations=walk(seed), terminals=marks(ENDS), timeouts=marks(ENDS - 12))
    assert ends(path) == [(n, False, True) for n in LENGTHS]
    assert "5 'timeouts' lie inside episodes" in inspect(path)["notes"][0]


def test_without_visible_resets_timeouts_keep_their_meaning(tmp_path: Path) -> None:
    smooth = np.sin(np.arange(N)[:, None] / 9)
    path = write(tmp_path / "f.hdf5", observations=smooth, terminals=marks(ENDS), timeouts=marks(ENDS - 12))
    assert [e[0] for e in ends(path)] == [28, 12, 18, 12, 38, 12, 28, 12, 23, 12]


def test_without_terminals_timeouts_keep_their_meaning(tmp_path: Path) -> None:
    path = write(tmp_path / "f.hdf5", timeouts=marks(ENDS - 12))
    assert [e[0] for e in ends(path)] == [28, 30, 50, 40, 35, 12]


@pytest.mark.parametrize("inside", [True, False])
def test_next_observations_decide_and_give_the_final_one(tmp_path: Path, inside: bool) -> None:
    obs = walk(stride=3.0)  # steps as wide as resets: observations alone could not tell
    following = np.vstack([obs[1:], obs[-1:]])
    real = ENDS if inside else np.union1d(ENDS, ENDS - 12)
    following[real] = obs[real] + 5
    path = write(
        tmp_path / "f.hdf5",
        observations=obs,
        next_observations=following,
        terminals=marks(ENDS),
        timeouts=marks(ENDS - 12),
    )
    demos = load(path)
    assert len(demos) == (5 if inside else 10)
    for episode, last in zip(demos.episodes, real, strict=True):
        assert episode.final_obs is not None
        np.testing.assert_array_equal(episode.final_obs["observation"], following[last].astype(np.float32))


def test_arrays_infos_success_and_metadata(tmp_path: Path) -> None:
    qpos = np.random.default_rng(0).normal(size=(N, 4))
    path = write(
        tmp_path / "f.hdf5",
        timeouts=marks(ENDS),
        infos__qpos=qpos,
        infos__goal_achieved=marks([39, 60]),
        metadata__algorithm=b"SAC",
        metadata__policy__weights=np.ones((3, 3)),
    )
    demos = load(path)
    assert (demos.format, demos.env_spec, demos.obs_shapes) == ("d4rl", None, {"observation": (4,)})
    assert (demos.env_args, demos.attrs) == ({}, {"metadata": {"algorithm": "SAC"}})
    assert inspect(path)["unread"] == {"metadata/policy/weights": "float64 (3, 3)"}
    episode = demos.episodes[1]
    rows = slice(40, 70)
    np.testing.assert_array_equal(episode.obs["observation"], walk()[rows].astype(np.float32))
    np.testing.assert_array_equal(episode.rewards, np.arange(N)[rows])
    np.testing.assert_array_equal(episode.extras["infos/qpos"], qpos[rows])
    assert [e.ends_in_success for e in demos.episodes] == [True, False, False, False, False]
    assert episode.success is not None
    assert np.flatnonzero(episode.success).tolist() == [20]
    assert episode.final_obs is None
    assert {a.dtype for e in demos.episodes for a in (e.actions, e.rewards, *e.obs.values())} == {np.dtype(np.float32)}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"rewards": np.zeros(N - 1)}, "^the file: 'actions' has 195 rows, 'rewards' has 194 in f.hdf5$"),
    ({"observations": np.zeros((N + 2, 3))}, "'observations' has 197"),
    ({"timeouts": np.zeros(3)}, "'timeouts' has 3"),
    ({"terminals": None}, "looks like a D4RL file but has no 'terminals'"),
    ({"rewards": None}, "has no 'rewards'"),
    ({"actions": np.full((N, 2), np.inf)}, r"'actions' is inf at \[0, 0\]"),
    ({"observations": np.where(np.arange(N * 3).reshape(N, 3) == 5, np.nan, 0)}, r"'observations' is nan at \[1, 2\]"),
    ({"actions": np.zeros((0, 2))}, r"shape \(0, 2\)"),
    ({"observations": None, "observations__a": np.zeros((N, 2))}, "observations in f.hdf5 is a group"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_malformed_files(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(write(tmp_path / "f.hdf5", **changes))


def test_no_timeouts_at_all(tmp_path: Path) -> None:
    path = write(tmp_path / "f.hdf5", terminals=marks(ENDS), timeouts=None)
    assert ends(path) == [(n, True, False) for n in LENGTHS]
    assert "split only at 'terminals'" in inspect(path)["notes"][0]


def unmarked(path: Path, **arrays: Any) -> Path:
    return write(path, terminals=marks([]), **arrays)


@pytest.mark.parametrize("timeouts", [None, marks([])], ids=["absent", "never set"])
def test_ends_that_nobody_marked_show_as_jumps(tmp_path: Path, timeouts: Any) -> None:
    path = unmarked(tmp_path / "f.hdf5", timeouts=timeouts)
    assert ends(path) == [(n, False, True) for n in LENGTHS]
    assert "4 episodes end without a mark, where the observations jump" in inspect(path)["notes"][0]


def test_some_ends_are_terminal_and_the_others_jump(tmp_path: Path) -> None:
    path = write(tmp_path / "f.hdf5", terminals=marks(ENDS[[1, 3]]), timeouts=None)
    assert ends(path) == [(40, False, True), (30, True, False), (50, False, True), (40, True, False), (35, False, True)]


@pytest.mark.parametrize("timeouts", [None, marks([])], ids=["absent", "never set"])
def test_next_observations_show_ends_that_nobody_marked(tmp_path: Path, timeouts: Any) -> None:
    obs = walk(stride=3.0)  # steps as wide as resets: observations alone could not tell
    following = np.vstack([obs[1:], obs[-1:]])
    following[ENDS] = obs[ENDS] + 0.3
    path = unmarked(tmp_path / "f.hdf5", observations=obs, next_observations=following, timeouts=timeouts)
    assert ends(path) == [(n, False, True) for n in LENGTHS]
    for episode, last in zip(load(path).episodes, ENDS, strict=True):
        assert episode.final_obs is not None
        np.testing.assert_array_equal(episode.final_obs["observation"], following[last].astype(np.float32))


def test_next_observations_that_were_only_shifted_do_not_hide_the_jumps(tmp_path: Path) -> None:
    obs = walk()
    shifted = np.vstack([obs[1:], obs[-1:]])  # across the resets, too
    path = unmarked(tmp_path / "f.hdf5", next_observations=shifted, timeouts=None)
    assert ends(path) == [(n, False, True) for n in LENGTHS]


@pytest.mark.parametrize("timeouts", [None, marks([])], ids=["absent", "never set"])
def test_without_any_sign_of_an_end_the_length_is_asked_for(tmp_path: Path, timeouts: Any) -> None:
    smooth = np.sin(np.arange(N)[:, None] / 9)
    path = unmarked(tmp_path / "f.hdf5", observations=smooth, timeouts=timeouts)
    with pytest.raises(InputError, match=r"episodes cannot be told apart.*--episode-length N"):
        load(path)
    demos = load(path, episode_length=50)
    assert [len(e) for e in demos.episodes] == [50, 50, 50, 45]
    assert all(e.truncated and not e.terminated for e in demos.episodes)


def test_the_episode_length_counts_from_each_marked_end(tmp_path: Path) -> None:
    path = write(tmp_path / "f.hdf5", terminals=marks([19, 99]), timeouts=None)
    found = [(len(e), e.terminated) for e in load(path, episode_length=50).episodes]
    assert found == [(20, True), (50, False), (30, True), (50, False), (45, False)]
    with pytest.raises(InputError, match="episode length is 0"):
        load(path, episode_length=0)


def test_only_d4rl_files_take_an_episode_length(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(2), tmp_path / "f.hdf5")
    with pytest.raises(InputError, match="robomimic file, which says where its episodes end"):
        load(path, episode_length=5)


def test_shuffled_transitions_are_no_recording(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(N)
    obs = walk()
    path = unmarked(tmp_path / "f.hdf5", observations=obs[order], next_observations=obs[order] + 0.1, timeouts=None)
    with pytest.raises(InputError, match="do not follow each other"):
        load(path)


def test_a_gripper_is_no_reset(tmp_path: Path) -> None:
    """One entry of ten that leaps now and then, in one long smooth episode."""
    smooth = np.cumsum(np.random.default_rng(0).normal(size=(N, 10)), axis=0)
    smooth[:, 3] = np.arange(N) // 40 % 2
    with pytest.raises(InputError, match="show no reset"):
        load(unmarked(tmp_path / "f.hdf5", observations=smooth, timeouts=None))


@pytest.mark.parametrize(
    "name", ["d4rl_door_human_v0/door-v0_demos_clipped.hdf5", "robocore_lift_scripted/low_dim.hdf5"]
)
def test_real_recordings_without_their_marks(tmp_path: Path, real_file: Callable[[str], Path], name: str) -> None:
    demos = load(real_file(name))
    key = next(iter(demos.obs_shapes))
    path = tmp_path / "f.hdf5"
    with h5py.File(path, "w") as file:
        file["observations"] = np.concatenate([e.obs[key] for e in demos.episodes])
        file["actions"] = np.concatenate([e.actions for e in demos.episodes])
        file["rewards"] = np.concatenate([e.rewards for e in demos.episodes])
        file["terminals"] = np.zeros(demos.num_transitions, bool)
    assert [len(e) for e in load(path).episodes] == [len(e) for e in demos.episodes]
    assert jumps_inside(demos) == []
    joined = replace(demos, episodes=(join(demos.episodes[0], demos.episodes[1]), *demos.episodes[2:]))
    assert jumps_inside(joined) == [(demos.episodes[0].name, len(demos.episodes[0]) - 1)]


def join(first: Episode, second: Episode) -> Episode:
    return replace(
        first,
        obs={k: np.concatenate([v, second.obs[k]]) for k, v in first.obs.items()},
        actions=np.concatenate([first.actions, second.actions]),
        rewards=np.concatenate([first.rewards, second.rewards]),
        success=None,
        extras={},
    )


def test_infos_that_are_one_array(real_file: Callable[[str], Path]) -> None:
    demos = load(real_file("gda_fetch/FetchPush-v2.hdf5"))
    assert (len(demos), demos.num_transitions, demos.obs_shapes) == (3, 150, {"observation": (28,)})
    assert [e.extras["infos"].shape for e in demos.episodes] == [(len(e),) for e in demos.episodes]


def test_unknown_keys_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "f.hdf5")
    with pytest.raises(InputError, match="no observation 'robot'; available: observation"):
        load(path, obs_keys=["robot"])
    with pytest.raises(InputError, match="has no filter keys; 'train' was requested"):
        load(path, filter_key="train")


def test_public_door_file(real_file: Callable[[str], Path]) -> None:
    path = real_file("d4rl_door_human_v0/door-v0_demos_clipped.hdf5")
    demos = load(path)
    lengths = [len(e) for e in demos.episodes]
    assert (len(demos), demos.num_transitions, min(lengths), max(lengths)) == (25, 6729, 223, 300)
    assert demos.obs_shapes == {"observation": (39,)}
    assert demos.action_dim == 28
    assert all(e.truncated and not e.terminated and e.final_obs is None for e in demos.episodes)
    assert all(e.extras["infos/qpos"].shape == (len(e), 30) for e in demos.episodes)
    assert sum(float(e.obs["observation"][:, 28].max()) >= 1.35 for e in demos.episodes) == 8
    with h5py.File(path) as file:
        np.testing.assert_array_equal(np.concatenate([e.actions for e in demos.episodes]), file["actions"])
    assert "25 'timeouts' lie inside episodes" in inspect(path)["notes"][0]
