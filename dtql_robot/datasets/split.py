"""Training and validation subsets of a robomimic file, or of a LeRobot folder, as filter keys (mask/<name>)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from dtql_robot.datasets.duplicates import digest, fingerprint
from dtql_robot.datasets.formats import hdf5
from dtql_robot.datasets.formats.hdf5_errors import DAMAGED, file_name, reading
from dtql_robot.datasets.formats.hdf5_open import open_file
from dtql_robot.datasets.formats.hdf5_write import writing
from dtql_robot.datasets.formats.lerobot import read as lerobot
from dtql_robot.datasets.formats.lerobot.folder import is_lerobot_folder
from dtql_robot.datasets.formats.lerobot.plan import plan
from dtql_robot.datasets.formats.lerobot.subsets import read_subsets, write_subsets
from dtql_robot.datasets.formats.location import resolve
from dtql_robot.datasets.formats.reading import Keep, Request
from dtql_robot.datasets.formats.robomimic_layout import demo_names, read_filters
from dtql_robot.datasets.formats.robomimic_obs import first_obs
from dtql_robot.datasets.formats.robomimic_read import read
from dtql_robot.datasets.formats.robosuite_recording import choose_names, is_raw, open_recording, read_state_demo
from dtql_robot.datasets.loader import detect
from dtql_robot.errors import InputError
from dtql_robot.system.files import new_file
from dtql_robot.types import Episode


def split_demos(
    path: str | Path,
    *,
    train: float = 0.9,
    within: str | None = None,
    only_success: bool = False,
    success_rule: Literal["last", "any"] = "last",
    subsets: Sequence[float] = (),
    seed: int = 0,
    names: tuple[str, str] = ("train", "valid"),
    overwrite: bool = False,
    problems: list[str] | None = None,
) -> dict[str, list[str]]:
    """Divide the demos at random and write mask/train and mask/valid; returns every new key and its demos.

    train         share of the demos for training; the rest is for validation.  1: all are, and there is no mask/valid
    within        divide only the demos of this filter key; the new keys are then "<within>_train", "<within>_valid"
    only_success  divide only the demos that succeed
    success_rule  succeed at their last step, or at any
    subsets       shares of the training demos, each inside the next larger one, as "20_percent_train" for 0.2
    overwrite     replace filter keys of the same names
    problems      receives a sentence for each demo that is left out because `load` would refuse it

    Copies of one demo stay together.  The file is replaced as a whole or not at all; other filter keys stay.  Those of
    a LeRobot folder are kept in its meta/dtql_robot.json.
    InputError for a damaged file or another layout, for shares that leave one side empty, and for existing keys.
    """
    path = resolve(path)
    if not 0 < train <= 1 or not all(0 < share < 1 for share in subsets):
        raise InputError(
            f"Shares must lie between 0 and 1 (--train may be 1), found train {train:g}, subsets {list(subsets)}."
        )
    in_folder = is_lerobot_folder(path)
    existing = set(read_subsets(path)) if in_folder else set(_check_layout(path))
    found: list[str] = []
    read_demos = _read_folder if in_folder else _read_raw if is_raw(path) else _read_episodes
    demos = read_demos(path, within, found)
    _refuse_damage(demos, found, path)
    if problems is not None:
        problems += found
    groups = _groups(demos, success_rule if only_success else None, path)
    prefix = f"{within}_" if within else ""
    both = prefix + names[0], prefix + names[1]
    masks = _divide(groups, train, subsets, seed, both)
    taken = sorted({*masks, *both} & existing)
    if taken and not overwrite:
        raise InputError(f"{path.name} has mask/{taken[0]} already. Add --overwrite to replace it.")
    (write_subsets if in_folder else write_masks)(path, masks, remove=[key for key in taken if key not in masks])
    return masks


def _check_layout(path: Path) -> dict[str, list[str]]:
    with open_file(path) as file:
        layout = detect(file)
        if layout != "robomimic":
            raise InputError(
                f"{path.name} is a {layout} file; only robomimic files have filter keys. `convert` it first."
            )
        return read_filters(file)


@dataclass(frozen=True)
class _Demo:
    """What decides on which side a demo goes.  at_end, ever: success; None where it is not known."""

    name: str
    fingerprint: bytes
    at_end: bool | None
    ever: bool | None


def _read_episodes(path: Path, within: str | None, problems: list[str]) -> list[_Demo]:
    """The demos that `load` would accept, read one by one; the others become `problems`."""
    found: list[_Demo] = []
    with open_file(path) as file:
        read(file, Request(_obs_keys(file), within, problems, _collect(found)))
    return found


def _read_folder(root: Path, within: str | None, problems: list[str]) -> list[_Demo]:
    """The same for a LeRobot folder."""
    found: list[_Demo] = []
    roles = plan(root, Request(filter_key=within)).roles
    low = [k for k, source in roles.obs.items() if source.feature.is_number]
    request = Request(None if low else list(roles.obs), within, problems, _collect(found))
    lerobot.read(plan(root, request), request)
    return found


def _collect(found: list[_Demo]) -> Keep:
    """Notes what decides about each episode that is read, and lets go of its arrays."""

    def keep(episode: Episode) -> Episode:
        known = episode.success is not None
        ever = episode.succeeds if known else None
        found.append(_Demo(episode.name, fingerprint(episode), episode.ends_in_success if known else None, ever))
        hollow = {k: np.broadcast_to(v.dtype.type(0), v.shape) for k, v in episode.obs.items()}
        return replace(episode, obs=hollow, extras={})

    return keep


def _obs_keys(file: h5py.File) -> list[str] | None:
    """What tells demos apart: None (every low-dimensional observation), or the images where there is nothing else."""
    data = hdf5.subgroup(file, "data")
    stored = first_obs(data, demo_names(data), file_name(file))
    numeric = [k for k, array in stored.items() if array.is_numeric]
    return numeric if all(stored[k].is_image for k in numeric) else None


def _read_raw(path: Path, within: str | None, problems: list[str]) -> list[_Demo]:
    """The same for a recording of simulator states."""
    found = []
    for name in choose_names(open_recording(path), within):
        try:
            demo = read_state_demo(path, name)
        except InputError as error:
            problems.append(str(error))
            continue
        found.append(_Demo(name, digest([demo.actions, demo.states]), None, None))
    return found


def _refuse_damage(demos: Sequence[_Demo], problems: Sequence[str], path: Path) -> None:
    """InputError where bytes of the file are damaged, or no demo is good: `inspect` refuses it as well."""
    damage = [p for p in problems if DAMAGED in p]
    if damage or not demos:
        raise InputError([*damage, *problems, f"{path.name} contains no demonstrations."][0])


def _groups(demos: Sequence[_Demo], success: str | None, path: Path) -> list[list[str]]:
    """Names of the demos to divide; those in one group are copies of each other."""
    if success is not None:
        if all(d.at_end is None for d in demos):
            raise InputError(f"{path.name} has no success signal; leave --only-success out.")
        demos = [d for d in demos if (d.ever if success == "any" else d.at_end)]
        if not demos:
            raise InputError(
                f"No demo of {path.name} {'succeeds' if success == 'any' else 'ends in success'}; leave "
                "--only-success out."
            )
    groups: dict[bytes, list[str]] = {}
    for demo in demos:
        groups.setdefault(demo.fingerprint, []).append(demo.name)
    return list(groups.values())


def _divide(
    groups: list[list[str]], train: float, subsets: Sequence[float], seed: int, names: tuple[str, str]
) -> dict[str, list[str]]:
    count = len(groups)
    for_training = round(train * count)
    if for_training < 1 or (for_training == count and train < 1):
        raise InputError(
            f"{count} different demos cannot be divided {train:g} to {1 - train:g}: one side would be "
            "empty. Choose another --train."
        )
    order = np.random.default_rng(seed).permutation(count).tolist()
    masks = {names[0]: _flat(groups, order[:for_training])}
    if for_training < count:
        masks[names[1]] = _flat(groups, order[for_training:])
    for share in sorted(subsets):
        percent = Fraction(str(share)) * 100
        text = str(percent.numerator) if percent.denominator == 1 else f"{float(percent):g}"
        taken = order[: max(1, round(share * for_training))]
        masks[f"{text}_percent_{names[0]}"] = _flat(groups, taken)
    return masks


def _flat(groups: list[list[str]], chosen: Iterable[int]) -> list[str]:
    """Names in the groups, in the file's order."""
    return [name for i in sorted(chosen) for name in groups[i]]


def write_masks(path: Path, masks: Mapping[str, Sequence[str]], remove: Sequence[str] = ()) -> None:
    """Add or replace filter keys in a copy of the file, and remove some; the copy then takes the file's place."""
    for key in masks:
        if not re.fullmatch(r"[\w.-]+", key):
            raise InputError(f"Filter key {key!r} is not valid; use letters, digits, _, - and . only.")
    with new_file(path, overwrite=True) as temporary:
        shutil.copyfile(path, temporary)
        shutil.copymode(path, temporary)
        with reading(str(path)), writing(temporary, "r+") as file:
            mask = file.require_group("mask")
            for key in remove:
                del mask[key]
            for key, names in masks.items():
                if key in mask:
                    del mask[key]
                mask[key] = np.array([name.encode() for name in names])  # text of any alphabet
