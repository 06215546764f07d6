"""Recorded demonstrations for the viewer: in their simulator where it can be had, else by their own images."""

from __future__ import annotations

import contextlib

from dtql_robot.env_record import choose_env
from dtql_robot.errors import InputError
from dtql_robot.replay.players import Player, make_player
from dtql_robot.types import Demonstrations, Episode
from dtql_robot.viewer.recording import Recording, Track, split_observations
from dtql_robot.viewer.scene import Shape, poses, visible_shapes

USUAL_FPS = 20


class DemonstrationSource:
    """Demonstrations by their recorded states; where only the start was recorded, by their actions from there."""

    def __init__(self, demos: Demonstrations, env: str | None) -> None:
        """env: where to show them; None: the environment that the data names."""
        self._demos, self.title = demos, demos.source
        self.names = [episode.name for episode in demos.episodes]
        self.fps, self.shapes = USUAL_FPS, list[Shape]()
        self._player: Player | None = None
        self.why_no_scene: str | None = None
        """Why there is no scene in 3-D, where there is none."""
        try:
            chosen = choose_env(env, demos.env_spec, demos.env_args, source=demos.source, evaluation=False)
            self._player = make_player(demos, chosen)
            self.fps = self._player.facts.fps
        except InputError as error:
            if env is not None:
                raise
            self.why_no_scene = str(error)

    def recording(self, index: int) -> Recording:
        """The demonstration of this index."""
        episode = self._demos.episodes[index]
        states, images = split_observations(episode.obs)
        success = None if episode.success is None else bool(episode.success.any())
        positions = quaternions = None
        notes = [self.why_no_scene] if self.why_no_scene else []
        if self._player is not None:
            try:
                track, how = self._track(self._player, episode)
                positions, quaternions = track.arrays()
                notes.append(how)
            except InputError as error:
                self.shapes = []
                notes.append(str(error))
        return Recording(episode.name, episode.actions, states, images, success, positions, quaternions, tuple(notes))

    def _track(self, player: Player, episode: Episode) -> tuple[Track, str]:
        player.start(episode)
        model, data = player.simulation()
        self.shapes = visible_shapes(model, player.hidden_groups)
        track = Track()
        track.add(poses(data, self.shapes))
        try:
            player.put(episode, 0)
            recorded = True
        except InputError:
            recorded = False
            player.start(episode)
        for step in range(1, len(episode)):
            if recorded:
                player.put(episode, step)
            else:
                player.step(episode.actions[step - 1])
            track.add(poses(player.simulation()[1], self.shapes))
        how = "The recorded states." if recorded else "States were not recorded: the actions, replayed from the start."
        return track, how

    def close(self) -> None:
        """Free the simulator."""
        if self._player is not None:
            with contextlib.closing(self._player):
                self._player = None
