import re

import numpy as np
import pytest

from dtql_robot.envs.rendering.camera import check_frame
from dtql_robot.errors import InputError
from dtql_robot.eval import VideoSpec, evaluate, evaluation
from dtql_robot.eval.video import clips
from dtql_robot.eval.video import film as video
from dtql_robot.eval.video.labels import BLUE, GREEN, NOTE, RED, STRIP, caption, card
from dtql_robot.eval.video.spec import choose_episodes, pace, pick_episodes
from tests.helpers.eval_policies import ScriptedPolicy
from tests.helpers.video_frames import read_video


@pytest.mark.parametrize(
    ("successes", "count", "shown"),
    [
        ([1, 0, 1, 0, 1, 0, 1, 0], 6, [0, 1, 2, 3, 4, 5]),
        ([1, 1, 1, 1, 1, 0], 4, [0, 1, 2, 5]),
        ([0, 0, 0, 0, 1], 4, [0, 1, 2, 4]),
        ([1] * 9, 3, [0, 1, 2]),
        ([0] * 9, 3, [0, 1, 2]),
        ([1, 0], 6, [0, 1]),
        ([0, 0, 1], 1, [2]),
    ],
)
def test_the_video_mixes_failures_and_successes(successes, count, shown):
    assert pick_episodes([bool(s) for s in successes], count) == shown


@pytest.mark.parametrize(
    ("fps", "horizon", "expected"), [(25, 50, (1, 25, 1.0)), (100, 200, (4, 25, 1.0)), (12, 280, (2, 12, 2.0))]
)
def test_pace(fps, horizon, expected):
    timing = pace(fps, horizon, VideoSpec("v.mp4"))
    assert (timing.stride, timing.fps, timing.speed) == expected


def test_the_badge_says_how_the_episode_ended():
    frame = np.full((160, 160, 3), 200, np.uint8)
    for success, colour in ((True, GREEN), (False, RED)):
        shown = caption(frame, title="Episode 1 of 2", detail="seed 1   step 2/50", success=success)
        assert shown.shape == (160 + STRIP, 160, 3)
        assert np.array_equal(shown[:160], frame)
        assert (shown[160:] == colour).all(axis=2).sum() > 800
        noted = caption(frame, title="Episode 1 of 2", detail="seed 1", success=success, note="distance 0.1 m")
        assert noted.shape == (160 + STRIP + NOTE, 160, 3)
    assert card(160, 208, ["50% success", "x" * 80]).shape == (208, 160, 3)


def colour_of_badge(picture, scene=160):
    """Which of the badge's colours fills most of the strip below the scene."""
    strip = picture[scene:].astype(int)
    found = {
        name: (np.abs(strip - colour).max(axis=2) < 40).sum()
        for name, colour in (("green", GREEN), ("red", RED), ("blue", BLUE))
    }
    return max(found, key=found.__getitem__)


