"""The progress bar of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dtql_robot.config import Config
from dtql_robot.system.progress import progress_bar
from dtql_robot.training.callback import Callback

SHOWN = ("denoiser_loss", "trust_region", "nll", "q_loss", "policy_q", "eval_success")
"""Metrics beside the bar."""


class Progress(Callback):
    """A bar with the updates done and a few metrics, their means over the runs."""

    def __init__(self) -> None:
        self.latest: dict[Path, dict[str, float]] = {}

    def on_start(self, runs: Sequence[Path], cfg: Config, step: int) -> None:
        """Show the bar."""
        title = "train" if len(runs) == 1 else f"train {len(runs)} seeds"
        self.bar = progress_bar(title, total=cfg.updates, unit="step", initial=step)
        self.latest = {run: {} for run in runs}

    def on_step(self, step: int) -> None:
        """One update further."""
        self.bar.update()

    def on_log(self, run: Path, step: int, values: Mapping[str, float]) -> None:
        """The metrics of the last run are the last of this step."""
        self.latest[run] |= values
        if run != list(self.latest)[-1]:
            return
        known = [name for name in SHOWN if all(name in found for found in self.latest.values())]
        means = {name: sum(found[name] for found in self.latest.values()) / len(self.latest) for name in known}
        self.bar.set_postfix({name: f"{value:.3g}" for name, value in means.items()}, refresh=False)

    def on_end(self, step: int) -> None:
        """Leave the bar as it is."""
        self.bar.close()
