"""The training loop: demonstrations in, a run folder out.  Imports no simulator."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dtql_robot import checkpoint, run_folder
from dtql_robot.algorithm.agent import DTQL, Algorithm1
from dtql_robot.algorithm.objectives import Losses
from dtql_robot.checkpoint import make_agent
from dtql_robot.config import Config
from dtql_robot.errors import InputError
from dtql_robot.policy.interface import Interface
from dtql_robot.policy.normalize import action_std
from dtql_robot.run_folder import describe, flatten
from dtql_robot.system.files import write_json
from dtql_robot.system.progress import progress_bar
from dtql_robot.training.buffer import (
    ChunkBuffer,
    DiskChunkBuffer,
    choose_obs_keys,
    fit_normalizers,
    make_buffer,
    resolve_reward,
)
from dtql_robot.training.chunk_weights import fit_chunk_weights
from dtql_robot.training.cuda_graph import GraphedUpdate
from dtql_robot.training.ensemble import Ensemble, ParallelEnsembles
from dtql_robot.training.hardware import hardware, keep_compiled_code, resolve_device, should_compile
from dtql_robot.training.metrics_file import MetricsFile
from dtql_robot.training.pixel_buffer import PixelBuffer, make_pixel_buffer, split_keys
from dtql_robot.types import Batch, Demonstrations, PixelBatch

TEMPERATURE_PER_FAILURE = 3.0
"""Temperature of the likelihood's advantage weights if every episode failed (docs/recipe.md)."""


def resolve_temperature(demos: Demonstrations, choice: float | None) -> float:
    """The choice, or what suits the data: nothing to select where all succeed, much where most fail."""
    if choice is not None:
        return choice
    labelled = [e for e in demos.episodes if e.success is not None]
    failures = sum(not e.ends_in_success for e in labelled)
    return TEMPERATURE_PER_FAILURE * failures / len(labelled) if labelled else 0.0


def prepare(
    demos: Demonstrations, cfg: Config, device: torch.device
) -> tuple[Config, Interface, ChunkBuffer | PixelBuffer]:
    """Fit the scalings, lay out the buffer, and resolve the settings that depend on the data."""
    keys = choose_obs_keys(demos, cfg.data.obs_keys)
    data = dataclasses.replace(cfg.data, obs_keys=keys, reward=resolve_reward(demos, cfg.data.reward))
    low_keys, image_keys = split_keys(demos, keys)
    obs_norm, action_norm = fit_normalizers(demos, low_keys, data.action_norm)
    buffer = make_buffer(demos, data, cfg.critic.discount, low_keys, obs_norm, action_norm, device)
    sigma_data = cfg.diffusion.sigma_data or action_std(buffer.actions.cpu().numpy())
    policy = dataclasses.replace(cfg.policy, awr_temperature=resolve_temperature(demos, cfg.policy.awr_temperature))
    diffusion = dataclasses.replace(cfg.diffusion, sigma_data=sigma_data)
    cfg = dataclasses.replace(cfg, data=data, diffusion=diffusion, policy=policy)
    shapes = tuple(demos.obs_shapes[k] for k in keys)
    face = Interface(keys, shapes, obs_norm, action_norm, demos.action_dim, sigma_data, image_keys)
    if not image_keys:
        return cfg, face, buffer
    frames, with_next = cfg.encoder.frame_stack, cfg.policy.uses_critic
    return cfg, face, make_pixel_buffer(demos, buffer, image_keys, frames, with_next, device)


@dataclass
class Run:
    """One policy under training and the folder it is saved in."""

    folder: Path
    agent: DTQL
    interface: Interface
    buffer: ChunkBuffer | PixelBuffer

    def save(self) -> None:
        if self.agent.cfg.data.temporal_ensemble_coeff == "fit":
            weights = fit_chunk_weights(self.agent, self.buffer)
            self.interface = dataclasses.replace(self.interface, chunk_weights=weights)
        checkpoint.save(self.folder, self.agent, self.interface)


