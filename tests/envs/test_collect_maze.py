"""Demonstrations in D4RL's ant mazes: the way, the file, and that the paper's settings take it."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load
from dtql_robot.env_record import d4rl_task
from dtql_robot.envs.collection.collect import Recording, collect
from dtql_robot.envs.collection.maze_expert import GIVEN_UP, MazeGuide, ant_maze
from dtql_robot.envs.collection.maze_path import cell_at, centre, free_cells, neighbours, next_place, steps_to
from dtql_robot.envs.collection.plan import Plan
from dtql_robot.envs.families.d4rl_maze import MAZES, cell_centre
from dtql_robot.errors import InputError
from dtql_robot.replay.players import GymPlayer
from tests.experiments.test_paper_rows import SMALL

UMAZE = "d4rl:antmaze-umaze-v2"


@pytest.mark.parametrize(
    ("maze", "goal", "length"), [("umaze", (3, 1), 6), ("medium", (6, 6), 10), ("large", (7, 9), 14)]
)
def test_the_shortest_way_through_d4rls_mazes(maze, goal, length):
    """Counted by hand on the maps."""
    away = steps_to(maze, goal)
    assert away[(1, 1)] == length
    assert set(away) == set(free_cells(maze))
    for cell, steps in away.items():
        assert MAZES[maze][cell[0]][cell[1]] != "#"
        if steps:
            assert min(away[other] for other in neighbours(maze, cell)) == steps - 1
    assert np.array_equal(centre(goal), cell_centre(maze, "G"))


def test_what_is_headed_for():
    goal = np.array([0.5, 8.5])
    for place, target in (
        ((0.1, 0.0), (4, 0)),
        ((1.9, 0.3), (4, 0)),
        ((6.2, 0.3), (8, 0)),  # not yet into the turn
        ((7.2, 0.3), (8, 4)),
        ((8.3, 5.0), (8, 8)),
        ((3.0, 8.0), (0, 8)),
        ((1.9, 8.0), goal),
    ):
        assert tuple(next_place("umaze", np.array(place), goal)) == tuple(target)
    assert cell_at("umaze", np.array([1.0, 3.0])) == (1, 1)  # in the wall between two cells


def test_which_tasks_are_mazes():
    assert [ant_maze(t) for t in (UMAZE, "d4rl:antmaze-large-diverse-v0", "d4rl:kitchen-mixed-v0", "Hopper-v5")] == [
        *("umaze", "large", None, None)
    ]
    assert d4rl_task("antmaze-umaze-v2") is not None  # of which the bare name is no environment
    assert ant_maze("antmaze-umaze-v2") is None


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    out = tmp_path_factory.mktemp("maze") / "umaze.hdf5"
    assert main(["collect", UMAZE, "--episodes", "4", "--seed", "2", "--workers", "1", "--out", str(out)]) == 0
    return out


@pytest.mark.simulator
def test_the_file_has_d4rls_layout(recorded):
    with h5py.File(recorded) as file:
        rows = {name: file[name][()] for name in (
            "observations", "next_observations", "actions", "rewards", "terminals", "timeouts", "infos/goal",
            "infos/qpos", "infos/qvel")}  # fmt: skip
        assert file["metadata/env"][()] == UMAZE.encode()
    state = np.concatenate([rows["infos/qpos"], rows["infos/qvel"]], axis=1)
    np.testing.assert_array_equal(rows["observations"], state.astype(np.float32))
    ends = np.flatnonzero(rows["terminals"] | rows["timeouts"])
    assert len(ends) == 4
    away = np.linalg.norm(rows["next_observations"][:, :2] - rows["infos/goal"], axis=1)
    np.testing.assert_array_equal(rows["rewards"], (away <= 0.5).astype(np.float32))
    np.testing.assert_array_equal(rows["terminals"], rows["rewards"] == 1)
    assert rows["terminals"].sum() == 4  # 620 of 621 episodes reach the goal
    assert len(np.unique(rows["infos/goal"], axis=0)) == 4
    assert np.all(np.diff(ends, prepend=-1) < 300)


@pytest.mark.simulator
def test_played_again_every_row_is_the_same(recorded):
    demos = load(recorded)
    player = GymPlayer(demos.env_spec, demos.env_args)
    for episode in demos.episodes[:2]:
        obs = player.start(episode)
        for t, action in enumerate(episode.actions):
            np.testing.assert_array_equal(obs["observation"], episode.obs["observation"][t])
            obs, success = player.step(action)
            assert success == episode.success[t]
    player.close()


@pytest.mark.simulator
def test_an_interruption_changes_nothing_nor_does_counting_steps(recorded, tmp_path):
    out, words = tmp_path / "a.hdf5", ["collect", UMAZE, "--seed", "2", "--workers", "1"]
    assert main([*words, "--episodes", "1", "--out", str(out)]) == 0
    assert main([*words, "--episodes", "4", "--out", str(out), "--resume"]) == 0
    assert out.read_bytes() == recorded.read_bytes()
    lengths = [len(e) for e in load(recorded).episodes]
    assert main([*words, "--transitions", str(sum(lengths[:2]) + 1), "--out", str(out), "--overwrite"]) == 0
    assert [len(e) for e in load(out).episodes] == lengths[:3]
    assert main([*words, "--transitions", "5", "--episodes", "2", "--out", str(out), "--overwrite"]) == 2


@pytest.mark.slow
@pytest.mark.simulator
def test_the_data_depends_on_no_workers(recorded):
    recording = Recording(Plan(UMAZE, 4, seed=2))
    recording.run(workers=2, progress=False)
    for a, b in zip(recording.episodes, load(recorded).episodes, strict=True):
        assert np.array_equal(a.actions, b.actions)
        assert np.array_equal(a.extras["infos/qpos"], b.extras["infos/qpos"])


@pytest.mark.simulator
def test_diverse_starts_anywhere_and_roams():
    demos = collect("d4rl:antmaze-umaze-diverse-v2", 6, seed=1, workers=1, progress=False)
    starts = {cell_at("umaze", e.obs["observation"][0, :2]) for e in demos.episodes}
    assert len(starts) >= 3
    longest = max(demos.episodes, key=len).obs["observation"][:, :2]
    assert len({cell_at("umaze", place) for place in longest[::10]}) >= 4
    for e in demos.episodes:
        assert e.terminated == bool(e.success[-1])
        assert np.all(np.abs(e.extras["infos/goal"] - (0.75, 8.75)) <= 0.75)  # that of an evaluation


@pytest.mark.simulator
def test_policies_are_recorded_with_the_goal_too(tmp_path):
    out = tmp_path / "random.hdf5"
    words = ["--level", "random", "--episodes", "1", "--max-episode-steps", "5", "--workers", "1", "--out", str(out)]
    assert main(["collect", UMAZE, *words]) == 0
    (episode,) = load(out).episodes
    assert load(out).format == "d4rl"
    assert {k: v.shape for k, v in episode.extras.items()} == {
        "infos/goal": (5, 2),
        "infos/qpos": (5, 15),
        "infos/qvel": (5, 14),
    }
    assert np.linalg.norm(episode.extras["infos/goal"][0] - (0, 8)) <= 1.5 * np.sqrt(2)


def test_an_ant_on_its_back_is_given_up():
    guide = MazeGuide(UMAZE)
    guide.expert(np.zeros(2), np.random.default_rng(0))
    upright, fallen = np.zeros(29), np.zeros(29)
    upright[3], fallen[4] = 1, 1
    for state in (fallen, upright):
        assert not any(guide.gives_up({"observation": state}) for _ in range(GIVEN_UP - 1))
    assert [guide.gives_up({"observation": fallen}) for _ in range(GIVEN_UP)] == [False] * (GIVEN_UP - 1) + [True]


def test_what_an_ant_cannot_do_is_said():
    with pytest.raises(InputError, match="lapses are of grippers; leave them out for d4rl:antmaze-umaze-v2"):
        Plan(UMAZE, 1, lapses=0.5)
    with pytest.raises(InputError, match="transitions must be between 1 and"):
        replace(Plan(UMAZE, 1), transitions=0)
    with pytest.raises(InputError, match=r"no scripted expert for 'd4rl:kitchen-mixed-v0'.*d4rl:antmaze-umaze-v2"):
        Plan("d4rl:kitchen-mixed-v0", 1)


@pytest.mark.slow
@pytest.mark.simulator
def test_from_the_recording_to_a_normalized_score(recorded, tmp_path):
    out = tmp_path / "run"
    assert (
        main(["train", "--preset", "paper:antmaze-umaze-v2", "--data", str(recorded), "--out", str(out), *SMALL]) == 0
    )
    assert main(["eval", str(out), "--episodes", "1", "--workers", "1"]) == 0
    found = json.loads((out / "results.json").read_text())
    assert (found["env"], found["horizon"]) == (UMAZE, 700)
    assert found["normalized_by"]["source"] == "D4RL"
    assert json.loads((out / "config.json").read_text())["config"]["data"]["reward_shift"] == -1
