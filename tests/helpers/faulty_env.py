"""A point that has to reach a goal, in an environment that fails in episodes whose seed is a multiple of 5.

How it fails stands in the variable FAULT, which worker processes inherit; a mode that begins with "once:" fails only
where the file that FAULT_FILE names is not there yet, and makes it.
"""

from __future__ import annotations

import os
import signal
import time

import gymnasium
import numpy as np
from gymnasium import spaces

SPEC = "tests.helpers.faulty_env:Faulty-v0"
STEPS, BAD_STEP = 12, 8


def is_bad(seed: int) -> bool:
    """Whether the episode of this seed fails."""
    return seed % 5 == 0


class FaultyEnv(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    observation_space = spaces.Dict({"goal": spaces.Box(-2, 2, (2,)), "place": spaces.Box(-2, 2, (2,))})
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode, self.seed, self.steps = render_mode, 1, 0
        if self.mode("raise_init"):
            raise RuntimeError("boom in init")
        if self.mode("die_init"):
            os._exit(7)

    def mode(self, *modes: str) -> bool:
        """Whether it is to fail now in one of these ways."""
        wanted = os.environ.get("FAULT", "")
        if wanted.removeprefix("once:") not in modes:
            return False
        if not wanted.startswith("once:"):
            return True
        try:
            os.close(os.open(os.environ["FAULT_FILE"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def obs(self) -> dict:
        return {"goal": self.goal.astype(np.float32), "place": self.place.astype(np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.steps = seed, 0
        self.goal, self.place = self.np_random.uniform(-1, 1, 2), self.np_random.uniform(-1, 1, 2)
        if self.mode("always_raise") or (is_bad(seed) and self.mode("raise_reset")):
            raise RuntimeError("boom\x1b[31m in\nreset")
        if is_bad(seed) and self.mode("nan_reset"):
            self.place[:] = np.nan
        return self.obs(), {}

    def step(self, action):
        self.steps += 1
        self.place = np.clip(self.place + 0.3 * action, -1, 1)
        near = bool(np.linalg.norm(self.place - self.goal) < 0.3)
        obs, reward, info = self.obs(), -float(np.linalg.norm(self.place - self.goal)), {"success": near}
        if is_bad(self.seed) and self.steps == BAD_STEP:
            obs, reward = self.fail(obs, reward)
        return obs, reward, False, self.steps >= STEPS, info

    def fail(self, obs, reward):
        if self.mode("die"):
            os._exit(3)
        if self.mode("segv"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.mode("hang"):
            time.sleep(1000)
        raised = {
            "raise_step": RuntimeError("boom in step"),
            "exit": SystemExit(5),
            "interrupt": KeyboardInterrupt(),
            "memory": MemoryError("no room"),
        }
        for mode, error in raised.items():
            if self.mode(mode):
                raise error
        if self.mode("nan_obs"):
            obs["place"][0] = np.nan
        if self.mode("inf_obs"):
            obs["goal"][1] = np.inf
        if self.mode("shape"):
            obs["place"] = np.zeros(3, np.float32)
        if self.mode("missing"):
            del obs["place"]
        rewards = {"nan_reward": np.nan, "inf_reward": -np.inf, "no_reward": None, "words": "much"}
        return obs, next((value for mode, value in rewards.items() if self.mode(mode)), reward)

    def render(self):
        if self.mode("raise_render"):
            raise RuntimeError("boom in render")
        if self.mode("no_frame"):
            return None
        height, width = (301, 403) if self.mode("odd_frame") else (2, 2) if self.mode("tiny_frame") else (320, 320)
        frame = np.full((height, width, 3), 200, np.uint8)
        frame[::20] = 120
        for colour, point in enumerate((self.place, self.goal)):
            y, x = ((point + 1) / 2 * [max(1, height - 20), max(1, width - 20)]).astype(int)
            frame[y : y + 20, x : x + 20] = [255 * (c == colour) for c in range(3)]
        return frame

    def close(self) -> None:
        if self.mode("raise_close"):
            raise RuntimeError("boom in close")


gymnasium.register("Faulty-v0", entry_point=FaultyEnv, max_episode_steps=STEPS)


class SeekingPolicy:
    """Goes for the goal, with some noise."""

    action_dim, n_action_steps = 2, 2

    def predict(self, obs, rngs):
        noise = np.stack([rng.standard_normal((2, 2)) for rng in rngs])
        away = (obs["goal"] - obs["place"])[:, None]
        return (0.8 * away + noise).astype(np.float32)


class TravellingSeeker(SeekingPolicy):
    """One of which a copy acts in the workers."""

    def portable(self):
        return SeekingPolicy()