def train(
    demos: Demonstrations,
    out: str | Path,
    cfg: Config | None = None,
    *,
    seeds: Sequence[int] = (),
    env: str | None = None,
    resume: bool = False,
    progress: bool = True,
    summary: dict[str, Any] | None = None,
) -> Path:
    """Train DTQL and return the run folder.

    seeds: train a policy for each of these seeds instead of `cfg.seed`, all at once, into `out/seed0`, `out/seed1`, ...
    env: the environment to evaluate in, where the demonstrations do not name theirs.
    resume: continue the folder's run; its settings must be `cfg`'s, but for the number of steps and the intervals.
    summary: what `datasets.inspect` says of the data, kept in the run folder for its report.
    An interrupted run (Ctrl-C) is saved before KeyboardInterrupt goes on.
    """
    out, cfg = Path(out), cfg or Config()
    with hardware(cfg):
        device = resolve_device(cfg.device)
        _refuse_mixing(out, bool(seeds))
        cfg, interface, buffer = prepare(demos, cfg, device)
        _check_buffer(cfg, buffer, seeds)
        folders = {s: run_folder.seed_folder(out, s) for s in seeds} or {cfg.seed: out}
        each = {f: dataclasses.replace(cfg, seed=s) for s, f in folders.items()}
        runs = [Run(f, _start(f, c, interface, device, resume), interface, buffer) for f, c in each.items()]
        for run in runs:
            run.folder.mkdir(parents=True, exist_ok=True)
            write_json(run.folder / run_folder.CONFIG, describe(demos, run.agent.cfg, env))
            if summary is not None:
                write_json(run.folder / run_folder.DATASET, summary)
        _loop(runs, buffer, progress)
    return out


def _start(folder: Path, cfg: Config, interface: Interface, device: torch.device, resume: bool) -> DTQL:
    """A new agent, or that of the folder's run if it is to be resumed."""
    agent = make_agent(cfg, interface, device)
    if resume:
        _restore(folder, agent, interface, device)
    elif (folder / run_folder.CHECKPOINT).exists():
        raise InputError(f"{folder} already holds a run; continue it with --resume or choose another --out.")
    elif agent.encoder is not None and agent.ema_encoder is not None:
        agent.encoder.load_backbone()
        agent.ema_encoder.load_state_dict(agent.encoder.state_dict())
    return agent


def _refuse_mixing(out: Path, several: bool) -> None:
    """A folder holds one run, or the runs of several seeds."""
    if several and (out / run_folder.CONFIG).exists():
        raise InputError(f"{out} holds a single run; choose another --out for the runs of several seeds.")
    if not several and run_folder.seed_runs(out):
        raise InputError(f"{out} holds the runs of several seeds; choose another --out for a single run.")


def _check_buffer(cfg: Config, buffer: ChunkBuffer | PixelBuffer, seeds: Sequence[int]) -> None:
    """InputError where the data does not allow what is asked for."""
    if len(seeds) > 1 and isinstance(buffer, PixelBuffer):
        raise InputError("--seeds trains on low-dimensional observations; with images, train one --seed at a time.")
    if cfg.optim.cuda_graph and isinstance(buffer, PixelBuffer | DiskChunkBuffer):
        raise InputError("cuda_graph=True needs all data on the GPU; leave it out with images or data kept in a file.")


def headline(demos: Demonstrations, cfg: Config) -> str:
    """One line that says what is about to be trained on."""
    reward = resolve_reward(demos, cfg.data.reward)
    labelled = [e for e in demos.episodes if e.success is not None]
    success = f"{sum(e.ends_in_success for e in labelled)} end in success" if labelled else "no success signal"
    return (
        f"{demos.source} ({demos.format}): {len(demos)} episodes, {demos.num_transitions} transitions, {success}; "
        f"reward: {reward}; {cfg.steps} updates of {cfg.optim.batch_size} on {resolve_device(cfg.device)}"
    )


RESUMABLE = {"steps", "log_every", "checkpoint_every", "device", "threads", "optim.compile", "optim.cuda_graph"}
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


Learner = Algorithm1 | ParallelEnsembles
"""What is updated: an agent, or all agents as one."""


