"""The rows and frames of one episode after the other; tables and videos stay open while episodes share them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.episode_checks import Place
from dtql_robot.datasets.formats.hdf5_budget import Budget
from dtql_robot.datasets.formats.lerobot.features import Feature, Roles, Source
from dtql_robot.datasets.formats.lerobot.folder import FETCH, INFO, file_in
from dtql_robot.datasets.formats.lerobot.images import decode_into
from dtql_robot.datasets.formats.lerobot.meta import SINGLE, Meta, Recording
from dtql_robot.datasets.formats.lerobot.plan import Plan
from dtql_robot.datasets.formats.lerobot.table import Table, as_array
from dtql_robot.datasets.formats.lerobot.video import TOLERANCE, Video
from dtql_robot.errors import InputError
from dtql_robot.system.memory import free_memory
from dtql_robot.system.progress import progress_bar
from dtql_robot.types import Array

_WORTH_TELLING = 2000  # frames from which decoding is worth a progress bar
_REMEDY = "If it is your own, write it again without compression."


class Rows:
    """Reads what `plan` asks for, an episode at a time."""

    def __init__(self, meta: Meta, roles: Roles, planned: Plan) -> None:
        self.meta, self.roles = meta, roles
        self._planned = planned
        self._table: Table | None = None
        self._read: dict[str, Array] = {}
        self._where: dict[int, tuple[int, int]] = {}
        self._videos: dict[str, tuple[str, Video]] = {}
        self._bar: Any = None
        size = sum(file_in(meta.root, name).stat().st_size for name in planned.files)
        self._budget = Budget(meta.root, size=size, remedy=_REMEDY)

    def start(self, keys: Sequence[str]) -> None:
        """Show the progress of decoding the pictures among `keys`, where it takes a while."""
        frames = sum(r.steps for r in self._planned.chosen) * sum(self.roles.obs[k].feature.is_picture for k in keys)
        if frames >= _WORTH_TELLING:
            self._bar = progress_bar("decode", total=frames, unit="frame")

    def close(self) -> None:
        """Let go of all files."""
        if self._bar is not None:
            self._bar.close()
        if self._table is not None:
            self._table.close()
        for _, video in self._videos.values():
            video.close()

    def numbers(self, recording: Recording, name: str) -> Array:
        """(T, *shape) of a feature of numbers, as stored."""
        start, stop = self._range(recording)
        return self._column(name)[start:stop]

    def observation(self, recording: Recording, source: Source) -> Array:
        """(T, *shape) of a low-dimensional observation, as stored."""
        values = self.numbers(recording, source.feature.name)
        if source.stop is None:
            return values
        return values[:, source.start : source.stop].reshape(len(values), *source.shape)

    def pictures(self, recording: Recording, feature: Feature, key: str, place: Place) -> Array:
        """(T, H, W, C) uint8."""
        if len(feature.shape) != 3 or feature.shape[2] not in (1, 3):
            raise InputError(
                f"{INFO} of {self.meta.root} says shape {feature.shape} of {feature.name!r}; expected (height, width, "
                "1 or 3)."
            )
        size = recording.steps * math.prod(feature.shape)
        if size > 2**26 and size > (free := free_memory()):
            raise InputError(
                f"{key!r} of {recording.name} needs {size / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are free. "
                "Leave it out, or use a machine with more memory."
            )
        start, stop = self._range(recording)
        if feature.dtype == "video":
            out = self._frames(recording, feature, place)
        else:
            out = np.empty((recording.steps, *feature.shape), np.uint8)
            assert self._table is not None
            decode_into(out, self._table.read_rows(feature.name, start, stop), key, place)
        if self._bar is not None:
            self._bar.update(recording.steps)
        return out

    def uneven_times(self, recording: Recording) -> Array | None:
        """Seconds since the start (T,), where they are not frame numbers over fps, as versions 2.0 and 2.1 want."""
        if "timestamp" not in self.meta.features:
            return None
        times, even = self.numbers(recording, "timestamp").reshape(-1), self._even(recording)
        far = np.flatnonzero(~np.isclose(times, even, rtol=1e-6, atol=TOLERANCE))
        if len(far) and self.meta.version in SINGLE:
            step = int(far[0])
            raise Place(recording.name, str(self.meta.root / recording.data)).error(
                f"the timestamp of step {step} is {times[step]:.4f} s; expected {even[step]:.4f} s at fps "
                f"{self.meta.fps:g} (within {TOLERANCE:g} s)",
                f"Correct fps in {INFO}, or record it again.",
            )
        return times if len(far) else None

    def tasks(self, recording: Recording) -> list[str]:
        """The sentences that the rows of the episode refer to, in the order in which they come."""
        if "task_index" not in self.meta.features:
            return []
        numbers = dict.fromkeys(self.numbers(recording, "task_index").reshape(-1).tolist())
        return [self.meta.tasks[n] for n in numbers if n in self.meta.tasks]

    def _even(self, recording: Recording) -> Array:
        return np.arange(recording.steps) / self.meta.fps

    def _frames(self, recording: Recording, feature: Feature, place: Place) -> Array:
        clip = recording.clips[feature.name]
        video = self._video(feature.name, clip.file)
        if video.size != feature.shape[:2]:
            raise InputError(
                f"{video.shown} has frames of {video.size[0]} x {video.size[1]} pixels; {INFO} says "
                f"{feature.shape[0]} x {feature.shape[1]}. {FETCH}"
            )
        uneven = self.uneven_times(recording)
        times = (self._even(recording) if uneven is None else uneven.astype(np.float64)) + (clip.start or 0.0)
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise place.error("timestamps do not increase from step to step", FETCH)
        out = np.empty((recording.steps, *feature.shape), np.uint8)
        video.read(times, out)
        if clip.start is None and (more := video.count_more()):
            raise place.error(
                f"the video of {feature.name!r} has {recording.steps + more} frames, but the table has "
                f"{recording.steps} rows,",
                FETCH,
            )
        return out

    def _video(self, feature: str, name: str) -> Video:
        opened = self._videos.get(feature)
        if opened is not None and opened[0] == name:
            return opened[1]
        if opened is not None:
            opened[1].close()
            del self._videos[feature]
        video = Video(file_in(self.meta.root, name), str(self.meta.root / name))
        self._videos[feature] = name, video
        return video

    def _open(self, recording: Recording) -> Table:
        path = file_in(self.meta.root, recording.data)
        if self._table is not None and self._table.path == path:
            return self._table
        if self._table is not None:
            self._table.close()
        self._table, self._read, self._where = None, {}, {}
        self._table = Table(path)
        return self._table

    def _range(self, recording: Recording) -> tuple[int, int]:
        """First row, and row after the last, of the episode in its table."""
        table = self._open(recording)
        if recording.index not in self._where:
            self._where = {recording.index: self._find(recording, table)}
        return self._where[recording.index]

    def _find(self, recording: Recording, table: Table) -> tuple[int, int]:
        rows = np.flatnonzero(self._column("episode_index").reshape(-1) == recording.index)
        place = Place(recording.name, str(self.meta.root / recording.data))
        if len(rows) != recording.steps:
            raise place.error(f"it has {len(rows)} rows instead of {recording.steps}", FETCH)
        if rows[-1] - rows[0] + 1 != len(rows):
            raise place.error("its rows are not contiguous", FETCH)
        if "frame_index" in table.columns:
            frames = self._column("frame_index").reshape(-1)[rows[0] : rows[-1] + 1]
            if (frames != np.arange(len(rows))).any():
                raise place.error(f"frame_index does not count from 0 to {len(rows) - 1}", FETCH)
        return int(rows[0]), int(rows[-1]) + 1

    def _column(self, name: str) -> Array:
        """(rows, *shape) of the open table's column, read once."""
        assert self._table is not None
        if name not in self._read:
            if name not in self._table.columns:
                raise InputError(f"{self._table.path} has no column {name!r}, which {INFO} lists. {FETCH}")
            feature = self.meta.features.get(name)
            shape = (1,) if feature is None else feature.shape
            shown = f"{name} in {self._table.path.name}"
            self._budget.take(4 * self._table.rows * math.prod(shape), shown)
            self._budget.take(self._table.stored_size([name]), shown)
            self._read[name] = as_array(self._table.read([name]).column(0), shape, name, self._table.path)
        return self._read[name]
