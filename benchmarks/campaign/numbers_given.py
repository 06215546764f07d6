"""Extreme numbers on the command line: every numeric option of every command, with values that nobody meant."""

from __future__ import annotations

import importlib
import random
import re
import tempfile
from pathlib import Path

import h5py
import numpy as np
from damage import robomimic
from files import SMALL, preload
from trial import GIB, Tally, forked, promised

from dtql_robot.cli import main
from dtql_robot.commands.options import option_groups

SECONDS, MEMORY = 60.0, 3 * GIB
SENSELESS = (
    "inf",
    "-inf",
    "nan",
    "-1",
    "0",
    "x",
    "",
    "1e999",
    "-1e308",
    "-9223372036854775809",
    "9" * 5000,
    "1_0",
    "٣",
)
LARGE = ("1e308", "1e-308", "4294967296", "9223372036854775808", "18446744073709551616", "100000000")
WORK = {
    *("--steps", "--episodes", "--max-episode-steps", "--workers", "--jobs", "--pretrain-steps", "--size"),
    *("--video-episodes", "--video-size", "--seeds", "--sampler-steps", "--worker-timeout"),
}
"""How much is to be done, or waited for: a large number is a wish that is honoured for as long as it takes."""
LISTED = (
    ("train", "--seeds", "0..100000000"),
    ("train", "--seeds", "3..1"),
    ("train", "--seeds", "0..18446744073709551616"),
)


COMMANDS = ("train", "collect", "eval", "split", "playback", "validate", "convert", "edit", "toy")


def numeric_options(command: str) -> list[str]:
    """Options of a command that take a number."""
    declared = importlib.import_module(f"dtql_robot.commands.{command}").Options
    options = [option for group in option_groups(declared) for option in group.options]
    return sorted(option.flag for option in options if {"N", "X"} & set(re.split(r"\W", option.value)))


def cases() -> list[tuple[str, str, str]]:
    """(command, option, value), all that there are."""
    found = list(LISTED)
    for command in COMMANDS:
        for option in numeric_options(command):
            found += [(command, option, value) for value in SENSELESS]
            found += [(command, option, value) for value in LARGE if option not in WORK]
    return found


def words(command: str, folder: Path) -> list[object]:
    """The command with everything else as it should be."""
    data, out = folder / "demos.hdf5", folder / "out"
    return {
        "train": ["train", "--data", data, "--out", out, *SMALL],
        "collect": ["collect", "FetchReach-v4", "--out", out / "d.hdf5", "--workers", "1", "--episodes", "1"],
        "eval": ["eval", folder / "run", "--episodes", "1", "--max-episode-steps", "2", "--workers", "1"],
        "split": ["split", data, "--train", "0.5", "--overwrite"],
        "playback": ["playback", data],
        "validate": ["validate", folder / "d4rl.hdf5"],
        "convert": ["convert", data, out / "made.hdf5"],
        "edit": ["edit", data, out / "edited.hdf5"],
        "toy": ["toy", "--out", out / "toy.png", "--steps", "3"],
    }[command]


def campaign(count: int, seed: int) -> list[Tally]:
    """`count` of the cases, drawn at random."""
    tally = Tally("extreme numbers on the command line: a sentence or a result, 60 s, 3 GiB")
    preload()
    drawn = cases()
    random.Random(f"{seed} numbers").shuffle(drawn)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        robomimic(folder)
        with h5py.File(folder / "d4rl.hdf5", "w") as file:
            file["observations"], file["actions"] = np.random.default_rng(0).standard_normal((2, 40, 4)).astype("f4")
            file["rewards"], file["terminals"] = np.zeros(40, "f4"), np.zeros(40, bool)
        forked(lambda: main([str(w) for w in words("train", folder)]), 60)
        (folder / "out").rename(folder / "run")
        for command in COMMANDS:
            (folder / command).mkdir()
            line = [str(w).replace(f"{folder}/out", f"{folder}/{command}/out") for w in words(command, folder)]
            outcome = forked(lambda line=line: main(line), 60)  # type: ignore[misc]
            if outcome.code != 0 and command != "validate":
                raise RuntimeError(f"{command} fails without an extreme number: {outcome.output[-500:]}")
        for i, (command, option, value) in enumerate(drawn[:count]):
            (folder / f"{i}").mkdir()
            line = [str(w).replace(f"{folder}/out", f"{folder}/{i}/out") for w in words(command, folder)]
            outcome = forked(lambda line=line, o=option, v=value: main([*line, f"{o}={v}"]), SECONDS, MEMORY)  # type: ignore[misc]
            wrong = promised(outcome, (0, 1, 2))
            if wrong is None and outcome.peak_bytes > MEMORY:
                wrong = f"took {outcome.peak_bytes / GIB:.1f} GiB"
            tally.check(wrong is None, f"{command} {option}={value[:40]}: {wrong}")
    return [tally]
