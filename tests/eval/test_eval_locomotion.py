"""Gym's locomotion from the file to the normalized score, and the names of environments that no Python can make now."""

import json

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

from dtql_robot.cli import main
from dtql_robot.datasets import load
from dtql_robot.env_record import choose_env, same_environment
from dtql_robot.envs.make import env_info, make_env
from dtql_robot.eval import VideoSpec, evaluate

SMALL = ["--steps", "4", "--batch-size", "8", "--policy-hidden", "16", "--critic-hidden", "16", "--device", "cpu"]
SMALL += ["--denoiser-width", "16", "--horizon", "4", "--n-action-steps", "4"]


def rollouts(env_id, episodes, steps):
    """Random rollouts: (observations (T + 1, ...), actions, rewards, whether the last step terminated) of each."""
    env = gymnasium.make(env_id)
    env.action_space.seed(0)
    for seed in range(episodes):
        obs, actions, rewards, terminated = [env.reset(seed=seed)[0]], [], [], False
        while len(actions) < steps and not terminated:
            actions.append(env.action_space.sample())
            found, reward, terminated, _, _ = env.step(actions[-1])
            obs.append(found)
            rewards.append(reward)
        yield np.asarray(obs), np.asarray(actions), np.asarray(rewards), terminated


@pytest.fixture(scope="module")
def hopper(tmp_path_factory):
    """A file in D4RL's layout with gym's observations."""
    found = list(rollouts("Hopper-v5", 12, 40))
    path = tmp_path_factory.mktemp("d4rl") / "hopper_random-v2.hdf5"
    last = [np.arange(len(a)) == len(a) - 1 for _, a, _, _ in found]
    with h5py.File(path, "w") as file:
        file["observations"] = np.concatenate([obs[:-1] for obs, *_ in found]).astype(np.float32)
        file["next_observations"] = np.concatenate([obs[1:] for obs, *_ in found]).astype(np.float32)
        file["actions"] = np.concatenate([actions for _, actions, _, _ in found]).astype(np.float32)
        file["rewards"] = np.concatenate([rewards for *_, rewards, _ in found]).astype(np.float32)
        file["terminals"] = np.concatenate([ends & run[3] for ends, run in zip(last, found, strict=True)])
        file["timeouts"] = np.concatenate([ends & (not run[3]) for ends, run in zip(last, found, strict=True)])
    return path


@pytest.mark.slow
def test_a_d4rl_file_trains_and_is_scored(hopper, tmp_path, capsys):
    runs = [tmp_path / "a", tmp_path / "b"]
    for seed, out in enumerate(runs):
        main(["train", "--data", str(hopper), "--env", "Hopper-v5", "--out", str(out), "--seed", str(seed), *SMALL])
        main(["eval", str(out), "--episodes", "4", "--workers", "2"])
    said = capsys.readouterr().out
    assert "Hopper-v5: return " in said
    assert "normalized score " in said
    found = json.loads((runs[0] / "results.json").read_text())
    assert found["success_rate"] is None
    mean = np.mean([e["return"] for e in found["per_episode"]])
    assert found["normalized_score"] == pytest.approx(100 * (mean + 20.272305) / (3234.3 + 20.272305))
    low, high = found["return_ci95"]
    assert low < found["mean_return"] < high
    assert "Normalized score" in (runs[0] / "report.html").read_text()
    main(["compare", *map(str, runs)])
    assert "over 4 common seeds" in capsys.readouterr().out


@pytest.mark.slow
def test_several_training_seeds(hopper, tmp_path, capsys):
    out = tmp_path / "run"
    main(["train", "--data", str(hopper), "--env", "Hopper-v5", "--out", str(out), "--seeds", "0..1", *SMALL])
    main(["eval", str(out), "--episodes", "3", "--workers", "1"])
    found = json.loads((out / "seeds.json").read_text())
    assert found["mean_return"] == pytest.approx(np.mean([s["mean_return"] for s in found["seeds"].values()]))
    assert found["ci95"][0] < found["mean_return"] < found["ci95"][1]
    assert "mean return" in capsys.readouterr().out


@pytest.mark.slow
def test_minaris_references_go_with_the_run(tmp_path, monkeypatch):
    """From a dataset that the package itself writes through the run folder into results.json."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    buffers = [
        EpisodeBuffer(i, None, None, obs, actions, list(rewards), [False] * 12, [False] * 11 + [True], {})
        for i, (obs, actions, rewards, _) in enumerate(rollouts("Hopper-v5", 4, 12))
    ]
    scores = {"ref_min_score": 10.0, "ref_max_score": 110.0}
    minari.create_dataset_from_buffers("hop/random-v0", buffers, env=gymnasium.make("Hopper-v5"), **scores)
    assert load("minari:hop/random-v0").env_spec == "Hopper-v5"
    main(["train", "--data", "minari:hop/random-v0", "--out", str(tmp_path / "run"), *SMALL])
    assert json.loads((tmp_path / "run" / "config.json").read_text())["reference_scores"] == [10.0, 110.0]
    main(["eval", str(tmp_path / "run"), "--episodes", "2", "--workers", "1"])
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["normalized_score"] == pytest.approx(found["mean_return"] - 10.0)
    assert found["normalized_by"]["source"] == "the dataset"
    other = tmp_path / "other.json"
    main(["eval", str(tmp_path / "run"), "--episodes", "1", "--max-episode-steps", "5", "--json", str(other)])
    assert "normalized_score" not in json.loads(other.read_text())  # neither scale is of episodes of 5 steps


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("HalfCheetah-v2", "HalfCheetah-v4"),
        ("Hopper-v3", "Hopper-v4"),
        ("Walker2d-v2", "Walker2d-v4"),
        ("hopper-medium-v2", "Hopper-v4"),
        ("halfcheetah-medium-expert-v0", "HalfCheetah-v4"),
        ("walker2d-full-replay-v1", "Walker2d-v4"),
    ],
)
def test_an_old_name_stands_for_the_closest_version(old, new):
    record = {"env_name": old, "type": 2, "env_kwargs": {}}
    for chosen in (choose_env(None, old, record), choose_env(old, None, {}), choose_env(old, new, {})):
        assert chosen.spec == new
        assert len(chosen.notes) == 1
        assert chosen.notes[0].startswith(f"{old} needs mujoco-py, which no supported Python has; {new} is used")
    assert same_environment(old, new)
    assert choose_env(new, old, record).notes == ()
    assert env_info(new).horizon == 1000


@pytest.mark.slow
def test_a_video_runs_along(tmp_path):
    """Filmed from a point that stands still, a fast runner is out of the picture in a second."""
    path = tmp_path / "v.mp4"
    found = evaluate(
        lambda _: np.full(6, 0.6),
        "HalfCheetah-v4",
        episodes=2,
        num_envs=1,
        progress=False,
        max_episode_steps=20,
        video=VideoSpec(path, episodes=2),
    )
    assert found.videos == (path,)
    assert found.video_note is None
    env = make_env("HalfCheetah-v4", render=True)
    env.reset(seed=0)
    env.unwrapped.data.qpos[0] += 40.0
    env.unwrapped.do_simulation(np.zeros(6), 1)
    red, _, blue = env.render().astype(int).reshape(-1, 3).T
    env.close()
    assert np.mean(red - blue > 60) > 0.005  # the cheetah is orange, the floor black and white


@pytest.mark.parametrize("name", ["Hopper-v4", "Hopper-v5", "AntMaze_UMaze-v4", "hopper-medium-v3", "robosuite:Lift"])
def test_other_names_stay(name):
    assert choose_env(name, None, {}).spec == name
