"""One run in one tracker: numbers by step, figures and videos.  The trackers' own packages do the work."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from dtql_robot.errors import InputError

PROJECT = "dtql-robot"
GIF_FRAMES, GIF_WIDTH = 150, 240
"""Of a video in TensorBoard, which shows animated pictures only."""


class Tracker(Protocol):
    """Where a run is logged."""

    id: str
    """What the tracker knows the run by, to go on with it; "" where its folder is enough."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Values of one update."""

    def figure(self, name: str, path: Path, step: int) -> None:
        """A PNG."""

    def video(self, name: str, path: Path, step: int) -> None:
        """An mp4."""

    def close(self) -> None:
        """Write what is still in memory."""


class TensorBoard:
    """Event files in RUN/tensorboard, so that `tensorboard --logdir runs` shows all runs."""

    id = ""

    def __init__(self, run: Path, config: Mapping[str, Any], known: str, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        purge = step + 1 if known or step else None
        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=purge)
        if not step:
            rows = "\n".join(f"| {name} | {value} |" for name, value in config.items())
            self.writer.add_text("config", f"| setting | value |\n|---|---|\n{rows}", 0)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Scalars."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def figure(self, name: str, path: Path, step: int) -> None:
        """An image."""
        self._image(name, path.read_bytes(), step)

    def video(self, name: str, path: Path, step: int) -> None:
        """An animated image."""
        self._image(name, as_gif(path), step)

    def _image(self, name: str, encoded: bytes, step: int) -> None:
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        with Image.open(io.BytesIO(encoded)) as picture:
            width, height = picture.size
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=encoded)
        writer: Any = self.writer._get_file_writer()
        writer.add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), step)

    def close(self) -> None:
        """Flush."""
        self.writer.close()


class WandB:
    """A run of Weights & Biases, in the project of $WANDB_PROJECT; $WANDB_MODE=offline keeps it in RUN/wandb."""

    def __init__(self, run: Path, config: Mapping[str, Any], known: str, step: int) -> None:
        import wandb

        project = os.environ.get("WANDB_PROJECT", PROJECT)
        self.wandb = wandb
        self.run = wandb.init(
            project=project,
            dir=str(run),
            name=str(run),
            id=known or None,
            config=dict(config),
            resume="allow" if known else None,
            reinit="create_new",
        )
        self.id = str(self.run.id)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Values of the step's row."""
        self.run.log(dict(values), step=step)

    def figure(self, name: str, path: Path, step: int) -> None:
        """An image."""
        self.run.log({name: self.wandb.Image(str(path))})

    def video(self, name: str, path: Path, step: int) -> None:
        """A video."""
        self.run.log({name: self.wandb.Video(str(path), format="mp4")})

    def close(self) -> None:
        """Finish the run."""
        self.run.finish()


class MLflow:
    """A run of MLflow, at $MLFLOW_TRACKING_URI or else in the folder mlruns, in the experiment of
    $MLFLOW_EXPERIMENT_NAME."""

    def __init__(self, run: Path, config: Mapping[str, Any], known: str, step: int) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        self.metric = Metric
        self.client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or Path("mlruns").absolute().as_uri())
        if known:
            self.id = known
            self.client.update_run(self.id, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self.client.get_experiment_by_name(name)
        experiment = self.client.create_experiment(name) if found is None else found.experiment_id
        self.id = str(self.client.create_run(experiment, run_name=str(run)).info.run_id)
        for setting, value in config.items():
            self.client.log_param(self.id, setting, str(value)[:500])

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics, in one call."""
        import time

        now = int(1000 * time.time())
        metrics = [self.metric(name, float(value), now, step) for name, value in values.items()]
        self.client.log_batch(self.id, metrics=metrics)

    def figure(self, name: str, path: Path, step: int) -> None:
        """An artifact."""
        self.client.log_artifact(self.id, str(path), name)

    def video(self, name: str, path: Path, step: int) -> None:
        """An artifact."""
        self.client.log_artifact(self.id, str(path), name)

    def close(self) -> None:
        """End the run."""
        self.client.set_terminated(self.id)


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any], str, int], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
}
"""Name -> what opens a run there: (folder, settings by dotted name, its id or "", updates done)."""

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow-skinny"}


def require_package(name: str) -> None:
    """InputError where a tracker's package is not installed."""
    from importlib.util import find_spec

    if find_spec(name) is None:
        raise InputError(f"--log {name} needs {PACKAGES[name]}: pip install 'dtql-robot[track]'.")


def as_gif(video: Path) -> bytes:
    """An mp4 as an animated GIF of at most GIF_FRAMES frames, GIF_WIDTH wide."""
    import imageio.v2 as imageio
    from PIL import Image

    reader: Any = imageio.get_reader(video)
    try:
        rate = float(reader.get_meta_data()["fps"])
        count = max(1, reader.count_frames())
        stride = -(-count // GIF_FRAMES)
        frames = [Image.fromarray(frame) for i, frame in enumerate(reader.iter_data()) if i % stride == 0]
    finally:
        reader.close()
    width = min(GIF_WIDTH, frames[0].width)
    size = (width, max(1, round(frames[0].height * width / frames[0].width)))
    small = [frame.resize(size) for frame in frames]
    content = io.BytesIO()
    small[0].save(content, "GIF", save_all=True, append_images=small[1:], duration=round(1000 * stride / rate), loop=0)
    return content.getvalue()
