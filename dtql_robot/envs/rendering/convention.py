"""Whether recorded images are drawn as the environment draws them: the right way up, colours in the same order.

robosuite's own observations are upside down by default (macros.IMAGE_CONVENTION = "opengl"), and OpenCV writes blue
first.  A policy that was trained on such images sees other ones when it is evaluated.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtql_robot.envs.make import make_env
from dtql_robot.envs.rendering.gl import gl_missing
from dtql_robot.types import Array, Frame, ImageObs


@dataclass(frozen=True)
class Change:
    """undo: what turns recorded images (..., H, W, C) into drawn ones.  remedy: the same in words."""

    undo: Callable[[Array], Array]
    remedy: str


def _turned(times: int) -> Callable[[Array], Array]:
    return lambda image: np.rot90(image, times, axes=(-3, -2))


CHANGES: dict[str, Change] = {
    "as drawn": Change(lambda image: image, ""),
    "upside down": Change(
        lambda image: image[..., ::-1, :, :],
        'flip them (image[::-1]; in robosuite record with macros.IMAGE_CONVENTION = "opencv")',
    ),
    "mirrored": Change(lambda image: image[..., :, ::-1, :], "mirror them (image[:, ::-1])"),
    "turned by 180 degrees": Change(_turned(2), "turn them (image[::-1, ::-1])"),
    "turned by 90 degrees to the right": Change(_turned(1), "turn them back (np.rot90(image))"),
    "turned by 90 degrees to the left": Change(_turned(-1), "turn them back (np.rot90(image, -1))"),
    "recorded with rows and columns exchanged": Change(
        lambda image: np.swapaxes(image, -3, -2), "exchange the two (image.transpose(1, 0, 2))"
    ),
    "recorded with rows and columns exchanged, both from the end": Change(
        lambda image: np.swapaxes(_turned(2)(image), -3, -2), "exchange the two (image[::-1, ::-1].transpose(1, 0, 2))"
    ),
}
"""Every way in which a square can lie, by its name; the last four are looked for in square images alone."""
BLUE_FIRST = "with blue and red swapped"
RESETS = 4
CLEARER = 0.75  # a change explains the images if they then differ by less than this share of what they did before


def differences(recorded: Sequence[Frame], drawn: Sequence[Frame]) -> dict[tuple[str, bool], float]:
    """(change, colours exchanged) -> mean absolute difference of all recorded images from all drawn ones, 0 to 255.

    recorded, drawn: (H, W, 3) uint8, of one camera at the start of different episodes.  What differs between episodes
    differs under every change; what stays (robot, table, background) agrees under the right one alone.  Medians over
    the episodes leave what stays.
    """
    ours, theirs = _typical(recorded), _typical(drawn)
    found = {}
    for name, change in CHANGES.items():
        turned = change.undo(ours)
        if turned.shape != theirs.shape:
            continue
        for exchanged in (False, True):
            image = turned[..., ::-1] if exchanged else turned
            found[name, exchanged] = float(np.abs(image - theirs).mean())
    return found


def _typical(images: Sequence[Frame]) -> Array:
    return np.median(np.stack([np.asarray(image, np.float32) for image in images]), axis=0)


def convention_of(recorded: Sequence[Frame], drawn: Sequence[Frame]) -> str | None:
    """How the recorded images differ from the drawn ones ("upside down"); None where nothing clear is found."""
    found = differences(recorded, drawn)
    best = min(found, key=found.__getitem__)
    if found[best] >= CLEARER * found["as drawn", False]:
        return None
    name, exchanged = best
    if not exchanged:
        return name
    return BLUE_FIRST if name == "as drawn" else f"{name}, {BLUE_FIRST}"


def convention_warnings(
    recorded: Mapping[str, Sequence[Frame]], spec: str, env_args: dict[str, Any] | None = None
) -> list[str]:
    """One sentence for each image observation that is recorded otherwise than the environment draws it.

    recorded: key -> images (H, W, 3) uint8 at the start of some episodes.  Makes the environment and resets it a few
    times; nothing is compared where frames cannot be drawn.
    """
    if gl_missing() is not None:
        return []
    sizes = {key: tuple(map(int, images[0].shape)) for key, images in recorded.items()}
    env = make_env(spec, env_args=env_args, images=ImageObs(sizes))  # type: ignore[arg-type]
    with contextlib.closing(env):
        starts = [env.reset(seed=seed)[0] for seed in range(RESETS)]
    told = []
    for key, images in recorded.items():
        how = convention_of(images, [obs[key] for obs in starts])
        if how is not None:
            told.append(
                f"The images {key!r} are {how} compared with what {spec} draws: a policy trained on "
                f"them sees different ones when it is evaluated. {_remedy(how)}"
            )
    return told


def _remedy(how: str) -> str:
    """What to do about images that are `how`, a name in CHANGES, BLUE_FIRST, or both."""
    lies = CHANGES.get(how.removesuffix(f", {BLUE_FIRST}"))
    steps = [] if lies is None else [lies.remedy]
    if how.endswith(BLUE_FIRST):
        steps.append("swap the colour channels (image[..., ::-1])")
    return f"In the data, {' and '.join(steps)}."
