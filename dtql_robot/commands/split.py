"""`dtql-robot split`: filter keys for training and validation."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from dtql_robot.errors import InputError

if TYPE_CHECKING:
    from dtql_robot.types import Demonstrations


@dataclass(frozen=True, kw_only=True)
class Options:
    """Split the demonstrations of a robomimic file or LeRobot dataset at random: adds filter keys train and valid.

    Copies of a demonstration stay on the same side. Demonstrations that cannot be used are left out and named.
    The file is rewritten completely or not at all.
    Example: dtql-robot split low_dim.hdf5 --train 0.9 --subsets 0.2 0.5
    """

    data: Positional[Path]
    """robomimic HDF5 file, or LeRobot folder."""
    train: float = 0.9
    """Fraction of the demonstrations for training; the rest is for validation. 1: no validation set."""
    within: str | None = None
    """Split only the demonstrations of this filter key, into <within>_train and <within>_valid."""
    only_success: bool = False
    """Split only the successful demonstrations."""
    success_rule: Literal["auto", "last", "any"] = "auto"
    """Which demonstrations count as successful. last: success at the last step. any: at any step. auto: as the recorded
    environment counts, otherwise last."""
    subsets: tuple[float, ...] = ()
    """Also write subsets of the training set, such as 0.2 for 20_percent_train. Larger subsets contain the smaller
    ones."""
    seed: int = 0
    """Seed for the split."""
    overwrite: bool = False
    """Replace filter keys that have the same names."""


def run(options: Options) -> None:
    """Write the filter keys into the file."""
    from dtql_robot.system.locks import locked

    with locked(_file(options.data)):
        _split(options)


def _file(data: Path) -> Path:
    """The file to be replaced.  InputError where there is none."""
    from dtql_robot.datasets.formats.location import resolve

    path = resolve(data)
    if not path.exists():
        raise InputError(f"{path}: no such file. Check the path (relative paths start at {Path.cwd()}).")
    return path


def _split(options: Options) -> None:
    from dtql_robot.datasets.split import split_demos

    left_out: list[str] = []
    rule = options.success_rule
    if rule == "auto":
        rule = recorded_rule(options.data) if options.only_success else "last"
    masks = split_demos(
        options.data,
        train=options.train,
        within=options.within,
        only_success=options.only_success,
        success_rule=rule,
        subsets=options.subsets,
        seed=options.seed,
        overwrite=options.overwrite,
        problems=left_out,
    )
    for problem in left_out:
        print(f"left out: {problem}", file=sys.stderr)
    for key, names in masks.items():
        print(f"mask/{key}: {len(names)} demonstrations")
    first = next(iter(masks))
    print(f"next:    dtql-robot train --data {shlex.quote(str(options.data))} --filter-key {first} --out RUN")


def recorded_rule(data: Path) -> Literal["last", "any"]:
    """How the environment that the file names counts success; "last", with a note, where that cannot be told."""
    from dtql_robot.datasets.loader import read_source

    try:
        demos = read_source(data, problems=[]).demos
    except InputError:
        return "last"  # `split_demos` refuses it in a moment, or it has no success to count
    return rule_of(demos)


def rule_of(demos: Demonstrations) -> Literal["last", "any"]:
    """How the environment that the data names counts success; "last", with a note, where that cannot be told."""
    from dtql_robot.env_record import choose_env
    from dtql_robot.envs import env_info

    try:
        if demos.env_spec is not None:
            chosen = choose_env(None, demos.env_spec, demos.env_args, source=demos.source)
            return env_info(chosen.require(), env_args=chosen.env_args).success_rule
    except InputError:
        pass  # not installed here, or not to be imported because a file names it
    ends, ever = (sum(flags) for flags in zip(*((e.ends_in_success, e.succeeds) for e in demos.episodes), strict=True))
    if ends < ever:
        print(
            f"note: {ends} demonstrations end in success, {ever} succeed at some step; taken are the {ends}. Where "
            "any step counts: --success-rule any."
        )
    return "last"
