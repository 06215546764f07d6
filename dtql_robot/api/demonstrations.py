"""The demonstrations that a training reads, and those that it holds out."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from typing import Any

from dtql_robot.config import Config, DataConfig
from dtql_robot.datasets.formats.episode_checks import check_alike
from dtql_robot.datasets.formats.location import resolve
from dtql_robot.datasets.formats.ogbench_names import dataset_name, validation_part
from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.datasets.loader import read_source
from dtql_robot.datasets.summary import inspect
from dtql_robot.datasets.validation.findings import Use
from dtql_robot.datasets.validation.validate import validate_reading
from dtql_robot.errors import InputError
from dtql_robot.training.held_out import hold_out, without
from dtql_robot.types import Demonstrations


@dataclass(frozen=True)
class Divided:
    """Demonstrations to train on, those held out (None: none are), and a sentence on the division.

    taken: how many there were before the division.
    """

    demos: Demonstrations
    valid: Demonstrations | None = None
    notes: tuple[str, ...] = ()
    taken: int | None = None

    def summary(self, demos: Demonstrations) -> dict[str, Any]:
        """`inspect` of what is trained on, with "recorded_episodes" where more were recorded."""
        more = self.taken is not None and self.taken > len(demos)
        return {**inspect(demos), **({"recorded_episodes": self.taken} if more else {})}


def _checked(data: str, cfg: DataConfig) -> Reading:
    """What `train` reads: the demonstrations, after every check.  Errors stop it, warnings and notes go to stderr."""
    reading = _read(data, cfg, cfg.filter_key)
    found = validate_reading(reading, Use(cfg.action_norm, cfg.reward, cfg.obs_keys, cfg.horizon))
    for line in (*found.warnings, *(f"note: {note}" for note in found.notes)):
        print(line, file=sys.stderr)
    if found.errors:
        raise InputError(" ".join(map(str, found.errors)))
    return reading


def _read(data: str, cfg: DataConfig, filter_key: str | None) -> Reading:
    return read_source(
        data,
        obs_keys=cfg.obs_keys or None,
        filter_key=filter_key,
        success_reward=cfg.success_reward,
        episode_length=cfg.episode_length,
    )


def take(data: Demonstrations | str | os.PathLike[str], cfg: Config) -> Divided:
    """The demonstrations to train on and those held out.  A file is read and checked first."""
    if isinstance(data, Demonstrations):
        return replace(divide(data, cfg), taken=len(data))
    reading = _checked(os.fspath(data), cfg.data)
    return replace(divide(reading.demos, cfg, reading), taken=len(reading.demos))


def divide(demos: Demonstrations, cfg: Config, reading: Reading | None = None) -> Divided:
    """Hold out what `valid_fraction`, `valid_key` or `valid_data` asks for, or else what the data divides itself into:
    mask/valid, or the part -val of an OGBench data set.

    reading: of the file that the demonstrations are from, None where they come from Python.
    """
    watch, data = cfg.watch, cfg.data
    if watch.valid_fraction is not None:
        train, valid = hold_out(demos, watch.valid_fraction)
        return Divided(train, valid, (f"held out: {len(valid)} of {len(demos)} demonstrations, drawn at random.",))
    if watch.valid_key is not None:
        if reading is None:
            raise InputError("valid_key names a list in a file; pass train the file's path instead of demonstrations.")
        return _by_key(demos, cfg, watch.valid_key)
    if watch.valid_data is not None:
        return _beside(demos, cfg, watch.valid_data)
    if reading is not None and dataset_name(demos.source) is not None:
        part = validation_part(demos.source, resolve(demos.source))
        return Divided(demos) if part is None else _beside(demos, cfg, str(part))
    masks = {} if reading is None else reading.filter_keys
    if data.filter_key in (None, "valid") or "valid" not in masks:
        return Divided(demos)
    shared = set(masks["valid"]) & set(masks.get(data.filter_key or "", ()))
    if shared:
        return Divided(
            demos,
            notes=(
                f"nothing is measured on mask/valid: {len(shared)} of its demonstrations are in "
                f"mask/{data.filter_key} too.",
            ),
        )
    return _by_key(demos, cfg, "valid")


def _beside(demos: Demonstrations, cfg: Config, source: str) -> Divided:
    """Validation data of its own; training keeps all of its demonstrations but copies of those."""
    valid = _read(source, cfg.data, None).demos
    check_alike((*demos.episodes[:1], *valid.episodes), valid.source)
    train = without(demos, valid)
    said = f"held out: the {len(valid)} demonstrations of {valid.source}"
    lost = len(demos) - len(train)
    said += f", and {lost} copies of them" if lost else ""
    return Divided(train, valid, (f"{said}.",))


def _by_key(demos: Demonstrations, cfg: Config, key: str) -> Divided:
    valid = replace(_read(demos.source, cfg.data, key).demos, source=f"{demos.source} (mask/{key})")
    train = without(demos, valid)
    said = f"held out: the {len(valid)} demonstrations of mask/{key}"
    lost = len(demos) - len(train)
    said += f", {lost} of which are removed from the training data" if lost else ""
    return Divided(train, valid, (f"{said}.",))
