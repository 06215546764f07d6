"""Curves below the scene, clips of single episodes, policies side by side, and the number that decides success."""

import json

import numpy as np
import pytest
import torch

from dtql_robot import InputError, load_policy
from dtql_robot.cli import main
from dtql_robot.config import PolicyConfig
from dtql_robot.envs.make import make_env
from dtql_robot.eval.episode_result import EpisodeResult
from dtql_robot.eval.video.labels import NOTE, STRIP
from dtql_robot.eval.video.side_by_side import telling_seeds
from dtql_robot.eval.video.spec import VideoSpec
from dtql_robot.eval.video.traces import COLOURS, HEIGHT, TOP, Panels, Trace
from tests.helpers.saved_policy import observation, reaching_run, small_policy
from tests.helpers.video_frames import read_video


def test_a_curve_is_bright_up_to_the_step_that_is_shown():
    trace = Trace("Q", np.arange(10.0), np.linspace(-1, 1, 10)[:, None])
    panels = Panels([trace, trace], 10, 200)
    assert panels.at(5).shape == (2 * HEIGHT, 200, 3)
    bright = (panels.at(5)[TOP:HEIGHT] == COLOURS[0]).all(axis=2).any(axis=0)
    assert bright[:100].mean() > 0.9
    assert not bright[103:].any()
    rows = [np.flatnonzero((panels.at(9)[TOP:HEIGHT, x] == COLOURS[0]).all(axis=1)).mean() for x in (10, 110, 175)]
    assert rows[0] > rows[1] > rows[2]  # it rises


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"overlay": "actions,speed"}, "no overlay 'speed'; expected one of keypoints, saliency, actions, q"),
        ({"overlay": ("keypoints", "saliency")}, "expected one of them"),
    ],
)
def test_overlays_that_there_are_not(options, sentence):
    with pytest.raises(InputError, match=sentence):
        VideoSpec("v.mp4", **options)


def test_the_values_are_those_of_the_lower_target_critic():
    policy = small_policy(policy=PolicyConfig(act="best", candidates=4, tr_at="sample"))
    obs = {key: value[None] for key, value in observation(3).items()}
    chunk = policy.predict(obs, [np.random.default_rng(0)])
    state = torch.from_numpy(policy.interface.read(obs))
    scaled = torch.from_numpy(policy.interface.action_norm.apply(chunk))
    with torch.no_grad():
        q1, q2 = policy.model.target_q(state, scaled)
    assert policy.action_values(obs, chunk) == pytest.approx(min(float(q1), float(q2)), rel=1e-5)
    blind = small_policy(policy=PolicyConfig(q_weight=0.0, awr_temperature=0.0))
    with pytest.raises(InputError, match="trained without a critic"):
        blind.action_values(obs, chunk)


def test_episodes_are_shown_first_in_which_policies_part_ways():
    def run(outcomes):
        return {seed: EpisodeResult(seed, bool(won), 0.0, 5, None) for seed, won in enumerate(outcomes)}

    a, b = run([1, 1, 1, 0, 0, 1]), run([1, 0, 0, 1, 0, 1])
    assert telling_seeds([a, b], 9) == [1, 3, 2, 4, 0, 5]
    assert telling_seeds([a, b], 2) == [1, 3]
    assert telling_seeds([a, {7: a[0]}], 2) == []
    assert telling_seeds([a, b | {3: EpisodeResult(3, False, 0.0, 0, None, error="it died")}], 2) == [1, 2]


def test_the_number_that_is_shown_decides_success():
    env = make_env("FetchPush-v4")
    facts, sim = env.get_wrapper_attr("facts"), env.unwrapped
    obs, _ = env.reset(seed=0)
    for away, won in ((0.049, True), (0.051, False)):
        sim.goal = obs["achieved_goal"].astype(np.float64) - np.array([0.0, 0.0, away])
        obs, *_, info = env.step(np.zeros(4))
        assert info["success"] == won == (facts.measure.read(obs) < facts.measure.threshold)
        assert facts.measure.told(facts.measure.read(obs)).startswith(f"distance to goal {away:.3f} m (success below")


def test_mazes_have_a_start_and_a_goal():
    env = make_env("PointMaze_UMaze-v3")
    facts = env.get_wrapper_attr("facts")
    obs, _ = env.reset(seed=0)
    assert facts.places["robot"].read(obs) == pytest.approx(env.unwrapped.data.qpos[:2].tolist(), abs=1e-5)
    assert facts.measure.threshold == 0.45


def test_the_door_has_an_angle_and_its_handle_a_place():
    env = make_env("AdroitHandDoor-v1")
    facts = env.get_wrapper_attr("facts")
    obs, _ = env.reset(seed=1)
    sim = env.unwrapped
    assert facts.places["handle"].read(obs) == pytest.approx(sim.data.site_xpos[sim.handle_site_id].tolist(), abs=1e-5)
    for angle, won in ((1.5, True), (1.2, False)):
        sim.data.qpos[sim.door_hinge_addrs] = angle
        obs, *_, info = env.step(np.zeros(28))
        assert facts.measure.read(obs) == pytest.approx(float(sim.data.qpos[sim.door_hinge_addrs]), abs=1e-5)
        assert info["success"] == won == (facts.measure.read(obs) >= 1.35)


