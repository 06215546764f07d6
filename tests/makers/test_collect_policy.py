"""`collect --policy` and `--level`: a policy's episodes in a file, right to the step."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import h5py
import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load
from dtql_robot.envs.collection.collect import Recording
from dtql_robot.errors import InputError
from dtql_robot.makers.chosen import plan_of_level, plan_of_policy
from dtql_robot.makers.released import RELEASED, maker
from dtql_robot.makers.sb3 import save_sb3
from dtql_robot.reports.reproduce import to_reproduce
from dtql_robot.types import Demonstrations
from tests.helpers.saved_policy import reaching_run
from tests.helpers.sb3_zip import sb3_zip

pytestmark = pytest.mark.simulator
LIMIT = 10


@pytest.fixture(scope="module")
def hopper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy's folder for Hopper that samples its actions."""
    folder = tmp_path_factory.mktemp("maker")
    return save_sb3(sb3_zip(folder / "a.zip", 11, 3), "Hopper-v5", folder / "hopper")


def collect(policy: Path, out: Path, *options: str) -> Path:
    words = ["Hopper-v5", "--policy", str(policy), "--max-episode-steps", str(LIMIT), "--workers", "1"]
    assert main(["collect", *words, "--out", str(out), *options]) == 0
    return out


@pytest.fixture(scope="module")
def recorded(hopper: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collect(hopper, tmp_path_factory.mktemp("data") / "a.hdf5", "--episodes", "6", "--seed", "3")


def test_the_file_is_what_the_simulator_did(recorded: Path) -> None:
    """Played again in Gymnasium's own environment: every row, every end, and the state before every step."""
    with h5py.File(recorded) as file:
        rows = {name: file[name][()] for name in (
            "observations", "next_observations", "actions", "rewards", "terminals", "timeouts", "infos/qpos",
            "infos/qvel")}  # fmt: skip
        assert file["metadata/env"][()] == b"Hopper-v5"
    assert (rows["terminals"].dtype, rows["timeouts"].dtype) == (bool, bool)
    env = gymnasium.make("Hopper-v5", max_episode_steps=LIMIT)
    row = 0
    for number in range(6):
        obs, _ = env.reset(seed=300_000 + number)
        ended = False
        while not ended:
            assert np.array_equal(rows["observations"][row], obs.astype(np.float32))
            assert np.array_equal(rows["infos/qpos"][row], env.unwrapped.data.qpos)
            assert np.array_equal(rows["infos/qvel"][row], env.unwrapped.data.qvel)
            obs, reward, terminated, truncated, _ = env.step(rows["actions"][row])
            assert np.array_equal(rows["next_observations"][row], obs.astype(np.float32))
            assert rows["rewards"][row] == np.float32(reward)
            assert (rows["terminals"][row], rows["timeouts"][row]) == (terminated, truncated and not terminated)
            ended, row = terminated or truncated, row + 1
    assert row == len(rows["actions"])
    assert rows["terminals"].sum() > 0
    assert rows["timeouts"].sum() > 0  # both kinds of ends are in this file


def same(a: Demonstrations, b: Demonstrations) -> bool:
    return len(a) == len(b) and all(
        (x.name, x.attrs, x.terminated) == (y.name, y.attrs, y.terminated)
        and all(np.array_equal(x.obs[k], y.obs[k]) for k in y.obs)
        and np.array_equal(x.actions, y.actions)
        for x, y in zip(a.episodes, b.episodes, strict=True)
    )


@pytest.mark.slow
def test_the_data_depends_on_no_workers_and_no_interruption(hopper: Path, recorded: Path, tmp_path: Path) -> None:
    plan, notes = plan_of_policy("Hopper-v5", hopper, episodes=6, seed=3, max_episode_steps=LIMIT)
    recording = Recording(plan)
    recording.run(workers=2, progress=False)
    assert notes == ()
    assert same(recording.demonstrations(), load(recorded))
    out = collect(hopper, tmp_path / "b.hdf5", "--episodes", "2", "--seed", "3")
    collect(hopper, out, "--episodes", "6", "--seed", "3", "--resume")
    assert out.read_bytes() == recorded.read_bytes()
    assert main(["collect", "Hopper-v5", "--level", "random", "--out", str(out), "--resume"]) == 2


def test_whole_episodes_until_there_are_as_many_transitions(hopper: Path, recorded: Path, tmp_path: Path) -> None:
    lengths = [len(e) for e in load(recorded).episodes]
    wanted = sum(lengths[:2]) + 1
    out = collect(hopper, tmp_path / "a.hdf5", "--transitions", str(wanted), "--seed", "3")
    assert [len(e) for e in load(out).episodes] == lengths[:3]


def test_a_continuation_drops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A count left out or too small at --resume must not cost what was recorded."""
    out = tmp_path / "a.hdf5"
    words = ["collect", "Hopper-v5", "--level", "random", "--workers", "1", "--out", str(out)]
    assert main([*words, "--episodes", "4"]) == 0
    before = out.read_bytes()
    steps = sum(len(e) for e in load(out).episodes)
    for fewer in (["--episodes", "2"], ["--transitions", "5"]):
        capsys.readouterr()
        assert main([*words, *fewer, "--resume"]) == 2
        said = capsys.readouterr().err
        assert f"4 episodes with {steps} steps are recorded already, more than {' '.join(fewer)} needs" in said
        assert out.read_bytes() == before
    assert main([*words, "--episodes", "4", "--resume"]) == 0
    assert main([*words, "--transitions", str(steps), "--resume"]) == 0
    assert out.read_bytes() == before
    assert main([*words, "--episodes", "4", "--resume", "--overwrite"]) == 2
    assert "use only one of them" in capsys.readouterr().err


def test_random_actions_fill_their_bounds(tmp_path: Path) -> None:
    assert main(["collect", "Pendulum-v1", "--level", "random", "--episodes", "3", "--workers", "1",
                 "--out", str(tmp_path / "a.hdf5")]) == 0  # fmt: skip
    demos = load(tmp_path / "a.hdf5")
    actions = np.concatenate([e.actions for e in demos.episodes])
    assert demos.format == "d4rl"
    assert np.abs(actions).max() <= 2
    np.testing.assert_allclose(np.quantile(actions, (0.25, 0.5, 0.75)), (-1, 0, 1), atol=0.25)


@pytest.mark.slow
def test_success_is_labelled_where_it_is_told_and_chunks_are_executed(tmp_path: Path) -> None:
    run, out = reaching_run(tmp_path / "run"), tmp_path / "a.hdf5"
    assert (
        main(["collect", "FetchReach-v4", "--policy", str(run), "--episodes", "1", "--workers", "1", "--out", str(out)])
        == 0
    )
    demos = load(out)
    (episode,) = demos.episodes
    assert (demos.format, len(episode), episode.attrs) == ("robomimic", 50, {"seed": 0})
    assert episode.success is not None
    assert np.array_equal(episode.success, episode.rewards == 0)
    settings = {"data": str(out), "env": None, "config": {}}
    lines = to_reproduce(run, settings, {"attrs": demos.attrs, "episodes": 1, "transitions": 50}, {}, ["eval"])
    assert f"dtql-robot collect FetchReach-v4 --out {out} --episodes 1 --policy {run} --seed 0" in lines
    summary = {"attrs": demos.attrs, "episodes": 8, "recorded_episodes": 10, "transitions": 400}
    lines = to_reproduce(run, settings, summary, {}, ["eval"])  # two are held out: they were collected, too
    assert f"dtql-robot collect FetchReach-v4 --out {out} --episodes 10 --policy {run} --seed 0" in lines
    assert "# 8 of 10 demonstrations, of 400 steps in all" in lines
    (about, *_) = to_reproduce(run, {**settings, "config": {"data": {"filter_key": "train"}}}, summary, {}, ["eval"])
    assert about == f"# the demonstrations of mask/train in {out}; `dtql-robot split` makes such lists"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["Hopper-v5"], "record a policy with --policy RUN, or random actions with --level random"),
        (["Hopper-v5", "--level", "random", "--policy", "x"], "use only one of them"),
        (["Hopper-v5", "--level", "random", "--noise", "0.1"], "--noise is for scripted demonstrations"),
        (["Hopper-v5", "--level", "random", "--steps", "9"], "--steps is for scripted demonstrations"),
        (["Hopper-v5", "--level", "random", "--transitions", "9", "--episodes", "1"], "both say how much to record"),
        (["Hopper-v5", "--level", "random", "--transitions", "0"], "transitions must be between 1 and"),
        (["Hopper-v5", "--level", "random", "--successes-only", "--workers", "1"], "reports no success"),
        (["FetchReach-v4", "--max-episode-steps", "9"], "--max-episode-steps is for --policy and --level"),
        (["Hopper-v5", "--policy", "nowhere"], "nowhere"),
        (["Swimmer-v5", "--level", "medium"], "No policy of level medium is released for Swimmer-v5"),
        (["Hopper-v5", "--level", "replay"], "train_maker.py Hopper-v5"),
    ],
)
def test_what_the_user_got_wrong(words: list[str], sentence: str, tmp_path: Path, capsys) -> None:
    assert main(["collect", *words, "--out", str(tmp_path / "a.hdf5")]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_policy_of_another_robot_is_refused(hopper: Path) -> None:
    plan, _ = plan_of_policy("Pendulum-v1", hopper, episodes=1)
    with pytest.raises(InputError, match="takes actions with 1 entries, but this policy was trained for 3"):
        Recording(plan).run(workers=1, progress=False)


def test_a_damaged_record_is_told(recorded: Path, tmp_path: Path) -> None:
    for text, sentence in (("{nonsense", "is not JSON"), ('{"episodes": [{}]}', "describes 1 recordings")):
        path = tmp_path / f"{len(text)}.hdf5"
        path.write_bytes(recorded.read_bytes())
        with h5py.File(path, "r+") as file:
            del file["metadata/record"]
            file["metadata/record"] = text
        with pytest.raises(InputError, match=sentence):
            load(path)


@pytest.mark.parametrize("made", RELEASED, ids=lambda m: f"{m.env}-{m.level}")
def test_each_released_policy_acts(made) -> None:
    assert maker(made.env, made.level) is made
    facts = (made.env, made.level, made.algorithm, str(made.seed), f"{made.steps:,}")
    row = f"| {' | '.join(facts)} | {made.mean_return} ({made.low} to {made.high}) |"
    assert row in (Path(__file__).parents[2] / "docs/paper.md").read_text()
    assert f"Mean return {made.mean_return} " in (made.folder / "README.md").read_text()
    recording = Recording(plan_of_level(made.env, made.level, episodes=1, max_episode_steps=50))
    recording.run(workers=1, progress=False)
    assert len(recording.episodes[0]) == 50
