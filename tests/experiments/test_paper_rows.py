"""Each row of the paper's tables from a file in D4RL's layout to a normalized score."""

import copy
import csv
import json
from dataclasses import replace

import gymnasium
import gymnasium_robotics
import h5py
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

from dtql_robot import paper
from dtql_robot.api.fit import check_fit
from dtql_robot.api.training import Training, _as_published, _recipe
from dtql_robot.cli import main
from dtql_robot.commands import bench
from dtql_robot.commands.bench import _own, _work
from dtql_robot.datasets import load
from dtql_robot.env_record import d4rl_task
from dtql_robot.envs import env_info
from dtql_robot.errors import InputError
from dtql_robot.experiments.behaviour import recorded_values
from dtql_robot.experiments.jobs import Job
from dtql_robot.experiments.suites import SIZES, suite
from dtql_robot.presets import preset
from dtql_robot.types import Demonstrations
from tests.helpers.d4rl_files import d4rl_arrays, write_d4rl

ROWS = [row for row in paper.ROWS if not (row.dataset.startswith("antmaze") and row.dataset.endswith("-v0"))]
SMALL = ["--steps", "2", "--pretrain-steps", "2", "--batch-size", "8", "--policy-hidden", "16", "--critic-hidden", "16"]
SMALL += ["--denoiser-width", "16", "--candidates", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Row -> its file; rows that are recorded in one environment share the recording."""
    folder, made = tmp_path_factory.mktemp("d4rl"), {}

    def file_of(row):
        family = row.env.split("-")[:2] if row.env.startswith("d4rl:a") else row.env
        key = str(family)
        if key not in made:
            made[key] = d4rl_arrays(row)
        return write_d4rl(folder / f"{row.dataset}.hdf5", made[key])

    return file_of


@pytest.mark.slow
@pytest.mark.simulator
def test_every_row_fits_the_environment_it_is_judged_in(recorded):
    for row in {d4rl_task(row.dataset) or row.env: row for row in ROWS}.values():  # nine, which the rows share
        demos = load(recorded(row))
        assert check_fit(replace(demos, env_spec=row.env), row.env, ["observation"]) == []
        assert demos.env_spec is None


@pytest.mark.simulator
@pytest.mark.slow
def test_files_have_the_layout_that_d4rl_publishes(recorded):
    """Names, shapes and types as D4RL's `get_dataset` and `sequence_dataset` expect them."""
    for row in ROWS:
        with h5py.File(recorded(row)) as file:
            count = len(file["actions"])
            assert {"observations", "actions", "rewards", "terminals", "timeouts", "infos", "metadata"} <= set(file)
            assert file["rewards"].shape == file["terminals"].shape == file["timeouts"].shape == (count,)
            assert (file["terminals"].dtype, file["timeouts"].dtype) == (bool, bool)
            assert file["observations"].dtype == file["actions"].dtype == file["rewards"].dtype == np.float32
            assert file["infos/qpos"].shape[0] == count
            assert ("next_observations" in file) == row.env.endswith("-v4")


@pytest.mark.slow
@pytest.mark.simulator
@pytest.mark.parametrize("name", ["antmaze-umaze-diverse-v2", "kitchen-mixed-v0"])
def test_from_the_file_to_a_normalized_score(name, recorded, tmp_path, capsys):
    row, out = paper.row_of(name), tmp_path / "run"
    assert main(["train", "--preset", f"paper:{name}", "--data", str(recorded(row)), "--out", str(out), *SMALL]) == 0
    assert f"{row.env}, with {row.horizon} steps per episode, as the preset's row has it" in capsys.readouterr().out
    assert main(["eval", str(out), "--episodes", "1", "--workers", "1"]) == 0
    found = json.loads((out / "results.json").read_text())
    assert np.isfinite(found["normalized_score"])
    assert found["normalized_by"]["source"] == "D4RL"
    assert (found["env"], found["horizon"]) == (row.env, row.horizon)
    used = json.loads((out / "config.json").read_text())["config"]
    assert used["data"]["reward_shift"] == (-1 if "antmaze" in name else 0)


def test_a_published_name_and_a_typed_environment_keep_the_rows_horizon(tmp_path, recorded):
    """Pen is scored over 100 steps, and Gymnasium-Robotics' own limit is 200."""
    row = paper.row_of("pen-human-v1")
    demos = load(recorded(row))
    named = replace(demos, env_spec="AdroitHandPen-v1")
    for data, env in ((named, None), (demos, "AdroitHandPen-v1")):
        how = Training(tmp_path, preset("paper:pen-human-v1"), env=env, typed_env=env, preset="paper:pen-human-v1")
        changed, said = _as_published(data, how)
        assert changed.env_args == {"max_episode_steps": 100}
        assert said == ("AdroitHandPen-v1, with 100 steps per episode, as the preset's row has it",)
    own = replace(named, env_args={"max_episode_steps": 50})
    assert _as_published(own, replace(how, env=None, typed_env=None)) == (own, ())
    warning = "warning: --preset paper:pen-human-v1 has the settings of AdroitHandPen-v1, and this data is of {}"
    for other in ("AdroitHandDoor-v1", "metaworld:door-open-v3"):
        assert _as_published(demos, replace(how, env=other)) == (demos, (warning.format(other),))


@pytest.mark.parametrize(
    ("name", "env"),
    [
        ("paper:antmaze-umaze-v2", "AntMaze_UMaze-v5"),
        ("paper:kitchen-mixed-v0", "FrankaKitchen-v1"),
        ("paper:pen-human-v1", "AdroitHandPenSparse-v1"),
        ("paper:hopper-medium-v2", "Hopper-v5"),
    ],
)
def test_gymnasiums_names_of_the_rows_robots_are_no_other_task(name, env, tmp_path):
    demos = Demonstrations.from_arrays([{"observations": np.zeros((5, 3)), "actions": np.zeros((5, 2))}])
    assert _as_published(demos, Training(tmp_path, preset(name), env=env, preset=name)) == (demos, ())


def test_pretraining_that_outlasts_the_training_is_told(tmp_path):
    name = "paper:pen-human-v1"
    cfg = preset(name)
    short = replace(cfg, steps=100)
    assert len(_recipe(Training(tmp_path, cfg, preset=name))) == 1
    assert "after 50000 updates of pretraining" in _recipe(Training(tmp_path, short, preset=name))[1]


@pytest.mark.slow
@pytest.mark.simulator
def test_a_kitchen_with_gymnasiums_own_numbers_is_judged_in_gymnasiums_kitchen(tmp_path):
    """59 numbers are positions and velocities of robot and objects; D4RL's 60 are positions and goals."""
    arrays = {"observations": np.zeros((5, 59)), "actions": np.zeros((5, 9)), "rewards": np.zeros(5)}
    demos = Demonstrations.from_arrays([arrays])
    name = "paper:kitchen-mixed-v0"
    changed, said = _as_published(demos, Training(tmp_path, preset(name), preset=name))
    assert changed.env_spec == "FrankaKitchen-v1"
    assert said[0].startswith("the data names no environment: FrankaKitchen-v1, with 280 steps")
    assert check_fit(changed, None, ["observation"]) == []
    assert env_info("FrankaKitchen-v1", env_args=changed.env_args).subtasks == (
        "bottom burner",
        "kettle",
        "light switch",
        "microwave",
    )


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("name", "env", "words"),
    [
        ("antmaze-umaze-v2", "AntMaze_UMaze-v5", ("(29,)", "place, 13 joint positions and 14 velocities of the ant",
         "(105,)", "78 contact forces", "--env d4rl:antmaze-umaze-v2")),
        ("kitchen-mixed-v0", "FrankaKitchen-v1", ("(60,)", "and the goals for them", "(59,)", "velocities of 9 joints",
         "--env d4rl:kitchen-complete-v0")),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_which_numbers_are_there(name, env, words, recorded):
    with pytest.raises(InputError) as found:
        check_fit(load(recorded(paper.row_of(name))), env, ["observation"])
    said = str(found.value)
    assert all(word in said for word in words), said


@pytest.mark.slow
def test_bench_trains_each_row_by_its_own_preset_and_all_methods_as_long(tmp_path):
    assert [task.name for task in suite("paper")] == [row.dataset for row in ROWS]
    for task in suite("paper"):
        row = paper.row_of(task.name)
        all_of_them = task.name in ("hopper-medium-v2", "antmaze-umaze-v2")  # which takes a while
        for method in SIZES["paper-full"].methods if all_of_them else ("paper", "paper-kl", "dtql"):
            job = Job(task, method, 0, tmp_path, tmp_path)
            settings = _work(job, ()).settings
            recipe = row.recipe
            assert (settings.steps, settings.optim.batch_size) == (recipe["steps"], recipe["optim.batch_size"])
            assert settings.data.reward_shift == recipe.get("data.reward_shift", 0.0)
            if method == "paper":
                assert settings == preset(f"paper:{row.dataset}")
            if method == "paper-kl":
                assert settings == preset(f"paper-kl:{row.dataset}")
    small = _work(Job(suite("paper")[0], "paper", 0, tmp_path, tmp_path, _own("paper", SIZES["paper"])), ()).settings
    assert (small.optim.pretrain_steps, _own("dtql", SIZES["paper"])) == (5000, ())
    with pytest.raises(InputError, match="paper's settings of its own tasks, of which reach is none"):
        bench.run(bench.Options(suite="smoke", out=tmp_path / "out", methods=("paper",)))


@pytest.mark.parametrize(
    ("rewards", "measure", "value"),
    [
        ([[1.0, 2.0], [3.0]], "return", 3.0),
        ([[0, 1, 1], [0, 0], [1], [0]], "success", 0.5),
        ([[0, 1, 0, 1], [1, 0, 1, 1]], "subtasks", 2.5),  # each pays once
        ([[0, 1, 1, 2, 2], [0, 3, 4, 4]], "subtasks", 3.0),  # those that are done so far
    ],
)
def test_what_the_data_reaches(rewards, measure, value):
    episodes = [
        {"observations": np.zeros((len(r), 1)), "actions": np.zeros((len(r), 1)), "rewards": r} for r in rewards
    ]
    assert np.mean(recorded_values(Demonstrations.from_arrays(episodes), measure)) == value


@pytest.mark.slow
@pytest.mark.simulator
def test_bench_paper_from_a_folder_of_files(recorded, tmp_path, capsys):
    row = paper.row_of("hopper-medium-v2")
    data = recorded(row)
    out = tmp_path / "bench"
    small = [f"--train-args={o}" for o in ("--steps=2", "--batch-size=8", "--policy-hidden=8", "--critic-hidden=8")]
    small += ["--train-args=--denoiser-width=8", "--train-args=--pretrain-steps=1", "--train-args=--candidates=2"]
    small += ["--curve-points=1", "--train-args=--eval-episodes=1"]
    words = [
        "bench",
        "paper",
        "--tasks",
        row.dataset,
        "--seeds",
        "0",
        "--episodes",
        "1",
        "--jobs",
        "1",
        "--out",
        str(out),
    ]
    assert main([*words, "--data-dir", str(data.parent), "--methods", "paper", *small]) == 0
    lines = (out / "summary.md").read_text().splitlines()
    assert [line.split("|")[1:3] for line in lines[2:]] == [
        [" d4rl gym ", " paper "],
        *([" d4rl gym ", f" {method} "] for method in ("DTQL", "BC", "TD3+BC", "IQL")),
        [" d4rl gym ", " behaviour "],
        [" hopper-medium-v2 ", " paper "],
        *([" hopper-medium-v2 ", f" {method} "] for method in ("DTQL", "BC", "TD3+BC", "IQL")),
        [" hopper-medium-v2 ", " behaviour "],
    ]
    returns = [e.rewards.sum() for e in load(data).episodes]
    score = 100 * (np.mean(returns) + 20.272305) / (3234.3 + 20.272305)
    assert f"| {score:.1f} |" in lines[-1]
    curve = list(csv.DictReader((out / "curves.csv").open()))
    assert [(c["task"], c["updates"], c["measure"]) for c in curve] == [
        (row.dataset, n, "normalized score")
        for n in ("3",)  # pretraining among them
    ]
    assert (out / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert main([*words, "--data-dir", str(tmp_path)]) == 2
    assert "hopper-medium-v2.hdf5" in capsys.readouterr().err


def minari_dataset(name, env_id, **kwargs):
    """Three random episodes of ten steps, written by the package minari itself."""
    env = gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    env.action_space.seed(0)
    buffers = []
    for seed in range(3):
        observations, actions, rewards = [env.reset(seed=seed)[0]], [], []
        for _ in range(10):
            actions.append(env.action_space.sample())
            following, reward, *_ = env.step(actions[-1])
            observations.append(copy.deepcopy(following))
            rewards.append(float(reward))
        ends = [False] * 9 + [True]
        buffers.append(
            EpisodeBuffer(seed, None, None, stacked(observations), np.stack(actions), rewards, [False] * 10, ends, {})
        )
    minari.create_dataset_from_buffers(name, buffers, env=env, ref_min_score=0.0, ref_max_score=4.0)


def stacked(rows):
    return {k: stacked([r[k] for r in rows]) for k in rows[0]} if isinstance(rows[0], dict) else np.stack(rows)


@pytest.mark.slow
@pytest.mark.simulator
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "env_id", "kwargs", "row", "keys", "horizon"),
    [
        ("D4RL/antmaze/umaze-v1", "AntMaze_UMaze-v4", {}, "antmaze-umaze-v2",
         ["achieved_goal", "desired_goal", "observation"], 700),
        ("D4RL/kitchen/mixed-v2", "FrankaKitchen-v1", {"tasks_to_complete": ["kettle", "microwave"]},
         "kitchen-mixed-v0", ["achieved_goal/kettle", "achieved_goal/microwave", "desired_goal/kettle",
                              "desired_goal/microwave", "observation"], 280),
        ("D4RL/pen/human-v2", "AdroitHandPen-v1", {"max_episode_steps": 60}, "pen-human-v1", ["observation"], 60),
    ],
)  # fmt: skip
def test_minaris_versions_of_a_row(tmp_path, monkeypatch, capsys, name, env_id, kwargs, row, keys, horizon):
    """In the environment and for the steps that they record; parts of an observation joined in alphabetical order."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    gymnasium.register_envs(gymnasium_robotics)
    minari_dataset(name, env_id, **kwargs)
    assert list(load(f"minari:{name}").obs_shapes) == keys
    out = tmp_path / "run"
    assert main(["train", "--preset", f"paper:{row}", "--data", f"minari:{name}", "--out", str(out), *SMALL]) == 0
    run = json.loads((out / "config.json").read_text())
    assert run["config"]["data"]["obs_keys"] == keys
    assert (run["env"], run["reference_scores"]) == (env_id, [0.0, 4.0])
    assert "as the preset's row has it" not in capsys.readouterr().out
    facts = env_info(env_id, env_args=run["env_args"])
    assert facts.horizon == horizon
    assert facts.subtasks == tuple(kwargs.get("tasks_to_complete", ()))
