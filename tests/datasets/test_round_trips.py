"""From every format into every other that holds what it holds, and back: nothing changes."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from dtql_robot.datasets import load, save_lerobot, save_minari, save_robomimic
from dtql_robot.types import Demonstrations
from tests.helpers.sample_demos import assert_same_arrays, assert_same_episode, assert_same_source, make_demos

pytest.importorskip("pyarrow", reason="pyarrow is not installed (pip install 'dtql-robot[lerobot]')")


def write(demos: Demonstrations, layout: str, folder: Path) -> Path:
    if layout == "robomimic":
        return save_robomimic(demos, folder / "a.hdf5")
    if layout == "minari":
        return save_minari(demos, folder / "a-v0")
    return save_lerobot(demos, folder / "a", version="v2.1" if layout.endswith("2.1") else "v3.0")


def full_demos() -> Demonstrations:
    """Images, extras, masks, attributes, an environment."""
    demos = make_demos(2)
    record = {"env_name": "Lift", "type": 1, "env_version": "1.4.1", "env_kwargs": {"control_freq": 20}}
    episodes = []
    for i, e in enumerate(demos.episodes):
        picture = np.random.default_rng(i).integers(0, 255, (len(e), 16, 24, 3), dtype=np.uint8)
        assert e.final_obs is not None
        episodes.append(
            replace(
                e,
                obs={**e.obs, "front_image": picture},
                final_obs={**e.final_obs, "front_image": picture[0]},
                extras={
                    "states": np.random.default_rng(i).normal(size=(len(e), 5)),
                    "infos/qpos": np.ones((len(e), 2)),
                },
                attrs={"task": f"task {i}", "seed": i},
                masks=np.arange(len(e)) < 3 if i else None,
            )
        )
    return replace(demos, episodes=tuple(episodes), env_args=record, attrs={"author": "me"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"), list(permutations(["robomimic", "minari", "lerobot v2.1", "lerobot v3.0"], 2))
)
def test_there_and_back(tmp_path: Path, first: str, second: str) -> None:
    demos = full_demos()
    keys = list(demos.obs_shapes)
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
    once = load(write(demos, first, tmp_path / "1"), obs_keys=keys)
    twice = load(write(once, second, tmp_path / "2"), obs_keys=keys)
    for found in (once, twice):
        assert_same_source(demos, found)
        for a, b in zip(demos.episodes, found.episodes, strict=True):
            assert_same_episode(a, b)
            assert_same_arrays(a.masks, b.masks)