@pytest.mark.parametrize(
    ("success", "signals", "badges"),
    [
        (True, [False, True, False, True], ["blue", "green", "blue", "green"]),  # there, gone, and back at the end
        (False, [False, True, False, False], ["blue", "green", "blue", "red"]),
        (True, (), ["green"] * 4),
        (None, [None] * 4, ["blue"] * 4),
    ],
)
def test_the_badge_turns_when_success_is_reached(success, signals, badges):
    frame = np.full((160, 160, 3), 200, np.uint8)
    clip = clips.Clip("Episode 1 of 2", "seed 1", 3, success, [(i, frame) for i in range(4)], 1.0, signals)
    assert [colour_of_badge(clip.picture(i)) for i in range(4)] == badges
    assert colour_of_badge(clip.picture(9)) == badges[-1]


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"width": 250}, "A video's width must be a multiple of 16, found 250"),
        ({"height": 40}, "A video's height must be at least 160, found 40"),
        ({"width": "wide"}, "A video's width must be a whole number at least 160, found 'wide'"),
        ({"path": "v.avi"}, "must be an .mp4 file"),
        ({"episodes": 0}, "A video's episodes must be at least 1, found 0"),
        ({"episodes": 2.5}, "A video's episodes must be a whole number at least 1, found 2.5"),
        ({"fps": 0}, "A video's fps must be at least 1, found 0"),
        ({"fps": 0.5}, "A video's fps must be a whole number at least 1, found 0.5"),
        ({"max_failures": -1}, "A video's max_failures must be at least 0, found -1"),
        ({"max_frames": 1}, "A video's max_frames must be at least 2, found 1"),
        (
            {"filter": "failed"},
            "A video's filter is 'failed'; expected all, failures or successes. Did you",
        ),
        ({"pick": 3}, "A video's pick is 3; expected numbers of episodes"),
        ({"pick": (0.5,)}, "A video's pick is (0.5,); expected numbers of episodes"),
    ],
)
def test_impossible_videos_are_refused(kwargs, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        VideoSpec(**{"path": "v.mp4", **kwargs})


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    spec = VideoSpec(tmp_path_factory.mktemp("video") / "rollouts.mp4", episodes=2, width=160, height=160)
    policy = ScriptedPolicy("FetchReach-v4", noise=0.9)
    return evaluate(policy, "FetchReach-v4", episodes=6, num_envs=2, video=spec, progress=False), spec


@pytest.mark.slow
@pytest.mark.gl
def test_the_video_shows_labelled_episodes(filmed):
    result, spec = filmed
    assert (result.video, result.video_note) == (spec.path, None)
    assert 0 < result.successes < result.episodes
    frames, fps = read_video(spec.path)
    assert fps == 25
    assert frames[0].shape == (160 + STRIP + NOTE, 160, 3)
    card_frames, hold = round(clips.CARD_SECONDS * 25), round(clips.HOLD_SECONDS * 25)
    assert len(frames) == card_frames + 2 * (51 + hold)
    verdicts, starts = [], []
    for begin in (card_frames, card_frames + 51 + hold):
        check_frame(frames[begin][:160])
        starts.append(colour_of_badge(frames[begin]))
        verdicts.append(colour_of_badge(frames[begin + 51 + hold - 1]))
    assert (starts, sorted(verdicts)) == (["blue", "blue"], ["green", "red"])
    assert [p.name for p in spec.path.parent.iterdir()] == ["rollouts.mp4"]


@pytest.mark.slow
@pytest.mark.gl
def test_an_episode_that_replays_differently_is_left_out_and_named(tmp_path, monkeypatch):
    class Shy(ScriptedPolicy):
        """Never moves before a camera."""

        filmed = False

        def predict(self, obs, rngs):
            chunks = super().predict(obs, rngs)
            return np.zeros_like(chunks) if self.filmed else chunks

    def film(policy, *args, **kwargs):
        policy.filmed = True
        return video.film(policy, *args, **kwargs)

    monkeypatch.setattr(evaluation, "film", film)
    spec = VideoSpec(tmp_path / "v.mp4", episodes=2, width=160, height=160)
    result = evaluate(Shy("FetchReach-v4"), "FetchReach-v4", episodes=2, num_envs=2, video=spec, progress=False)
    assert result.success_rate == 1
    assert "seed 1000000000, 1000000001 ended differently" in result.video_note


@pytest.mark.slow
@pytest.mark.gl
def test_a_video_for_each_camera(tmp_path):
    """The same episodes from two sides."""
    cameras = ("external_camera_0", "head_camera_rgb")
    specs = [VideoSpec(tmp_path / f"{c}.mp4", episodes=1, width=160, height=160, camera=c) for c in cameras]
    policy = ScriptedPolicy("FetchReach-v4")
    result = evaluate(policy, "FetchReach-v4", episodes=1, num_envs=1, video=specs, progress=False)
    assert result.video_note is None
    assert result.to_dict()["videos"] == [f"{c}.mp4" for c in cameras]
    (a, _), (b, _) = (read_video(path) for path in result.videos)
    assert len(a) == len(b)
    for frame in (a[-1], b[-1]):
        check_frame(frame[:160])
    assert np.abs(a[-1][:160].astype(int) - b[-1][:160]).mean() > 10


@pytest.mark.gl
def test_the_video_is_what_browsers_play(filmed):
    import imageio_ffmpeg

    _, spec = filmed
    about = next(imageio_ffmpeg.read_frames(str(spec.path)))
    assert (about["codec"], about["pix_fmt"].partition("(")[0]) == ("h264", "yuv420p")
    assert spec.path.read_bytes()[4:12] == b"ftypisom"


OUTCOMES = [True, False, True, True, False, True]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"episodes": 2}, [0, 1]),
        ({"filter": "failures"}, [1, 4]),
        ({"filter": "successes", "episodes": 3}, [0, 2, 3]),
        ({"pick": (5, 1)}, [5, 1]),
        ({"pick": (1,), "filter": "successes"}, [1]),
    ],
)
def test_which_episodes_are_filmed(options, shown):
    assert choose_episodes(OUTCOMES, VideoSpec("v.mp4", **options)) == shown