@pytest.mark.slow
def test_lift_is_judged_by_the_height_of_the_cube():
    pytest.importorskip("robosuite", reason="robosuite is not installed")
    env = make_env("robosuite:Lift")
    facts = env.get_wrapper_attr("facts")
    obs, _ = env.reset(seed=0)
    sim = env.unwrapped.sim_env
    assert facts.places["cube"].read(obs) == pytest.approx(sim.sim.data.body_xpos[sim.cube_body_id].tolist(), abs=1e-5)
    for height, won in ((0.83, False), (0.9, True)):
        joint = sim.cube.joints[0]
        sim.sim.data.set_joint_qpos(joint, [0.0, 0.0, height, 1.0, 0.0, 0.0, 0.0])
        sim.sim.forward()
        assert bool(sim._check_success()) == won == (height > facts.measure.threshold)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two evaluated runs; the first one with a video, curves and clips."""
    folder = tmp_path_factory.mktemp("runs")
    a, b = (reaching_run(folder / name, seed=i) for i, name in enumerate("ab"))
    options = ["--episodes", "3", "--workers", "1", "--max-episode-steps", "8"]
    film = ["--video", str(a / "v.mp4"), "--video-overlay", "actions,q", "--video-size", "160", "--video-episodes", "1"]
    assert main(["-q", "eval", str(a), *options, *film, "--clips", "2"]) == 0
    assert main(["-q", "eval", str(b), *options]) == 0
    return a, b, options


@pytest.mark.slow
@pytest.mark.gl
def test_the_video_has_curves_and_the_report_clips(runs):
    a, _, _ = runs
    frames, _ = read_video(a / "v.mp4")
    assert frames[0].shape == (160 + 2 * HEIGHT + STRIP + NOTE, 160, 3)
    found = json.loads((a / "results.json").read_text())
    assert set(found["clips"]) == {"1000000000", "1000000001"}
    assert found["measure"] == {"name": "distance to goal", "threshold": 0.05, "below": True, "unit": "m"}
    for name in found["clips"].values():
        clip, _ = read_video(a / "clips" / name)
        assert len(clip) > 8
    html = (a / "report.html").read_text()
    assert html.count("data:video/mp4;base64,") == 3
    assert "2 of 3 episodes have a clip" in html
    assert "distance to goal after the last step (m); success is below 0.05" in html


@pytest.mark.slow
@pytest.mark.gl
def test_clips_that_are_asked_for_later_join_those_that_there_are(runs):
    a, _, options = runs
    film = ["--video", str(a / "episode-3.mp4"), "--video-pick", "2", "--video-size", "160"]
    assert main(["-q", "eval", str(a), *options, *film]) == 0
    assert set(json.loads((a / "results.json").read_text())["clips"]) == {"1000000000", "1000000001", "1000000002"}
    assert "3 of 3 episodes have a clip" in (a / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.gl
def test_two_policies_play_the_same_episodes_side_by_side(runs, tmp_path, capsys):
    a, b, _ = runs
    video = tmp_path / "ab.mp4"
    assert (
        main(["-q", "compare", str(a), str(b), "--video", str(video), "--video-episodes", "1", "--video-size", "160"])
        == 0
    )
    assert str(video) in capsys.readouterr().out
    frames, _ = read_video(video)
    assert frames[0].shape == (160 + STRIP + NOTE, 320, 3)
    last = frames[-1].astype(int)
    assert np.abs(last[:160, :160] - last[:160, 160:]).max() > 60  # two robots, and not one twice
    assert main(["compare", str(a / "results.json"), str(b), "--video", str(video)]) == 2
    assert "takes their run folders" in capsys.readouterr().err
    assert main(["compare", str(a), str(b), "--video-episodes", "2"]) == 2
    assert "name its file with --video too" in capsys.readouterr().err


@pytest.mark.slow
def test_an_exported_folder_is_evaluated_as_its_run(runs, tmp_path):
    a, _, options = runs
    folder = tmp_path / "policy"
    assert main(["-q", "export", str(a), "--format", "safetensors", "--out", str(folder)]) == 0
    assert main(["-q", "eval", str(folder), *options]) == 0
    of_run, of_folder = (json.loads((where / "results.json").read_text()) for where in (a, folder))
    assert of_folder["per_episode"] == of_run["per_episode"]
    assert of_folder["env"] == "FetchReach-v4"
    html = (folder / "report.html").read_text()
    assert "the policy was exported" in html
    assert "dtql-robot train" not in html
    assert load_policy(folder).recorded_env.spec == "FetchReach-v4"
    assert main(["-q", "eval", str(folder), *options, "--n-action-steps", "1"]) == 0  # a probe takes no headline
    assert len(list((folder / "results").glob("*.json"))) == 1
