"""Images recorded otherwise than the environment draws them are found; those that are not are left alone."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import re

import numpy as np
import pytest

from dtql_robot.api.fit import check_fit
from dtql_robot.cli import main
from dtql_robot.datasets import save_robomimic
from dtql_robot.envs import make_env
from dtql_robot.envs.collection.collect import collect
from dtql_robot.envs.rendering.convention import (
    BLUE_FIRST,
    CHANGES,
    RESETS,
    _remedy,
    convention_of,
    convention_warnings,
    differences,
)
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
    "turned by 90 degrees to the right": lambda image: np.rot90(image, -1),
    "turned by 90 degrees to the left": lambda image: np.rot90(image),
    "recorded with rows and columns exchanged": lambda image: image.transpose(1, 0, 2),
    "with blue and red swapped": lambda image: image[..., ::-1],
    "upside down, with blue and red swapped": lambda image: image[::-1, :, ::-1],
    "turned by 90 degrees to the left, with blue and red swapped": lambda image: np.rot90(image)[..., ::-1],
}
REMEDY = {"upside down": "IMAGE_CONVENTION", "with blue and red swapped": "swap the colour"}


@pytest.fixture(scope="module", params=[(spec, camera) for spec, names in CAMERAS.items() for camera in names])
def starts(request):
    """(spec, key, first images of episodes that no comparison has drawn, those that one draws)"""
    spec, camera = request.param
    key = f"{camera}_image"
    env = make_env(spec, images=ImageObs({key: (84, 84, 3)}))
    with contextlib.closing(env):
        recorded, drawn = ([env.reset(seed=i)[0][key] for i in seeds] for seeds in (range(50, 56), range(RESETS)))
        return spec, key, recorded, drawn


@pytest.mark.slow
def test_images_as_the_environment_draws_them_are_left_alone(starts):
    spec, key, images, _ = starts
    assert convention_warnings({key: images}, spec) == []
    assert convention_warnings({key: images[:1]}, spec) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", CHANGED)
def test_changed_images_are_recognized(starts, how):
    *_, images, drawn = starts
    assert convention_of([CHANGED[how](image) for image in images], drawn) == how


@pytest.mark.slow
@pytest.mark.parametrize("how", REMEDY)
def test_changed_images_are_named_with_their_remedy(starts, how):
    spec, key, images, _ = starts
    (told,) = convention_warnings({key: [CHANGED[how](image) for image in images]}, spec)
    assert f"{key!r} are {how} compared with what {spec} draws" in told
    assert REMEDY[how] in told


def test_nothing_clear_is_nothing_said():
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (32, 32, 3)).astype(np.uint8) for _ in range(8)]
    assert convention_of(noise[:4], noise[4:]) is None
    grey = [np.full((32, 32, 3), 90, np.uint8)] * 2
    assert convention_of(grey, grey) is None


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("exchanged", [False, True])
def test_the_remedy_is_what_undoes_the_change(how, exchanged):
    """Every way a square image can lie is told from the others, and the expression in its remedy puts it right."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
    others = {name: change.undo(drawn) for name, change in CHANGES.items()}
    assert len({image.tobytes() for image in others.values()}) == len(CHANGES)
    (recorded,) = (i for i in others.values() if np.array_equal(CHANGES[how].undo(i), drawn))
    recorded = recorded[..., ::-1] if exchanged else recorded
    found = convention_of([recorded], [drawn])
    if how == "as drawn" and not exchanged:
        assert found is None
        return
    assert found == ", ".join([how] * (how != "as drawn") + [BLUE_FIRST] * exchanged)
    image = recorded
    for expression in re.findall(r"\(((?:np\.rot90\()?image.*?\)?)(?:;[^)]*)?\)(?= and |\.$)", _remedy(found)):
        image = eval(expression, {"np": np, "image": image})
    assert np.array_equal(image, drawn)


def test_wide_images_lie_in_four_ways():
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 255, (12, 20, 3)).astype(np.uint8)
    assert convention_of([drawn[::-1]], [drawn]) == "upside down"
    assert len(differences([drawn], [drawn])) == 8


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
