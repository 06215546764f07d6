"""Small policies for the tests of evaluation: numpy only."""

import time

import numpy as np

from dtql_robot.envs.collection.fetch_expert import expert


class ScriptedPolicy:
    """The scripted expert of a Fetch task with the policy's own noise, as chunks of actions."""

    action_dim = 4

    def __init__(self, task: str = "FetchPush-v4", n_action_steps: int = 3, noise: float = 0.2) -> None:
        self.n_action_steps = n_action_steps
        self._expert, self._noise = expert(task), noise
        self.batch_sizes: list[int] = []

    def predict(self, obs, rngs):
        self.batch_sizes.append(len(rngs))
        chunks = []
        for b, rng in enumerate(rngs):
            action = self._expert({key: value[b] for key, value in obs.items()})
            chunks.append(action + self._noise * rng.standard_normal((self.n_action_steps, 4)))
        return np.asarray(chunks, np.float32)


class TravellingPolicy(ScriptedPolicy):
    """A scripted policy that goes where the simulators are, and takes its time there: an episode needs many turns."""

    def __init__(self, *args, pause: float = 0.0) -> None:
        super().__init__(*args)
        self._pause = pause

    def portable(self):
        return self

    def predict(self, obs, rngs):
        time.sleep(self._pause)
        return super().predict(obs, rngs)


class ConstantPolicy:
    """The same action for ever."""

    n_action_steps = 1

    def __init__(self, action) -> None:
        self._action = np.asarray(action, np.float32)
        self.action_dim = len(self._action)

    def predict(self, obs, rngs):
        return np.broadcast_to(self._action, (len(rngs), 1, self.action_dim))


class ReachingPolicy:
    """Takes the open gripper of Meta-World's arm to the object, first above it and then down, and leaves it there."""

    action_dim, n_action_steps = 4, 1

    def portable(self):
        return self

    def predict(self, obs, rngs):
        hand, away = obs["observation"][:, :3], obs["observation"][:, 4:7] - obs["observation"][:, :3]
        far = np.linalg.norm(away[:, :2], axis=1) > 0.02
        away[:, 2] = np.where(far, 0.15 - hand[:, 2], away[:, 2])
        return np.concatenate([np.clip(10 * away, -1, 1), np.full((len(hand), 1), -1)], axis=1)[:, None]


class RandomPolicy:
    """Actions drawn from the episode's own generator, in chunks."""

    def __init__(self, action_dim: int, n_action_steps: int = 4) -> None:
        self.action_dim, self.n_action_steps = action_dim, n_action_steps

    def predict(self, obs, rngs):
        return np.stack([rng.uniform(-1, 1, (self.n_action_steps, self.action_dim)) for rng in rngs])


class RecordingPolicy(RandomPolicy):
    """Random actions, and in `seen` every observation that they answered."""

    def __init__(self, action_dim: int) -> None:
        super().__init__(action_dim)
        self.seen: set[bytes] = set()

    def predict(self, obs, rngs):
        rows = [np.concatenate([obs[key][b].ravel() for key in sorted(obs)]) for b in range(len(rngs))]
        self.seen |= {row.tobytes() for row in rows}
        return super().predict(obs, rngs)
