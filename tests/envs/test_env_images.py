"""Image observations of the real simulators, and what is refused."""

import json

import numpy as np
import pytest

from dtql_robot.envs import make_env
from dtql_robot.envs.collection.collect import collect
from dtql_robot.envs.rendering.camera import check_frame
from dtql_robot.envs.rendering.image_obs import camera_of, camera_record, check_images, image_env, square_images
from dtql_robot.errors import InputError
from dtql_robot.eval.pools.chunked_env import EnvServer
from dtql_robot.types import ImageObs

FETCH = "FetchPickAndPlace-v4"
IMAGES = square_images(("front", "wrist"), 48)


@pytest.mark.gl
@pytest.mark.slow
def test_fetch_shows_the_cube_and_the_fingers_and_no_goal():
    env = make_env(FETCH, images=square_images(("front", "wrist"), 84), render=True, width=84, height=84)
    obs, _ = env.reset(seed=3)
    assert env.observation_space.contains(obs)
    for key in ("front_image", "wrist_image"):
        assert (obs[key].shape, obs[key].dtype) == ((84, 84, 3), np.uint8)
        check_frame(obs[key])
    red, green, blue = np.moveaxis(obs["front_image"].astype(int), 2, 0)
    assert not ((red > 150) & (green < 60) & (blue < 60)).any()  # the marker of the goal
    assert (obs["front_image"].max(axis=2) < 60).sum() > 10  # the cube is black
    shown = env.render().astype(int)
    assert ((shown[..., 0] > 150) & (shown[..., 1] < 60)).any()  # which the video still shows
    for _ in range(3):
        moved, *_ = env.step(np.array([1, 0, 0, 1], np.float32))
    assert (np.abs(moved["front_image"].astype(int) - obs["front_image"]).max(axis=2) > 40).sum() > 20
    env.close()


@pytest.mark.gl
def test_the_wrist_camera_moves_along_with_the_fingers():
    env = make_env(FETCH, images=square_images(("wrist",), 64))
    start = env.reset(seed=3)[0]
    for _ in range(6):
        obs, *_ = env.step(np.array([0, 1, 0.5, 0], np.float32))
    assert np.linalg.norm(obs["observation"][:3] - start["observation"][:3]) > 0.1
    hand = slice(0, 16), slice(16, 48)  # where the picture shows it
    change = np.abs(obs["wrist_image"][hand].astype(int) - start["wrist_image"][hand]).max(axis=2)
    assert (change > 60).mean() < 0.2
    env.close()


@pytest.mark.slow
@pytest.mark.gl
def test_drawing_leaves_the_physics_alone_and_is_the_same_every_time():
    def trace(images):
        env = make_env(FETCH, images=images)
        rng = np.random.default_rng(1)
        seen = [env.reset(seed=11)[0]] + [env.step(rng.uniform(-1, 1, 4))[0] for _ in range(5)]
        env.close()
        return seen

    plain, one, two = trace(None), trace(IMAGES), trace(IMAGES)
    for a, b, c in zip(plain, one, two, strict=True):
        assert np.array_equal(a["observation"], b["observation"])
        assert np.array_equal(b["front_image"], c["front_image"])


@pytest.mark.slow
@pytest.mark.gl
def test_frames_are_stacked_and_only_those_that_are_seen_are_drawn():
    single, stacked = (EnvServer(FETCH, images=ImageObs(IMAGES.shapes, frames)) for frames in (1, 3))
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 4)).astype(np.float32)
    first = stacked.reset(4)["front_image"]
    assert first.shape == (3, 48, 48, 3)
    assert (first == first[0]).all()
    start = single.reset(4)["front_image"]
    assert np.array_equal(first[0], start)
    drawn = [single.run_chunk(actions[i : i + 1]).obs["front_image"] for i in range(5)]
    assert np.array_equal(stacked.run_chunk(actions[:4]).obs["front_image"], np.stack(drawn[1:4]))
    assert np.array_equal(stacked.run_chunk(actions[4:]).obs["front_image"], np.stack(drawn[2:5]))
    single.reset(4)
    calls = []
    inner = image_env(single.env)
    plain = inner._draw
    inner._draw = lambda key: calls.append(key) or plain(key)
    assert np.array_equal(single.run_chunk(actions).obs["front_image"], drawn[4])
    assert calls == ["front_image", "wrist_image"]
    single.close()
    stacked.close()


@pytest.mark.gl
def test_other_families_take_their_own_cameras():
    env = make_env("AdroitHandDoor-v1", images=square_images(("fixed",), 48))
    check_frame(env.reset(seed=0)[0]["fixed_image"])
    env.close()


@pytest.mark.slow
@pytest.mark.gl
def test_collected_images_do_not_depend_on_the_workers_and_are_recorded():
    task = f"{FETCH}+proprio=observation[0:3],observation[9:11]"
    one, two = (collect(task, 2, workers=w, progress=False, cameras=("front",), size=32) for w in (1, 2))
    for a, b in zip(one.episodes, two.episodes, strict=True):
        assert a.obs["front_image"].shape == (50, 32, 32, 3)
        assert np.array_equal(a.obs["front_image"], b.obs["front_image"])
        assert np.array_equal(a.final_obs["front_image"], b.final_obs["front_image"])
        assert np.array_equal(a.obs["proprio"], a.obs["observation"][:, [0, 1, 2, 9, 10]])
    assert one.env_args["env_kwargs"] == {"camera_names": ["front"], "camera_heights": 32, "camera_widths": 32}
    assert one.env_args["dtql_robot_env_spec"] == task
    assert json.loads(json.dumps(one.env_args)) == one.env_args


def test_a_mismatch_is_one_sentence():
    env = make_env(FETCH)
    facts = env.get_wrapper_attr("facts")
    env.close()
    record = camera_record(IMAGES, facts)
    check_images(IMAGES, facts, record)
    elsewhere = {**record, "camera_views": {"front": {"lookat": [0, 0, 0]}}}
    for images, args, sentence in (
        (square_images(("side",), 48), {}, r"needs a camera 'side'; FetchPickAndPlace-v4 has .*front, wrist"),
        (square_images(("front",), 64), record, "is 64x64 pixels, but the data's record of its cameras says 48x48"),
        (ImageObs({"front_image": (3, 48, 48)}), {}, "has 48 channels"),
        (ImageObs({"front_image": (48, 48, 1)}), {}, "has 1 channels; .* draws colour images"),
        (ImageObs({"pixels": (48, 48, 3)}), {}, "'pixels' is an image, but of which camera is not known"),
        (IMAGES, elsewhere, "'front' of FetchPickAndPlace-v4 stood elsewhere"),
    ):
        with pytest.raises(InputError, match=sentence):
            check_images(images, facts, args)
    with pytest.raises(InputError, match="at least 8 pixels"):
        square_images(("front",), 4)
    assert camera_of("observation/front_image") == "front"
    two_sizes = {"env_kwargs": {"camera_names": ["a", "front"], "camera_heights": [9, 48], "camera_widths": [9, 48]}}
    check_images(IMAGES, facts, two_sizes)
