"""A policy's own episodes for the viewer, played when they are looked at."""

from __future__ import annotations

import numpy as np

from dtql_robot.envs.make import make_env
from dtql_robot.envs.rendering.simulation import hidden_groups_of, simulation_of
from dtql_robot.errors import InputError
from dtql_robot.eval.intervals import episode_success
from dtql_robot.eval.pools.actor import ActedEpisode, choose
from dtql_robot.eval.pools.chunked_env import Lost
from dtql_robot.eval.subject import Subject
from dtql_robot.types import Array
from dtql_robot.viewer.recording import Recording, Track, split_observations
from dtql_robot.viewer.scene import Shape, poses, visible_shapes


class RolloutSource:
    """Episodes by their environment seeds, each with the outcome that an evaluation counts."""

    def __init__(self, subject: Subject, title: str, seeds: list[int]) -> None:
        self._subject, self._seeds, self.title = subject, seeds, title
        self.names = [f"episode {i}" for i in range(len(seeds))]
        self._env = make_env(subject.spec, env_args=subject.env_args, images=subject.image_obs)
        self._facts = self._env.get_wrapper_attr("facts")
        self.fps, self.shapes = self._facts.fps, list[Shape]()

    def recording(self, index: int) -> Recording:
        """Play the episode of this seed."""
        seed, policy = self._seeds[index], self._subject.policy
        episode = ActedEpisode(policy, seed)
        obs, _ = self._env.reset(seed=seed)
        model, _ = simulation_of(self._env)
        self.shapes = visible_shapes(model, hidden_groups_of(self._env))
        track, seen, actions = Track(), list[dict[str, Array]](), list[Array]()
        successes: list[bool | None] = []
        done = False
        while not done:
            chunk = choose(policy, [obs], [episode.rng])[0]
            if isinstance(chunk, Lost):
                raise InputError(f"seed {seed}: {chunk.reason}")
            for action in episode.plan.next(chunk):
                track.add(poses(simulation_of(self._env)[1], self.shapes))
                seen.append(obs)
                actions.append(action)
                obs, _, terminated, truncated, info = self._env.step(action)
                successes.append(info.get("success"))
                if done := terminated or truncated:
                    break
        stacked = {key: np.stack([each[key] for each in seen]) for key in seen[0]}
        states, images = split_observations(stacked)
        success = episode_success(successes, self._facts.success_rule)
        return Recording(self.names[index], np.stack(actions), states, images, success, *track.arrays())

    def close(self) -> None:
        """Free the simulator."""
        self._env.close()
