"""This package's methods, for time_to_success.py: the default recipe and its presets.

The number of updates, over which the learning rate falls, is chosen beforehand from the updates a second of a short
training, which is not counted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

START = time.perf_counter()

import dtql_robot  # noqa: E402
from dtql_robot.config import Config  # noqa: E402
from dtql_robot.presets import override, preset  # noqa: E402
from dtql_robot.training.callback import Callback  # noqa: E402
from dtql_robot.types import Demonstrations  # noqa: E402

TRIAL_SECONDS = 2.0


class Clock(Callback):
    """Seconds from before the first update to after the last checkpoint."""

    seconds = 0.0

    def on_start(self, *_: Any) -> None:
        self.seconds = -time.perf_counter()

    def on_end(self, step: int) -> None:
        self.seconds += time.perf_counter()


def train_for(demos: Demonstrations, cfg: Config, steps: int, out: Path) -> float:
    """Seconds of training."""
    clock = Clock()
    dtql_robot.train(demos, out, override(cfg, {"steps": steps}), callbacks=[clock], progress=False, overwrite=True)
    return clock.seconds


def planned(demos: Demonstrations, cfg: Config, seconds: float) -> int:
    """How many updates take this long, with what a training of any length costs (the last checkpoint).

    From the difference of a short and a longer trial; one before them warms up.
    """
    short = 20
    with tempfile.TemporaryDirectory() as folder:

        def trial(steps: int) -> float:
            return train_for(demos, cfg, steps, Path(folder) / "trial")

        first = min(trial(short), trial(short))
        steps = max(2 * short, round(short * min(TRIAL_SECONDS, seconds) / first))
        each = (trial(steps) - first) / (steps - short)
    return max(1, round((seconds - (first - short * each)) / each))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("do", choices=["train"])
    parser.add_argument("--kind", required=True)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options, _ = parser.parse_known_args()
    cfg = Config() if options.kind == "dtql" else preset(options.kind)
    cfg = override(cfg, {"seed": options.seed, "threads": options.threads, "device": "cpu"})
    demos = dtql_robot.load(options.file)
    steps = planned(demos, cfg, options.seconds)
    seconds = train_for(demos, cfg, steps, options.out)
    around = time.perf_counter() - START - seconds
    told = {"seconds": seconds, "updates": steps, "around_seconds": around}
    (options.out / "trained.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
