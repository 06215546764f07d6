"""Small demonstrations with images, to be written as LeRobot folders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dtql_robot.types import Demonstrations, Episode


def moving_picture(steps: int, seed: int, channels: int = 3) -> np.ndarray:
    """(steps, 16, 24, channels) uint8: colours that drift, which videos keep well."""
    t, y, x = np.mgrid[:steps, :16, :24]
    planes = [(4 * x + 9 * t + 50 * seed) % 200, (8 * y + 7 * t) % 200, (11 * t + 30 * seed) % 200]
    return np.stack(planes[:channels], -1).astype(np.uint8)


def picture_demos(steps: tuple[int, ...] = (6, 7)) -> Demonstrations:
    """Episodes with two low-dimensional observations and a camera; the first ends in success."""
    episodes = []
    for i, n in enumerate(steps):
        rng = np.random.default_rng(i)
        obs = {
            "robot": rng.normal(size=(n, 4)).astype(np.float32),
            "gripper": rng.normal(size=(n, 1)).astype(np.float32),
            "front_image": moving_picture(n, i),
        }
        success = (np.arange(n) == n - 1) & (i == 0)
        episodes.append(
            Episode(
                f"demo_{i}",
                obs,
                None,
                rng.uniform(-1, 1, (n, 2)).astype(np.float32),
                success.astype(np.float32),
                i == 0,
                i > 0,
                success,
                attrs={"task": f"task {i}"},
            )
        )
    return Demonstrations(tuple(episodes), "made", "robomimic")


def rich_demos() -> Demonstrations:
    """Episodes with everything that an `Episode` can hold, each in another combination."""
    episodes = []
    for i, episode in enumerate(picture_demos((5, 6, 7)).episodes):
        n, rng = len(episode), np.random.default_rng(100 + i)
        obs = {
            **episode.obs,
            "arm/pose": rng.normal(size=(n, 2, 3)).astype(np.float32),
            "wrist_image": moving_picture(n, i + 7, 1),
            "depth": rng.normal(size=(n, 10, 12, 1)).astype(np.float32),
        }
        extras = {
            "states": rng.normal(size=(n, 9)),
            "infos/qpos": rng.normal(size=(n, 2, 2)),
            "count": np.arange(n),
            "one": np.arange(n, dtype=np.int32)[:, None],
            "flag": np.arange(n) > 2,
        }
        changes = (
            {"attrs": {"task": "lift", "seed": 3, "nested": {"a": [1, None]}}, "masks": np.arange(n) < n - 2},
            {"attrs": {"rewards_missing": True}, "rewards": np.zeros(n, np.float32)},
            {"attrs": {}, "success": None, "terminated": True, "truncated": False},
        )[i]
        final = {k: v[0] for k, v in obs.items()} if i != 1 else None
        episodes.append(replace(episode, obs=obs, extras=extras, final_obs=final, **changes))
    record = {"env_name": "Lift", "type": 1, "env_version": "1.4.1", "env_kwargs": {"control_freq": 10}}
    return Demonstrations(tuple(episodes), "made", "robomimic", "robosuite:Lift", record, {"author": "me", "n": [1, 2]})
