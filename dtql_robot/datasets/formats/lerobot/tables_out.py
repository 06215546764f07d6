"""The files of a LeRobot data set as they are written: tables, videos, and the lists in the folder meta."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.lerobot import stats
from dtql_robot.datasets.formats.lerobot.columns import Column
from dtql_robot.datasets.formats.lerobot.encode import VideoWriter
from dtql_robot.datasets.formats.lerobot.table import pyarrow
from dtql_robot.types import Array, Episode

_CHUNK = 1000  # files, or episodes, of one folder
_DATA_MB, _VIDEO_MB = 100, 200
_TABLE_SEVERAL = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_TABLE_SINGLE = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_VIDEO_SEVERAL = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_VIDEO_SINGLE = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
_EPISODES = "meta/episodes/chunk-000/file-000.parquet"
_ROW = (
    ("timestamp", "float32"),
    ("frame_index", "int64"),
    ("episode_index", "int64"),
    ("index", "int64"),
    ("task_index", "int64"),
)


class Tasks:
    """Sentences in the order in which they first come."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def number(self, sentence: str) -> int:
        """The sentence's number."""
        if sentence not in self.sentences:
            self.sentences.append(sentence)
        return self.sentences.index(sentence)


class Folder:
    """Takes episodes one by one.  several: version 3.0, with several episodes a file; else 2.1, with one."""

    def __init__(self, root: Path, columns: Sequence[Column], fps: float, *, several: bool) -> None:
        own = [Column(name, dtype, (1,), lambda e: np.empty(0)) for name, dtype in _ROW]
        self.root, self.columns, self.fps = root, (*columns, *own), fps
        self.data_path = _TABLE_SEVERAL if several else _TABLE_SINGLE
        self.video_path = _VIDEO_SEVERAL if several else _VIDEO_SINGLE
        self._several = several
        self._rows = 0
        self._table: Any = None
        self._table_file, self._table_path = -1, root
        self._videos: dict[str, VideoWriter] = {}
        self._video_files: dict[str, int] = {}
        self._described: dict[str, Any] = {}
        self._episodes: list[dict[str, Any]] = []
        self._stats: list[dict[str, stats.Stats]] = []

    def add(self, index: int, episode: Episode, task: int, sentence: str, noted: dict[str, Any]) -> None:
        """Write an episode's rows and frames; its line in the folder meta comes with `close`."""
        steps = len(episode)
        rows = {c.name: c.values(episode) for c in self.columns[: -len(_ROW)]}
        own = (
            np.arange(steps) / self.fps,
            np.arange(steps),
            np.full(steps, index),
            np.arange(steps) + self._rows,
            np.full(steps, task),
        )
        rows |= {name: np.asarray(v, dtype).reshape(-1, 1) for (name, dtype), v in zip(_ROW, own, strict=True)}
        line: dict[str, Any] = {"episode_index": index, "tasks": [sentence], "length": steps, **noted}
        place = self._write_rows(index, rows)
        for column in self.columns:
            if column.dtype == "video":
                place |= self._write_frames(index, column, rows[column.name])
        if self._several:
            line |= {"dataset_from_index": self._rows, "dataset_to_index": self._rows + steps, **place}
        self._episodes.append(line)
        self._stats.append(
            {
                c.name: (stats.of_pictures if c.dtype in ("image", "video") else stats.of_numbers)(rows[c.name])
                for c in self.columns
            }
        )
        self._rows += steps

    def _write_rows(self, index: int, rows: dict[str, Array]) -> dict[str, Any]:
        pa = pyarrow()
        kept = [c for c in self.columns if c.dtype != "video"]
        noted = json.dumps({"info": {"features": {c.name: c.hugging_face() for c in kept}}})
        table = pa.table({c.name: c.arrow(rows[c.name]) for c in kept}).replace_schema_metadata({"huggingface": noted})
        if not self._several:
            pa.parquet.write_table(table, self._path(_TABLE_SINGLE, index=index))
            return {}
        if self._table is None or self._full(self._table_path, _DATA_MB):
            self._close_table()
            self._table_file += 1
            self._table_path = self._path(_TABLE_SEVERAL, file=self._table_file)
            self._table = pa.parquet.ParquetWriter(self._table_path, table.schema)
        self._table.write_table(table)
        return {"data/chunk_index": self._table_file // _CHUNK, "data/file_index": self._table_file % _CHUNK}

    def _write_frames(self, index: int, column: Column, frames: Array) -> dict[str, Any]:
        key, height, width = column.name, frames.shape[1], frames.shape[2]
        writer = self._videos.get(key)
        if writer is None or not self._several or self._full(writer.path, _VIDEO_MB):
            self._close_video(key)
            self._video_files[key] = file = self._video_files.get(key, -1) + 1
            path = self._path(self.video_path, index=index, file=file, video_key=key)
            writer = self._videos[key] = VideoWriter(path, self.fps, height, width)
        start, file = writer.frames, self._video_files[key]
        writer.write(frames)
        return {
            f"videos/{key}/chunk_index": file // _CHUNK,
            f"videos/{key}/file_index": file % _CHUNK,
            f"videos/{key}/from_timestamp": start / self.fps,
            f"videos/{key}/to_timestamp": writer.frames / self.fps,
        }

    def _full(self, path: Path, megabytes: int) -> bool:
        return path.stat().st_size >= megabytes * 2**20

    def _path(self, template: str, *, index: int = 0, file: int = 0, **values: str) -> Path:
        numbers = {"episode_index": index, "episode_chunk": index // _CHUNK}
        numbers |= {"file_index": file % _CHUNK, "chunk_index": file // _CHUNK}
        path = self.root / template.format(**numbers, **values)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _close_table(self) -> None:
        if self._table is not None:
            self._table.close()
            self._table = None

    def _close_video(self, key: str) -> None:
        writer = self._videos.pop(key, None)
        if writer is not None:
            self._described[key] = writer.close()

    def close(self) -> dict[str, Any]:
        """Finish all files and write the list of episodes; what info.json says of the videos."""
        self._close_table()
        for key in list(self._videos):
            self._close_video(key)
        if not self._episodes:
            return {}
        (self.root / "meta").mkdir(exist_ok=True)
        (self._write_episode_table if self._several else self._write_episode_lines)()
        return self._described

    def _write_episode_table(self) -> None:
        pa = pyarrow()
        rows = []
        for line, of_episode in zip(self._episodes, self._stats, strict=True):
            flat = {f"stats/{name}/{k}": v.tolist() for name, s in of_episode.items() for k, v in s.items()}
            rows.append({**line, **flat, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        path = self.root / _EPISODES
        path.parent.mkdir(parents=True)
        pa.parquet.write_table(pa.Table.from_pylist(rows), path)
        together = {name: stats.merged([s[name] for s in self._stats]) for name in self._stats[0]}
        (self.root / "meta/stats.json").write_text(json.dumps(_plain(together), indent=4), encoding="utf-8")

    def _write_episode_lines(self) -> None:
        per_episode = [{"episode_index": i, "stats": _plain(s)} for i, s in enumerate(self._stats)]
        _write_lines(self.root / "meta/episodes.jsonl", self._episodes)
        _write_lines(self.root / "meta/episodes_stats.jsonl", per_episode)

    def totals(self, episodes: int) -> dict[str, Any]:
        """The numbers of info.json that depend on the version."""
        if self._several:
            return {"chunks_size": _CHUNK, "data_files_size_in_mb": _DATA_MB, "video_files_size_in_mb": _VIDEO_MB}
        videos = sum(c.dtype == "video" for c in self.columns)
        return {"total_videos": episodes * videos, "total_chunks": -(-episodes // _CHUNK), "chunks_size": _CHUNK}

    def write_tasks(self, tasks: Tasks) -> None:
        """meta/tasks.parquet, with the sentences as pandas' index; or meta/tasks.jsonl."""
        numbered = list(enumerate(tasks.sentences))
        if not self._several:
            _write_lines(self.root / "meta/tasks.jsonl", [{"task_index": i, "task": t} for i, t in numbered])
            return
        pa = pyarrow()
        index = "__index_level_0__"
        table = pa.table({"task_index": pa.array(range(len(numbered)), pa.int64()), index: tasks.sentences})
        text = {"pandas_type": "unicode", "numpy_type": "object"}
        pandas = {
            "index_columns": [index],
            "column_indexes": [{"name": None, "field_name": None, **text, "metadata": {"encoding": "UTF-8"}}],
            "columns": [
                {
                    "name": "task_index",
                    "field_name": "task_index",
                    "pandas_type": "int64",
                    "numpy_type": "int64",
                    "metadata": None,
                },
                {"name": None, "field_name": index, **text, "metadata": None},
            ],
            "creator": {"library": "pyarrow", "version": pa.__version__},
            "pandas_version": "2.2.0",
        }
        pa.parquet.write_table(
            table.replace_schema_metadata({"pandas": json.dumps(pandas)}), self.root / "meta/tasks.parquet"
        )


def _plain(of_features: dict[str, stats.Stats]) -> dict[str, Any]:
    return {name: {k: v.tolist() for k, v in s.items()} for name, s in of_features.items()}


def _write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
