"""The training loop: demonstrations in, a run folder out.  Imports no simulator."""

from __future__ import annotations

import csv
import dataclasses
import platform
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dtql_robot import __version__, checkpoint
from dtql_robot.agent import DTQL
from dtql_robot.checkpoint import Interface, make_agent
from dtql_robot.config import Config
from dtql_robot.datasets.buffer import ChunkBuffer, choose_obs_keys, fit_normalizers, make_buffer, resolve_reward
from dtql_robot.datasets.pixels import PixelBuffer, make_pixel_buffer, split_keys
from dtql_robot.errors import InputError
from dtql_robot.files import write_json
from dtql_robot.progress import progress_bar
from dtql_robot.types import Batch, Demonstrations, PixelBatch


def resolve_device(choice: str) -> torch.device:
    """ "auto" becomes cuda where there is one.  Asking for cuda where there is none is an InputError."""
    if choice == "cuda" and not torch.cuda.is_available():
        raise InputError("device=cuda, but torch finds no GPU; use --device cpu or install a CUDA build of torch.")
    if choice == "auto":
        choice = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(choice)


def prepare(
    demos: Demonstrations, cfg: Config, device: torch.device
) -> tuple[Config, Interface, ChunkBuffer | PixelBuffer]:
    """Fit the scalings, lay out the buffer, and resolve the settings that depend on the data."""
    keys = choose_obs_keys(demos, cfg.data.obs_keys)
    data = dataclasses.replace(cfg.data, obs_keys=keys, reward=resolve_reward(demos, cfg.data.reward))
    low_keys, image_keys = split_keys(demos, keys)
    obs_norm, action_norm = fit_normalizers(demos, low_keys, data.action_norm)
    buffer = make_buffer(demos, data, cfg.critic.discount, low_keys, obs_norm, action_norm, device)
    sigma_data = cfg.diffusion.sigma_data or checkpoint.action_std(buffer.actions.cpu().numpy())
    cfg = dataclasses.replace(cfg, data=data, diffusion=dataclasses.replace(cfg.diffusion, sigma_data=sigma_data))
    shapes = tuple(demos.obs_shapes[k] for k in keys)
    face = Interface(keys, shapes, obs_norm, action_norm, demos.action_dim, sigma_data, image_keys)
    if not image_keys:
        return cfg, face, buffer
    frames, with_next = cfg.encoder.frame_stack, cfg.policy.uses_critic
    return cfg, face, make_pixel_buffer(demos, buffer, image_keys, frames, with_next, device)


def train(
    demos: Demonstrations,
    out: str | Path,
    cfg: Config | None = None,
    *,
    env: str | None = None,
    resume: bool = False,
    progress: bool = True,
    summary: dict[str, Any] | None = None,
) -> Path:
    """Train DTQL and return the run folder.

    env: the environment to evaluate in, where the demonstrations do not name theirs.
    resume: continue the folder's run; its settings must be `cfg`'s, but for the number of steps and the intervals.
    summary: what `datasets.inspect` says of the data, kept in the run folder for its report.
    An interrupted run (Ctrl-C) is saved before KeyboardInterrupt goes on.
    """
    run, cfg = Path(out), cfg or Config()
    device = resolve_device(cfg.device)
    cfg, interface, buffer = prepare(demos, cfg, device)
    agent = make_agent(cfg, interface, device)
    if resume:
        _restore(run, agent, interface, device)
    elif (run / checkpoint.CHECKPOINT).exists():
        raise InputError(f"{run} already holds a run; continue it with --resume or choose another --out.")
    elif agent.encoder is not None and agent.ema_encoder is not None:
        agent.encoder.load_backbone()
        agent.ema_encoder.load_state_dict(agent.encoder.state_dict())
    run.mkdir(parents=True, exist_ok=True)
    write_json(run / checkpoint.CONFIG, describe(demos, cfg, env))
    if summary is not None:
        write_json(run / checkpoint.DATASET, summary)
    _loop(run, agent, buffer, interface, progress)
    return run


def headline(demos: Demonstrations, cfg: Config) -> str:
    """One line that says what is about to be trained on."""
    reward = resolve_reward(demos, cfg.data.reward)
    labelled = [e for e in demos.episodes if e.success is not None]
    success = f"{sum(e.ends_in_success for e in labelled)} end in success" if labelled else "no success signal"
    return (
        f"{demos.source} ({demos.format}): {len(demos)} episodes, {demos.num_transitions} transitions, {success}; "
        f"reward: {reward}; {cfg.steps} updates of {cfg.optim.batch_size} on {resolve_device(cfg.device)}"
    )


