"""Checks that the demonstrations fit the environment that the policy will be evaluated in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dtql_robot.datasets.validation.lengths import lengths_warning
from dtql_robot.env_record import EnvChoice, choose_env
from dtql_robot.env_record.layouts import environment_with, words_of
from dtql_robot.envs import EnvInfo, env_info
from dtql_robot.envs.rendering.gl import prepare_gl
from dtql_robot.errors import InputError
from dtql_robot.training.pixel_buffer import split_keys
from dtql_robot.types import Demonstrations, ImageObs

COMPARED = 16
"""Demonstrations whose first images are compared with the environment's."""


def check_fit(demos: Demonstrations, env: str | None, obs_keys: Sequence[str]) -> list[str]:
    """Compare action size and observations with the environment.  InputError where they differ.

    env: the environment the user asked for, None for the one that the data names.
    obs_keys: observations the policy will use.
    Returns sentences on what the user should know: what could not be compared, which record is not used,
    that demonstrations take longer than the environment lets a policy try.
    """
    chosen = choose_env(env, demos.env_spec, demos.env_args, source=demos.source)
    if chosen.spec is None:
        return ["The data names no environment: evaluation will need --env."]
    prepare_gl()  # a wrong MUJOCO_GL is the user's, whatever the environment
    images = split_keys(demos, obs_keys)[1]
    try:
        facts = env_info(chosen.require(), env_args=chosen.env_args)
    except InputError as e:
        if env is not None:
            raise
        return [*chosen.notes, f"Not compared with the data's environment: {e}"]
    slow = lengths_warning(demos, facts.horizon, facts.spec)
    _compare(demos, facts, [k for k in obs_keys if k not in images])
    if images:
        from dtql_robot.envs.rendering.image_obs import check_images

        shapes = {k: (s[0], s[1], s[2]) for k in images for s in (demos.obs_shapes[k],)}
        check_images(ImageObs(shapes), facts, chosen.env_args)
    return [*chosen.notes, *([slow] if slow else []), *_conventions(demos, images, chosen)]


def unused_images_warnings(demos: Demonstrations, env: str | None) -> list[str]:
    """Sentences on images, of which nobody has said that they will be used, that the environment would draw otherwise.

    Images that it does not draw at all, or in another size, are passed over.
    """
    chosen = choose_env(env, demos.env_spec, demos.env_args, source=demos.source)
    try:
        facts = env_info(chosen.require(), env_args=chosen.env_args)
        found = split_keys(demos, list(demos.obs_shapes))[1]
    except InputError:
        return []
    return _conventions(demos, [key for key in found if _is_drawn(demos, key, facts, chosen)], chosen)


def _is_drawn(demos: Demonstrations, key: str, facts: EnvInfo, chosen: EnvChoice) -> bool:
    from dtql_robot.envs.rendering.image_obs import check_images

    height, width, channels = demos.obs_shapes[key]
    try:
        check_images(ImageObs({key: (height, width, channels)}), facts, chosen.env_args)
    except InputError:
        return False
    return True


def _conventions(demos: Demonstrations, images: Sequence[str], chosen: EnvChoice) -> list[str]:
    """Warnings about images that the environment would draw otherwise: upside down, or with other colours."""
    if not images:
        return []
    from dtql_robot.envs.rendering.convention import convention_warnings

    first = {key: [np.asarray(e.obs[key][0]) for e in demos.episodes[:COMPARED]] for key in images}
    return convention_warnings(first, chosen.require(), chosen.env_args)


def _compare(demos: Demonstrations, facts: EnvInfo, obs_keys: Sequence[str]) -> None:
    if demos.action_dim != facts.action_dim:
        raise InputError(
            f"{demos.source} has actions with {demos.action_dim} entries, {facts.spec} takes {facts.action_dim}; "
            "pass the environment that the data was recorded in with --env."
        )
    for key in obs_keys:
        if key not in facts.obs_shapes:
            raise InputError(
                f"{facts.spec} has no observation {key!r}, only {sorted(facts.obs_shapes)}; "
                "choose observations that both have with --obs-keys."
            )
        have, gives = demos.obs_shapes[key], facts.obs_shapes[key]
        if have != gives:
            remedy = environment_with(facts.spec, have) or "Pass the data's own environment with --env."
            raise InputError(
                f"observation {key!r} has shape {have} in {demos.source}{words_of(facts.spec, have)} and {gives} in "
                f"{facts.spec}{words_of(facts.spec, gives)}. {remedy}"
            )
