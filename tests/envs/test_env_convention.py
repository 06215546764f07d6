"""Images recorded otherwise than the environment draws them are found; those that are not are left alone."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util

import numpy as np
import pytest

from dtql_robot.api.fit import check_fit
from dtql_robot.cli import main
from dtql_robot.datasets import save_robomimic
from dtql_robot.envs import make_env
from dtql_robot.envs.collection.collect import collect
from dtql_robot.envs.rendering.convention import convention_of, convention_warnings
from dtql_robot.envs.rendering.gl import gl_missing
from dtql_robot.types import ImageObs

pytestmark = [
    pytest.mark.gl,
    pytest.mark.skipif(gl_missing() is not None, reason=str(gl_missing())),
]
CAMERAS = {"FetchPush-v4": ("front", "wrist"), "FetchPickAndPlace-v4": ("front",)}
if importlib.util.find_spec("robosuite") is not None:
    CAMERAS["robosuite:Lift"] = ("agentview", "robot0_eye_in_hand", "frontview")
CHANGED = {
    "upside down": lambda image: image[::-1],
    "mirrored": lambda image: image[:, ::-1],
    "turned by 180 degrees": lambda image: image[::-1, ::-1],
    "with blue and red swapped": lambda image: image[..., ::-1],
    "upside down, with blue and red swapped": lambda image: image[::-1, :, ::-1],
}
REMEDY = {"upside down": "IMAGE_CONVENTION", "mirrored": "mirror them", "with blue and red swapped": "swap the colour"}


@pytest.fixture(scope="module", params=[(spec, camera) for spec, names in CAMERAS.items() for camera in names])
def starts(request):
    """(spec, key, first images of episodes that no comparison has drawn)"""
    spec, camera = request.param
    key = f"{camera}_image"
    env = make_env(spec, images=ImageObs({key: (84, 84, 3)}))
    with contextlib.closing(env):
        return spec, key, [env.reset(seed=seed)[0][key] for seed in range(50, 56)]


@pytest.mark.slow
def test_images_as_the_environment_draws_them_are_left_alone(starts):
    spec, key, images = starts
    assert convention_warnings({key: images}, spec) == []
    assert convention_warnings({key: images[:1]}, spec) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", CHANGED)
def test_changed_images_are_named_with_their_remedy(starts, how):
    spec, key, images = starts
    (told,) = convention_warnings({key: [CHANGED[how](image) for image in images]}, spec)
    assert f"{key!r} are {how} compared with what {spec} draws" in told
    assert REMEDY.get(how, "In the data, ") in told


def test_nothing_clear_is_nothing_said():
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (32, 32, 3)).astype(np.uint8) for _ in range(8)]
    assert convention_of(noise[:4], noise[4:]) is None
    grey = [np.full((32, 32, 3), 90, np.uint8)] * 2
    assert convention_of(grey, grey) is None


@pytest.mark.slow
def test_train_and_validate_say_it(tmp_path, capsys):
    demos = collect("FetchReach-v4", 2, workers=1, progress=False, cameras=("front",), size=48)
    assert check_fit(demos, None, list(demos.obs_shapes)) == []
    turned = [
        dataclasses.replace(e, obs={**e.obs, "front_image": e.obs["front_image"][:, ::-1]}) for e in demos.episodes
    ]
    upside_down = dataclasses.replace(demos, episodes=tuple(turned))
    (note,) = check_fit(upside_down, None, list(demos.obs_shapes))
    assert note.startswith("The images 'front_image' are upside down")
    assert check_fit(upside_down, None, ["observation"]) == []
    path = save_robomimic(upside_down, tmp_path / "turned.hdf5")
    assert main(["validate", str(path)]) == 0  # whether --obs-keys names them or not
    assert "images 'front_image' are upside down" in capsys.readouterr().out
    assert main(["validate", str(path), "--env", "FetchPush-v4"]) == 2
