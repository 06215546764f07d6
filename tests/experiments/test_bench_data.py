"""What `bench` records for its tasks: an interruption costs nothing of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtql_robot.commands.bench_data import collect_data
from dtql_robot.datasets import load
from dtql_robot.envs.collection import collect as recordings
from dtql_robot.envs.collection.collect import Recording as Running
from dtql_robot.experiments.suites import PolicyRecording, Recording, suite
from dtql_robot.types import Demonstrations


def same(a: Demonstrations, b: Demonstrations) -> bool:
    return a.attrs == b.attrs and all(
        (x.name, x.attrs) == (y.name, y.attrs) and np.array_equal(x.actions, y.actions)
        for x, y in zip(a.episodes, b.episodes, strict=True)
    )


@pytest.mark.slow
@pytest.mark.simulator
@pytest.mark.parametrize(
    ("of", "data", "interrupted_in", "parts"),
    [
        ("smoke", Recording("FetchReach-v4", episodes=5), "expert", ["a.part0.hdf5"]),
        ("locomotion", PolicyRecording("Hopper-v5", ("random", "medium"), 400), "random", ["a.part0.hdf5"]),
        ("locomotion", PolicyRecording("Hopper-v5", ("random", "medium"), 400), "medium",
         ["a.part0.hdf5", "a.part1.hdf5"]),
    ],
)  # fmt: skip
def test_an_interrupted_recording_goes_on(of, data, interrupted_in, parts, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(recordings, "usable_cores", lambda: 1)
    task = replace(suite(of)[0], data=data)
    (tmp_path / "whole").mkdir()
    collect_data(task, tmp_path / "whole" / "a.hdf5")
    whole = load(tmp_path / "whole" / "a.hdf5")
    keep, begun = Running._counts, []

    def interrupt(self, episode, tried):
        if interrupted_in in self.plan.source and len(self.episodes) == 1:
            raise KeyboardInterrupt
        return keep(self, episode, tried)

    monkeypatch.setattr(Running, "_counts", interrupt)
    out = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        collect_data(task, out / "a.hdf5")
    assert "\nkept: " in capsys.readouterr().err
    assert sorted(p.name for p in out.iterdir()) == parts

    def count(self, episode, tried):
        begun.append(self.plan.source)
        return keep(self, episode, tried)

    monkeypatch.setattr(Running, "_counts", count)
    collect_data(task, out / "a.hdf5")
    assert [p.name for p in out.iterdir()] == ["a.hdf5"]
    assert same(load(out / "a.hdf5"), whole)
    assert len(begun) < len(whole)


@pytest.mark.slow
@pytest.mark.simulator
def test_a_part_of_another_recording_is_recorded_anew(tmp_path: Path):
    task = replace(suite("smoke")[0], data=Recording("FetchReach-v4", episodes=2))
    other = replace(task, data=Recording("FetchReach-v4", episodes=2, noise=0.1))
    collect_data(other, tmp_path / "a.hdf5")
    (tmp_path / "a.hdf5").rename(tmp_path / "a.part0.hdf5")
    collect_data(task, tmp_path / "a.hdf5")
    assert load(tmp_path / "a.hdf5").attrs["collection"]["noise"] == 0.3
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]
