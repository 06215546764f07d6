"""The summary's numbers, and its text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import format_summary, inspect, load, save_robomimic
from dtql_robot.datasets.summary import histogram
from dtql_robot.datasets.summary_text import sparkline
from dtql_robot.types import Demonstrations
from tests.helpers.sample_demos import make_demos


def known_demos() -> Demonstrations:
    """Lengths 5, 6, 7; dim 0 constant, dim 1 binary and out of range; returns 5, 6, 7; one success at the end."""
    episodes = []
    for index, episode in enumerate(make_demos(3).episodes):
        steps = len(episode)
        actions = np.stack([np.full(steps, 0.5), np.where(np.arange(steps) == 0, -2.0, 1.0)], axis=1).astype(np.float32)
        success = np.zeros(steps, bool)
        success[-1 if index == 0 else 1] = index < 2
        obs = {"x": np.arange(steps * 2, dtype=np.float32).reshape(steps, 2)}
        changes = {"actions": actions, "rewards": np.ones(steps, np.float32), "success": success, "obs": obs}
        end = {"terminated": index == 0, "truncated": index > 0, "final_obs": {"x": obs["x"][0]} if index else None}
        episodes.append(replace(episode, **changes, **end))
    return Demonstrations(tuple(episodes), "made", "robomimic", "robosuite:Lift")


def test_numbers() -> None:
    summary = inspect(known_demos())
    assert json.loads(json.dumps(summary)) == summary
    assert (summary["source"], summary["format"], summary["env"]) == ("made", "robomimic", "robosuite:Lift")
    assert (summary["episodes"], summary["transitions"]) == (3, 18)
    assert summary["length"] == {"min": 5, "median": 6.0, "max": 7}
    assert summary["return"] == {"min": 5.0, "mean": 6.0, "max": 7.0}
    assert summary["success"] == {"known": 3, "at_end": 1, "ever": 2}
    assert summary["obs"] == {"x": {"shape": [2], "dtype": "float32", "min": 0.0, "max": 13.0}}
    assert (summary["terminated"], summary["truncated"], summary["final_obs"]) == (1, 2, 2)
    first, second = summary["action"]
    assert first.pop("histogram") == [18, *[0] * 15]
    assert sum(second.pop("histogram")) == 18
    assert first == {"min": 0.5, "max": 0.5, "mean": 0.5, "std": 0.0, "constant": True, "binary": False}
    assert (second["min"], second["max"], second["constant"], second["binary"]) == (-2.0, 1.0, False, True)
    assert second["mean"] == (15 - 6) / 18
    assert summary["warnings"] == [
        "1 of 3 episodes lack the observation after the last action.",
        "action dims [0] never change.",
        "action dims [1] leave [-1, 1].",
    ]


def test_warnings_about_rewards_and_success() -> None:
    demos = known_demos()
    silent = [replace(e, success=None, rewards=e.rewards * 0, attrs={}) for e in demos.episodes]
    warnings = inspect(replace(demos, episodes=tuple(silent)))["warnings"]
    assert {"all rewards are zero.", "there is no success signal."} <= set(warnings)
    failed = [replace(e, success=np.zeros(len(e), bool)) for e in demos.episodes]
    assert "no episode reaches success." in inspect(replace(demos, episodes=tuple(failed)))["warnings"]


def test_file_and_demonstrations_agree(tmp_path: object) -> None:
    demos = known_demos()
    path = save_robomimic(demos, f"{tmp_path}/f.hdf5", masks={"train": [0, 2]})
    from_file = inspect(path)
    assert from_file["filter_keys"] == {"train": 2}
    for key in ("episodes", "length", "return", "success", "obs", "action", "warnings"):
        assert from_file[key] == inspect(demos)[key]
    assert inspect(path, filter_key="train")["episodes"] == 2


def test_text_shows_everything_in_it() -> None:
    summary = inspect(known_demos()) | {"left_out": {"view": "uint8 (84, 84, 3)"}, "filter_keys": {"train": 2}}
    text = format_summary(summary | {"notes": ["a note."], "extras": {"states": {"shape": [9], "dtype": "float64"}}})
    for part in (
        "robosuite:Lift", "3, 18 transitions", "5 to 7 steps, median 6", "1 of 3 episodes at the end, 2 at some step",
        "train (2)", "left out     view: uint8 (84, 84, 3)", "two values", "constant", "states (9)", "note: a note.",
        "warning: action dims [0] never change.", "1 terminated, 2 truncated, 2 of 3 with a final observation",
    ):  # fmt: skip
        assert part in text
    assert "not recorded" in format_summary(summary | {"env": None, "success": None})
    assert all(len(line) < 100 for line in text.splitlines())


def test_histograms_duplicates_and_versions() -> None:
    counts = histogram(np.float32([0, 0, 0, 0, 1, 2, 3, 4]), bins=4)
    assert counts == [4, 1, 1, 2]
    assert sparkline(counts) == "▇▂▂▄"
    assert sparkline([9, 0, 0]) == "█  "
    demos = known_demos()
    twice = replace(
        demos,
        episodes=(*demos.episodes, replace(demos.episodes[1], name="copy")),
        env_args={"env_name": "Lift", "env_version": "1.4.1"},
    )
    summary = inspect(twice)
    assert summary["duplicates"] == [[demos.episodes[1].name, "copy"]]
    assert summary["versions"]["recorded"] == {"env_version": "1.4.1"}
    assert "mujoco" in summary["versions"]["installed"]
    text = format_summary(summary)
    assert "robosuite:Lift (env version 1.4.1)" in text
    assert f"1 of 4 episodes repeat another one, e.g. {demos.episodes[1].name} = copy." in text
    assert "█" in text


def test_tree_and_raw_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save_robomimic(known_demos(), tmp_path / "f.hdf5", masks={"train": [0]})
    assert main(["inspect", str(path), "--tree"]) == 0
    text = capsys.readouterr().out
    assert "demo_* (3, of which the first:)" in text
    assert re.search(r"actions +\(5, 2\) float32", text)
    assert "demo_1" not in text.split("layout of")[1]
    assert all(len(line) < 100 for line in text.splitlines() if str(tmp_path) not in line)
    with h5py.File(tmp_path / "raw.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["env_info"] = '{"env_name": "Lift"}'
        data["demo_1/states"], data["demo_1/actions"] = np.ones((4, 9)), np.ones((4, 7))
    assert main(["inspect", str(tmp_path / "raw.hdf5"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["env"], summary["transitions"]) == ("robosuite:Lift", 4)
    assert "convert" in summary["notes"][-1]
    (tree,) = summary["trees"].values()
    assert {"path": "data/demo_1/states", "shape": [4, 9], "dtype": "float64", "attrs": []} in tree


def test_what_never_changes_is_named() -> None:
    demos = known_demos()
    still = [replace(e, obs={"x": np.c_[e.obs["x"], np.full(len(e), 0.3)].astype(np.float32)}) for e in demos.episodes]
    summary = inspect(replace(demos, episodes=tuple(still)))
    assert summary["constant_obs"] == {"x": [2]}
    assert "constant: 2" in format_summary(summary)
    tiny = [replace(e, actions=e.actions * np.float32(1e-6)) for e in demos.episodes]
    action = inspect(replace(demos, episodes=tuple(tiny)))["action"]
    assert [dim["constant"] for dim in action] == [True, False]


@pytest.mark.slow
def test_demonstrations_are_shown_short(real_file: Callable[[str], Path]) -> None:
    demos = load(real_file("door_more/door_more.hdf5"))
    assert demos.outcomes() == "99 of 220 end in success, 220 succeed at some step, 25 without a success signal"
    for text in (repr(demos), str(demos)):
        assert len(text) < 500
        assert "environment: not recorded, episodes: 245 of 200 to 300 steps" in text
        assert "observation (39,)" in text
    html = demos._repr_html_()
    assert html.startswith("<table>")
    assert "99 of 220 end in success" in html
    named = replace(demos, source="<b>&")
    assert "<b>" not in named._repr_html_()
    many = replace(demos.episodes[0], obs={f"key{i}": np.zeros((1, 3)) for i in range(40)}, success=None)
    assert "key7 (3,), and 32 more" in repr(replace(demos, episodes=(many,)))
    assert "no success signal" in repr(replace(demos, episodes=(many,)))
    assert len(repr(replace(demos, episodes=()))) < 200