def _batches(buffer: ChunkBuffer | PixelBuffer, learner: Learner) -> Generator[Batch | PixelBatch, None, None]:
    """The batch of each update from the learner's step on, so that a resumed run sees those it would have seen."""
    size = learner.cfg.optim.batch_size
    if isinstance(buffer, PixelBuffer):
        yield from buffer.batches(size, learner.cfg.seed, learner.step)
    elif isinstance(learner, Ensemble | ParallelEnsembles):
        while True:
            yield buffer.sample_each(size, learner.generators)
    else:
        while True:
            yield buffer.sample(size, learner.generators[0])


def _loop(runs: Sequence[Run], buffer: ChunkBuffer | PixelBuffer, progress: bool) -> None:
    learner = _join([run.agent for run in runs])
    cfg, batches = learner.cfg, _batches(buffer, learner)
    update = _make_update(learner, batches)
    title = "train" if len(runs) == 1 else f"train {len(runs)} seeds"
    bar = progress_bar(title, total=cfg.steps, unit="step", initial=learner.step, enabled=progress)
    tables = [MetricsFile(run.folder / run_folder.METRICS, learner.step) for run in runs]
    try:
        while learner.step < cfg.steps:
            log = update()
            bar.update()
            if learner.step % cfg.log_every == 0 or learner.step == cfg.steps:
                rows = _rows(log, len(runs))
                for run, table, row in zip(runs, tables, rows, strict=True):
                    _require_finite(row, learner.step, run.folder)
                    table.write(learner.step, row)
                means = {k: sum(row[k] for row in rows) / len(rows) for k in SHOWN if k in rows[0]}
                bar.set_postfix({k: f"{v:.3g}" for k, v in means.items()}, refresh=False)
            if learner.step % cfg.checkpoint_every == 0 and learner.step < cfg.steps:
                _save(runs, learner)
    except KeyboardInterrupt:
        _save(runs, learner)
        raise
    finally:
        bar.close()
        for table in tables:
            table.close()
        batches.close()
        if isinstance(learner, ParallelEnsembles):
            learner.close()
    _save(runs, learner)


def _join(agents: Sequence[DTQL]) -> Learner:
    """The agent itself, or all agents as one: on a CPU in as many parts as seeds and threads allow."""
    if len(agents) == 1:
        return agents[0]
    steps = {a.step for a in agents}
    if len(steps) > 1:
        raise InputError(f"The seeds' runs are at different steps ({sorted(steps)}); resume them one by one.")
    on_cpu = agents[0].device.type == "cpu"
    if on_cpu and math.gcd(len(agents), torch.get_num_threads()) > 1:
        return ParallelEnsembles(agents)
    return Ensemble(agents)


def _make_update(learner: Learner, batches: Iterator[Batch | PixelBatch]) -> Callable[[], Losses]:
    """Draws a batch and updates, in the fastest way that the settings allow."""
    cfg = learner.cfg
    if should_compile(cfg, (cfg.steps - learner.step) * len(learner.generators)):
        keep_compiled_code()
        learner.compile_losses()
    if isinstance(learner, ParallelEnsembles):
        return lambda: learner.update(_low_dimensional(next(batches)))
    if cfg.optim.cuda_graph:
        return GraphedUpdate(learner, lambda: next(batches))
    return lambda: learner.update(next(batches))


def _low_dimensional(batch: Batch | PixelBatch) -> Batch:
    assert isinstance(batch, Batch)
    return batch


def _rows(log: Losses, count: int) -> list[dict[str, float]]:
    """The values of each of `count` policies.  log: name -> scalar, or (count,)."""
    columns = {k: v.expand(count).tolist() for k, v in log.items()}
    return [{k: column[i] for k, column in columns.items()} for i in range(count)]


def _save(runs: Sequence[Run], learner: Learner) -> None:
    if isinstance(learner, Ensemble | ParallelEnsembles):
        learner.scatter()
    for run in runs:
        run.save()


SHOWN = ("denoiser_loss", "trust_region", "nll", "q_loss", "policy_q")
"""Metrics beside the progress bar."""


def _require_finite(values: Mapping[str, float], step: int, run: Path) -> None:
    bad = [k for k, v in values.items() if not np.isfinite(v)]
    if bad:
        raise FloatingPointError(f"{bad} became NaN or infinite at step {step} ({run}); lower --lr or check the data.")