def describe(demos: Demonstrations, cfg: Config, env: str | None) -> dict[str, Any]:
    """What config.json holds."""
    return {
        "data": demos.source,
        "env": env or demos.env_spec,
        "env_args": demos.env_args if env in (None, demos.env_spec) else {},
        "config": cfg.to_dict(),
        "versions": {"dtql_robot": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }


RESUMABLE = {"steps", "log_every", "checkpoint_every", "device", "optim.compile"}
"""Settings that may differ between a run and its continuation."""


def _restore(run: Path, agent: DTQL, interface: Interface, device: torch.device) -> None:
    saved, saved_interface, state = checkpoint.read(run, device)
    before, now = flatten(saved.to_dict()), flatten(agent.cfg.to_dict())
    changed = sorted(k for k in now if now[k] != before[k] and k not in RESUMABLE)
    if changed:
        what = ", ".join(f"{k} was {before[k]!r}, now {now[k]!r}" for k in changed)
        raise InputError(f"{run} was trained with other settings or data: {what}; resume with the same ones.")
    for mine, theirs in (
        (interface.obs_norm, saved_interface.obs_norm),
        (interface.action_norm, saved_interface.action_norm),
    ):
        if not (np.array_equal(mine.shift, theirs.shift) and np.array_equal(mine.scale, theirs.scale)):
            raise InputError(f"{run} was trained on other data; resume with the same --data.")
    agent.load_state_dict(state)


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"data": {"horizon": 8}} -> {"data.horizon": 8}."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _batches(buffer: ChunkBuffer | PixelBuffer, agent: DTQL) -> Generator[Batch | PixelBatch, None, None]:
    """The batch of each update from the agent's step on, so that a resumed run sees those it would have seen."""
    size = agent.cfg.optim.batch_size
    if isinstance(buffer, PixelBuffer):
        yield from buffer.batches(size, agent.cfg.seed, agent.step)
    else:
        while True:
            yield buffer.sample(size, agent.generator)


def _loop(run: Path, agent: DTQL, buffer: ChunkBuffer | PixelBuffer, interface: Interface, progress: bool) -> None:
    cfg = agent.cfg
    bar = progress_bar("train", total=cfg.steps, unit="step", initial=agent.step, enabled=progress)
    metrics = MetricsFile(run / checkpoint.METRICS, agent.step)
    batches = _batches(buffer, agent)
    try:
        while agent.step < cfg.steps:
            log = agent.update(next(batches))
            bar.update()
            if agent.step % cfg.log_every == 0 or agent.step == cfg.steps:
                values = {k: float(v) for k, v in log.items()}
                _require_finite(values, agent.step)
                metrics.write(agent.step, values)
                bar.set_postfix({k: f"{v:.3g}" for k, v in values.items() if k in SHOWN}, refresh=False)
            if agent.step % cfg.checkpoint_every == 0 and agent.step < cfg.steps:
                checkpoint.save(run, agent, interface)
    except KeyboardInterrupt:
        checkpoint.save(run, agent, interface)
        raise
    finally:
        bar.close()
        metrics.close()
        batches.close()
    checkpoint.save(run, agent, interface)


SHOWN = ("denoiser_loss", "trust_region", "nll", "q_loss", "policy_q")
"""Metrics beside the progress bar."""


def _require_finite(values: Mapping[str, float], step: int) -> None:
    bad = [k for k, v in values.items() if not np.isfinite(v)]
    if bad:
        raise FloatingPointError(f"{bad} became NaN or infinite at step {step}; lower --lr or check the data.")


class MetricsFile:
    """metrics.csv: a header and one row every `log_every` updates, with the seconds since training began.

    Rows past `step` are dropped: they were written after the checkpoint that the run continues from.
    """

    def __init__(self, path: Path, step: int):
        self.rows = read_metrics(path) if step and path.exists() else []
        self.rows = [r for r in self.rows if r["step"] <= step]
        self.start = time.perf_counter() - (self.rows[-1]["seconds"] if self.rows else 0.0)
        self.file = open(path, "w", newline="")  # noqa: SIM115 (closed by close)
        self.writer: Any = None
        for row in self.rows:
            self._append(row)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._append({"step": step, "seconds": time.perf_counter() - self.start, **values})

    def _append(self, row: Mapping[str, float]) -> None:
        if self.writer is None:
            self.writer = csv.DictWriter(self.file, list(row), restval="nan", extrasaction="ignore")
            self.writer.writeheader()
        self.writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
        self.file.flush()

    def close(self) -> None:
        self.file.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv as numbers."""
    with open(path, newline="") as f:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(f)]
