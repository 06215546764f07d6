"""From scripted demonstrations with images to an evaluated policy, as a user does it."""

import json
import subprocess
import sys

import h5py
import imageio.v2 as imageio
import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load, save_minari

pytestmark = pytest.mark.gl
TASK = "FetchReach-v4+proprio=observation[0:3],observation[3:5]"
KEYS = ["--obs-keys", "proprio", "desired_goal", "front_image", "wrist_image"]
SMALL = [
    *["--steps", "4", "--batch-size", "8", "--log-every", "2", "--device", "cpu", "--denoiser-width", "16"],
    *["--policy-hidden", "16", "--critic-hidden", "16", "--image-features", "8", "--augment-pixels", "2"],
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("pixels") / "reach.hdf5"
    command = ["collect", TASK, "--episodes", "2", "--cameras", "front,wrist", "--size", "40", "--workers", "1"]
    assert main([*command, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def run(data):
    run = data.with_name("run")
    assert main(["train", "--data", str(data), "--out", str(run), *KEYS, *SMALL]) == 0
    return run


def refused(capsys, *arguments) -> str:
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 2
    return capsys.readouterr().err


@pytest.mark.slow
def test_a_second_process_evaluates_with_the_cameras_of_the_data(run, capsys):
    video = run / "look.mp4"
    options = ["--episodes", "2", "--num-envs", "1", "--video", str(video), "--video-overlay", "keypoints"]
    command = [sys.executable, "-m", "dtql_robot", "eval", str(run), *options]
    done = subprocess.run([*command, "--video-size", "160", "--video-episodes", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads((run / "results.json").read_text())
    assert results["env"] == TASK
    assert len(results["per_episode"]) == 2
    assert results["video_note"] is None
    frames = imageio.mimread(video, memtest=False)
    assert frames[0].shape[1] == 160 + 80  # two images of 80 one below the other beside the scene
    assert "cannot be exported" in refused(capsys, "export", run, "--format", "torchscript", "--out", run / "p.pt")


@pytest.mark.slow
def test_where_images_run_makes_no_difference(run):
    from dtql_robot import evaluate, load_policy

    spec = json.loads((run / "config.json").read_text())["env"]
    one, two = (
        evaluate(load_policy(run), spec, episodes=2, num_envs=2, where=where, progress=False)
        for where in ("in-process", "processes")
    )
    assert one.per_episode == two.per_episode


@pytest.mark.slow
def test_what_does_not_fit_is_refused_before_anything_is_drawn(run, data, capsys):
    assert "needs a camera 'front'; AdroitHandDoor-v1 has" in refused(capsys, "eval", run, "--env", "AdroitHandDoor-v1")
    assert "sees none" in refused_overlay(run, data, capsys)
    settings = json.loads((run / "config.json").read_text())
    changed = json.loads(json.dumps(settings))
    changed["env_args"]["env_kwargs"]["camera_heights"] = 64
    other = run.with_name("changed")
    other.mkdir()
    (other / "checkpoint.pt").write_bytes((run / "checkpoint.pt").read_bytes())
    (other / "config.json").write_text(json.dumps(changed))
    assert "is 40x40 pixels, but the data's record of its cameras says 64x40" in refused(capsys, "eval", other)


def refused_overlay(run, data, capsys) -> str:
    blind = run.with_name("blind")
    assert main(["train", "--data", str(data), "--out", str(blind), "--obs-keys", "proprio", *SMALL]) == 0
    options = ("--episodes", 1, "--video", blind / "v.mp4", "--video-overlay", "saliency")
    return refused(capsys, "eval", blind, *options)


@pytest.mark.slow
def test_the_file_is_one_that_others_read(data, tmp_path):
    with h5py.File(data) as file:
        demo = file["data/demo_0"]
        assert demo["obs/front_image"].shape == demo["next_obs/front_image"].shape == (50, 40, 40, 3)
        assert demo["obs/front_image"].chunks == (1, 40, 40, 3)
        np.testing.assert_array_equal(demo["obs/front_image"][1:], demo["next_obs/front_image"][:-1])
        assert json.loads(file["data"].attrs["env_args"])["env_name"] == "FetchReach-v4"
    demos = load(data, obs_keys=KEYS[1:])
    assert demos.env_spec == TASK
    again = load(save_minari(demos, tmp_path / "reach-v0"), obs_keys=KEYS[1:])
    assert again.env_spec == TASK
    for a, b in zip(demos.episodes, again.episodes, strict=True):
        np.testing.assert_array_equal(a.obs["front_image"], b.obs["front_image"])
        np.testing.assert_array_equal(a.final_obs["wrist_image"], b.final_obs["wrist_image"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--cameras", "top"], "needs a camera 'top'; FetchReach-v4 has"),
        (["--cameras", "front", "--size", "2"], "at least 8 pixels"),
    ],
)
def test_collect_refuses_before_it_records(tmp_path, capsys, arguments, sentence):
    out = tmp_path / "x.hdf5"
    assert sentence in refused(capsys, "collect", "FetchReach-v4", "--out", out, *arguments)
    assert not out.exists()