def test_a_random_choice_is_the_same_each_time():
    spec = VideoSpec("v.mp4", episodes=3, random=True)
    first = choose_episodes([True] * 50, spec)
    assert first == choose_episodes([True] * 50, spec)
    assert first != [0, 1, 2]
    assert len(set(first)) == 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pick": (0, 6)}, "no episode 6 to film; expected 0 to 1"),
        ({"camera": "ceiling"}, "FetchReach-v4 has no camera 'ceiling'; it has head_camera_rgb"),
        ({"path": "file/v.mp4"}, "v.mp4 cannot be written"),
        ({"path": "folder.mp4"}, "folder.mp4 is a folder"),
    ],
)
def test_what_cannot_be_filmed_is_said_before_anything_is_run(tmp_path, options, sentence):
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder.mp4").mkdir()
    spec = VideoSpec(**{**options, "path": tmp_path / options.get("path", "v.mp4")})
    policy = ScriptedPolicy("FetchReach-v4")
    with pytest.raises(InputError, match=sentence):
        evaluate(policy, "FetchReach-v4", episodes=2, num_envs=1, video=spec, progress=False)
    assert policy.batch_sizes == []


@pytest.mark.gl
def test_a_filter_that_leaves_nothing_is_said(tmp_path):
    spec = VideoSpec(tmp_path / "v.mp4", filter="failures")
    result = evaluate(
        ScriptedPolicy("FetchReach-v4", noise=0.0), "FetchReach-v4", episodes=2, num_envs=1, video=spec, progress=False
    )
    assert result.video is None
    assert "There are no failures among the 2 episodes" in str(result.video_note)


@pytest.mark.slow
@pytest.mark.gl
def test_a_grid_shows_all_episodes_at_once(tmp_path):
    spec = VideoSpec(tmp_path / "grid.mp4", episodes=3, grid=True, width=160, height=160)
    policy = ScriptedPolicy("FetchReach-v4", noise=0.9)
    result = evaluate(policy, "FetchReach-v4", episodes=3, num_envs=1, video=spec, progress=False)
    assert result.video_note is None
    frames, _ = read_video(spec.path)
    height = 160 + STRIP + NOTE
    assert frames[0].shape == (2 * height, 2 * 160, 3)
    for row, column in ((0, 0), (0, 160), (height, 0)):
        check_frame(frames[-1][row : row + 160, column : column + 160])
    assert frames[-1][height:, 160:].max() < 60


@pytest.mark.gl
def test_a_frame_of_noise_becomes_a_note_and_no_video(tmp_path, monkeypatch):
    from dtql_robot.envs.rendering.camera import Camera

    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    monkeypatch.setattr(Camera, "frame", lambda self: noise)
    spec = VideoSpec(tmp_path / "v.mp4", episodes=1, width=160, height=160)
    with pytest.warns(UserWarning, match="could not be made"):
        result = evaluate(
            ScriptedPolicy("FetchReach-v4"), "FetchReach-v4", episodes=1, num_envs=1, video=spec, progress=False
        )
    assert result.video is None
    assert "the frame is noise" in result.video_note
    assert not spec.path.exists()


def test_without_a_graphics_library_the_evaluation_stands_and_the_note_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "gl_missing", lambda: "run `sudo apt-get install -y libegl1 libgl1`")
    policy, spec = ScriptedPolicy("FetchReach-v4"), VideoSpec(tmp_path / "v.mp4")
    result = evaluate(policy, "FetchReach-v4", episodes=1, num_envs=1, video=spec, progress=False)
    assert result.episodes == 1
    assert result.video is None
    assert "libegl1" in result.to_dict()["video_note"]
