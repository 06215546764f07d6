"""`dtql-robot split`: filter keys for training and validation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class Options:
    """Divide the demonstrations of a robomimic file at random and write the filter keys train and valid into it.

    Copies of one demonstration stay on one side. The file is replaced as a whole or not at all.
    Example: dtql-robot split low_dim.hdf5 --train 0.9 --subsets 0.2 0.5
    """

    data: Positional[Path]
    """robomimic HDF5 file."""
    train: float = 0.9
    """Share of the demonstrations for training; the others are for validation."""
    within: str | None = None
    """Divide only the demonstrations of this filter key, into <within>_train and <within>_valid."""
    only_success: bool = False
    """Divide only the demonstrations that end in success."""
    subsets: tuple[float, ...] = ()
    """Also write parts of the training set, e.g. 0.2 for 20_percent_train. Larger ones hold the smaller."""
    seed: int = 0
    """Seed of the division."""
    overwrite: bool = False
    """Replace filter keys of the same names."""


def run(options: Options) -> None:
    from dtql_robot.datasets.split import split_demos

    masks = split_demos(
        options.data, train=options.train, within=options.within, only_success=options.only_success,
        subsets=options.subsets, seed=options.seed, overwrite=options.overwrite,
    )  # fmt: skip
    for key, names in masks.items():
        print(f"mask/{key}: {len(names)} demonstrations")
    first = next(iter(masks))
    print(f"next:    dtql-robot train --data {options.data} --filter-key {first} --out RUN")
