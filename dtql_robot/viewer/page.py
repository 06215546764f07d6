"""The page in the browser: episodes to choose, time to scrub, the scene, the cameras, and what was seen and done."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import viser
from viser import uplot

from dtql_robot.errors import InputError
from dtql_robot.types import Array
from dtql_robot.viewer.recording import Recording, Source

COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#5d5d5d")
"""Okabe and Ito's, which the colour-blind can tell apart."""
NOW = "#888888"
MOST_LINES = 8  # of a plot; observations of more entries are shown in parts
SPEEDS = ("0.25x", "0.5x", "1x", "2x", "4x")


class Page:
    """A viser server that shows a source's episodes.

    What is set by hand in the browser can be set here too: `episode.value`, `step.value`, `playing.value`.
    """

    def __init__(self, source: Source, host: str, port: int) -> None:
        """InputError where the address cannot be had."""
        self._source, self._lock = source, threading.RLock()
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # its own banner
                self.server = viser.ViserServer(host=host, port=port, label=Path(source.title).name, verbose=False)
        except OSError as error:
            raise InputError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --port.") from error
        self.scene: dict[int, Any] = {}
        """Shape's index -> its handle."""
        self.recording: Recording | None = None
        self._plots: list[tuple[Any, tuple[Array, ...]]] = []
        self._images: dict[str, Any] = {}
        self._closed = threading.Event()
        self._make()
        self.show(0)
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _make(self) -> None:
        server, gui = self.server, self.server.gui
        server.scene.set_up_direction("+z")
        gui.configure_theme(control_width="large", show_logo=False)
        gui.add_markdown(f"`{Path(self._source.title).name}`")
        self.episode: Any = gui.add_dropdown("Episode", self._source.names)
        self.about = gui.add_markdown("")
        self.step: Any = gui.add_slider("Step", 0, 1, 1, 0)
        self.playing: Any = gui.add_checkbox("Play", False)
        self.speed = gui.add_dropdown("Speed", SPEEDS, initial_value="1x")
        self._details = gui.add_folder("Seen and done")
        self.episode.on_update(lambda _: self.show(self._source.names.index(self.episode.value)))
        self.step.on_update(lambda _: self.draw())

    def show(self, index: int) -> None:
        """Load the episode of this index and draw its first step."""
        with self._lock:
            self.about.content = "Loading ..."
            try:
                recording = self._source.recording(index)
            except InputError as error:
                self.about.content = str(error)
                return
            self.recording = recording
            words = {True: "success", False: "no success", None: "success not known"}[recording.success]
            self.about.content = "\n\n".join([f"{len(recording)} steps, {words}.", *recording.notes])
            self._fill_scene(recording)
            self._fill_details(recording)
            self.step.max = max(1, len(recording) - 1)
            self.step.value = 0
            self.draw()

    def _fill_scene(self, recording: Recording) -> None:
        for handle in self.scene.values():
            handle.remove()
        self.scene = {}
        if recording.positions is None:
            return
        for shape in self._source.shapes:
            self.scene[shape.index] = self.server.scene.add_mesh_simple(
                f"/scene/{shape.name}",
                np.asarray(shape.vertices, np.float32),
                np.asarray(shape.faces, np.uint32),
                color=shape.color,
                opacity=None if shape.opacity >= 1 else shape.opacity,
                flat_shading=True,
                side="double",
            )
        self._look_at(recording.positions[:, [len(shape.vertices) > 4 for shape in self._source.shapes]])

    def _look_at(self, positions: Array) -> None:
        """Put the camera where the moving parts are in view, for those who are here and those who come."""
        spread = np.ptp(positions, axis=0).sum(axis=1)
        moving = positions[:, spread > 0.2 * spread.max()] if spread.size and spread.max() > 0 else positions
        middle = moving.reshape(-1, 3).mean(axis=0) if moving.size else np.zeros(3)
        camera = self.server.initial_camera
        camera.look_at = tuple(middle)
        camera.position = tuple(middle + np.array([1.0, -1.0, 0.7]))
        for client in self.server.get_clients().values():
            client.camera.look_at, client.camera.position = camera.look_at, camera.position

    def _fill_details(self, recording: Recording) -> None:
        self._details.remove()
        self._details = self.server.gui.add_folder("Seen and done")
        self._plots, self._images = [], {}
        with self._details:
            for key, frames in recording.images.items():
                self._images[key] = self.server.gui.add_image(frames[0], label=key)
            self._plot("actions", recording.actions)
            for key, values in recording.states.items():
                for first in range(0, values.shape[1], MOST_LINES):
                    part = values[:, first : first + MOST_LINES]
                    whole = values.shape[1] <= MOST_LINES
                    self._plot(key if whole else f"{key} {first} to {first + part.shape[1] - 1}", part, first)

    def _plot(self, title: str, values: Array, first: int = 0) -> None:
        lines = tuple(np.ascontiguousarray(column, np.float64) for column in values.T)
        data = (np.arange(len(values), dtype=np.float64), *lines)
        series = [uplot.Series(label="step")]
        series += [
            uplot.Series(label=str(first + i), stroke=COLORS[i % len(COLORS)], width=1.5) for i in range(len(lines))
        ]
        series.append(uplot.Series(label="now", stroke=NOW, width=3))
        handle = self.server.gui.add_uplot(
            (*data, np.full(len(values), np.nan)),
            tuple(series),
            title=title,
            scales={"x": uplot.Scale(time=False, auto=True), "y": uplot.Scale(auto=False, range=_range(lines))},
            aspect=2.2,
        )
        self._plots.append((handle, data))

    def draw(self) -> None:
        """Everything as it was at the step of the slider."""
        with self._lock:
            found, step = self.recording, int(self.step.value)
            if found is None or step >= len(found):
                return
            with self.server.atomic():
                if found.positions is not None and found.quaternions is not None:
                    for row, handle in enumerate(self.scene.values()):
                        handle.position, handle.wxyz = found.positions[step, row], found.quaternions[step, row]
                for key, handle in self._images.items():
                    handle.image = found.images[key][step]
                for handle, data in self._plots:
                    handle.data = (*data, _marker(data, step))

    def _play(self) -> None:
        """Go on by a step at a time while `playing`."""
        while not self._closed.wait(1 / (self._source.fps * float(self.speed.value[:-1]))):
            if self.playing.value and self.recording is not None:
                self.step.value = (int(self.step.value) + 1) % len(self.recording)

    def close(self) -> None:
        """Stop serving."""
        self._closed.set()
        self._thread.join(timeout=5)
        self.server.stop()
        self._source.close()

    def wait(self) -> None:
        """Serve until Ctrl-C."""
        while True:
            time.sleep(3600)


def _marker(data: tuple[Array, ...], step: int) -> Array:
    """An upright line at the step, as a series: from the smallest to the largest value, between two points."""
    line = np.full(len(data[0]), np.nan)
    line[step], line[step + 1 if step + 1 < len(line) else step - 1] = _range(data[1:])
    return line


def _range(lines: tuple[Array, ...]) -> tuple[float, float]:
    """What a plot shows, somewhat more than the values take: by itself it is confused by the marker's gaps."""
    values = np.concatenate([line[np.isfinite(line)] for line in lines]) if lines else np.zeros(0)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin
