"""Training and validation subsets of a robomimic file, as filter keys (mask/<name>)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np

from dtql_robot.datasets.duplicates import duplicate_episodes
from dtql_robot.datasets.formats import hdf5
from dtql_robot.datasets.formats.location import resolve
from dtql_robot.datasets.formats.robomimic_read import demo_names, read_filters
from dtql_robot.datasets.loader import detect, read_source
from dtql_robot.errors import InputError
from dtql_robot.system.files import new_file


def split_demos(
    path: str | Path,
    *,
    train: float = 0.9,
    within: str | None = None,
    only_success: bool = False,
    subsets: Sequence[float] = (),
    seed: int = 0,
    names: tuple[str, str] = ("train", "valid"),
    overwrite: bool = False,
) -> dict[str, list[str]]:
    """Divide the demos at random and write mask/train and mask/valid; returns every new key and its demos.

    train         share of the demos for training; the rest is for validation
    within        divide only the demos of this filter key; the new keys are then "<within>_train", "<within>_valid"
    only_success  divide only the demos that end in success
    subsets       shares of the training demos, each inside the next larger one, as "20_percent_train" for 0.2
    overwrite     replace filter keys of the same names

    Copies of one demo stay together.  The file is replaced as a whole or not at all; other filter keys stay.
    InputError for a file of another layout, for shares that leave one side empty, and for existing keys.
    """
    path = resolve(path)
    if not 0 < train < 1 or not all(0 < share < 1 for share in subsets):
        raise InputError(f"Shares must lie between 0 and 1, found train {train:g}, subsets {list(subsets)}.")
    existing = _check_layout(path)
    groups = _groups(path, within, only_success)
    prefix = f"{within}_" if within else ""
    masks = _divide(groups, train, subsets, seed, (prefix + names[0], prefix + names[1]))
    taken = sorted(set(masks) & set(existing))
    if taken and not overwrite:
        raise InputError(f"{path.name} has mask/{taken[0]} already. Add --overwrite to replace it.")
    write_masks(path, masks)
    return masks


def _check_layout(path: Path) -> dict[str, list[str]]:
    with hdf5.open_file(path) as file:
        layout = detect(file)
        if layout != "robomimic":
            raise InputError(
                f"{path.name} is a {layout} file; only robomimic files have filter keys. `convert` it first."
            )
        return read_filters(file)


def _groups(path: Path, within: str | None, only_success: bool) -> list[list[str]]:
    """Names of the demos to divide; those in one group are copies of each other."""
    try:
        demos = read_source(path, filter_key=within).demos
    except InputError as refused:
        if only_success or within is not None:
            raise
        with hdf5.open_file(path) as file:  # raw recordings can be divided too
            names = demo_names(hdf5.subgroup(file, "data"))
        if not names:
            raise refused
        return [[name] for name in names]
    if only_success and all(e.success is None for e in demos.episodes):
        raise InputError(f"{path.name} has no success signal; leave --only-success out.")
    chosen = {e.name for e in demos.episodes if e.ends_in_success or not only_success}
    copies = {name: group for group in duplicate_episodes(demos) for name in group}
    groups: dict[str, list[str]] = {}
    for episode in demos.episodes:
        if episode.name in chosen:
            groups.setdefault(copies.get(episode.name, [episode.name])[0], []).append(episode.name)
    return list(groups.values())


def _divide(
    groups: list[list[str]], train: float, subsets: Sequence[float], seed: int, names: tuple[str, str]
) -> dict[str, list[str]]:
    count = len(groups)
    for_training = round(train * count)
    if not 0 < for_training < count:
        raise InputError(f"{count} different demos cannot be divided {train:g} to {1 - train:g}: one side would be "
                         "empty. Choose another --train.")  # fmt: skip
    order = np.random.default_rng(seed).permutation(count).tolist()
    masks = {names[0]: _flat(groups, order[:for_training]), names[1]: _flat(groups, order[for_training:])}
    for share in sorted(subsets):
        percent = Fraction(str(share)) * 100
        text = str(percent.numerator) if percent.denominator == 1 else f"{float(percent):g}"
        taken = order[: max(1, round(share * for_training))]
        masks[f"{text}_percent_{names[0]}"] = _flat(groups, taken)
    return masks


def _flat(groups: list[list[str]], chosen: Iterable[int]) -> list[str]:
    """Names in the groups, in the file's order."""
    return [name for i in sorted(chosen) for name in groups[i]]


def write_masks(path: Path, masks: Mapping[str, Sequence[str]]) -> None:
    """Add or replace filter keys in a copy of the file, which then takes its place."""
    for key in masks:
        if not re.fullmatch(r"[\w.-]+", key):
            raise InputError(f"Filter key {key!r} is no name; letters, digits, _, - and . were expected.")
    with new_file(path, overwrite=True) as temporary:
        shutil.copyfile(path, temporary)
        shutil.copymode(path, temporary)
        with hdf5.reading(str(path)), h5py.File(temporary, "r+") as file:
            mask = file.require_group("mask")
            for key, names in masks.items():
                if key in mask:
                    del mask[key]
                mask[key] = np.array(names, dtype="S")
