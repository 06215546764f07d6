"""Misused command lines: every option and every argument that takes text, with paths and words that cannot be right."""

from __future__ import annotations

import importlib
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from damage import d4rl, minari, pixels, recording, robomimic
from files import SMALL, preload
from trial import GIB, Tally, forked, promised

from dtql_robot.cli import main
from dtql_robot.commands.options import option_groups

SECONDS, MEMORY = 60.0, 3 * GIB
PLACES = (
    *("", " ", ".", "..", "/", "-", "~", "~no-such-user/x", "nowhere", "nowhere/x.hdf5", "{folder}", "{folder}/"),
    *("{folder}/demos.hdf5/inside", "{folder}/text.txt", "{folder}/empty.hdf5", "{folder}/loop", "{folder}/broken"),
    *("{folder}/pipe", "/dev/null", "/dev/full", "/proc/none/x", "/proc/self/mem", "/sys/x", "n" * 300, "n/" * 3000),
    *("\udcff\udcfe", "{folder}/\udcff.hdf5", "{folder}/new\x1b[31m.hdf5", "{folder}/é,ü.hdf5", "a,b", ",", "a\nb"),
    *("{folder}/run", "{folder}/demos.hdf5", "{folder}/minari-v0", "{folder}/x-v0", "{folder}/pixels.hdf5"),
    *(
        "minari:",
        "minari:../../etc-v0",
        "ogbench:",
        "ogbench:../x-v0",
        "lerobot:",
        "lerobot:../x",
        "file:///etc/passwd",
    ),
)
"""Words that may be taken for a file's or folder's name."""
NAMES = (
    *("", " ", "none", "Nothing-v0", "FetchReach-v99", "FetchPush-v4", "robosuite:", "robosuite:Nothing", "metaworld:"),
    *("ogbench:", "no_such_module:Env-v0", "os:Env-v0", ":", "::", "a:b:c", "robosuite:Lift+state=", "+", "[]", "{}"),
    *("x" * 300, "\udcff", "\x1b[31m", "1", "-1", "nan", "0..2..4", "=", "a=", "--", "\n", "é", "None"),
)
"""Words that may be taken for the name of an environment, an observation, a task, a camera, a preset."""


def bases(folder: Path) -> dict[str, list[str]]:
    """A sound command line for every command, small."""
    data, out, run = folder / "demos.hdf5", folder / "out", folder / "run"
    once = ["--episodes", "1", "--max-episode-steps", "2", "--num-envs", "1"]
    lines: dict[str, list[object]] = {
        "inspect": [data],
        "validate": [data],
        "convert": [data, out / "made.hdf5", "--workers", "1"],
        "edit": [data, out / "edited.hdf5"],
        "split": [data, "--train", "0.5", "--overwrite"],
        "playback": [data, "--episodes", "1"],
        "train": ["--data", data, "--out", out / "run", *SMALL],
        "eval": [run, *once],
        "toy": ["--out", out / "toy.png", "--steps", "3"],
        "compare": [run, folder / "results.json"],
        "bench": ["smoke", "--out", out, "--episodes", "1", "--methods", "mse-bc", "--seeds", "0", "--jobs", "1"],
        "export": [run, "--format", "torchscript", "--out", out / "policy.pt"],
        "demo": ["--out", out, "--demos", "1", "--steps", "2", "--episodes", "1"],
        "data": ["path", "robomimic:lift/ph/low_dim"],
        "collect": ["FetchReach-v4", "--out", out / "d.hdf5", "--workers", "1", "--episodes", "1"],
    }
    return {command: [command, *map(str, words)] for command, words in lines.items()}


HEAVY = ("demo", "bench", "toy")
"""Commands that do minutes of work in a folder that they can write: only others are tried."""
UNWRITABLE = (
    *("~no-such-user/x", "/proc/none/x", "/sys/x", "/dev/null", "/dev/full", "n" * 300, "n/" * 3000),
    *("{folder}/demos.hdf5", "{folder}/demos.hdf5/inside", "{folder}/loop", "{folder}/pipe"),
)


def text_options(command: str) -> list[tuple[str, str]]:
    """(option, "PATH", "TEXT" or "CHOICE") of those that take words."""
    declared = importlib.import_module(f"dtql_robot.commands.{command}").Options
    found = {}
    for option in (o for group in option_groups(declared) for o in group.options if not (o.positional or o.switch)):
        kind = "CHOICE" if option.choices else next((k for k in ("PATH", "TEXT") if k in option.value), None)
        found.update({option.flag: kind} if kind else {})
    return sorted(found.items())


def cases(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """(what is wrong, the command line), all that there are."""
    for command, line in bases(folder).items():
        yield "twice the last word", [*line, line[-1]]
        yield "a misspelt option", [*line, "--no-such-optoin", "1"]
        yield "without the first argument", [command, *line[2:]]
        yield "without the last", line[:-1]
        yield "an option without a value", [*line, "--out"]
        if command not in HEAVY:  # which have a default for everything
            yield "nothing", [command]
        for option, kind in text_options(command):
            values = ("no-such-choice", "", "None") if kind == "CHOICE" else (*PLACES, *NAMES)
            if kind == "PATH":
                values = UNWRITABLE if command in HEAVY else PLACES
            elif command in HEAVY and kind == "TEXT":
                values = NAMES
            for value in values:
                yield f"{option}={value[:40]!r}", [*without(line, option), f"{option}={value}"]
        if len(line) > 1 and not line[1].startswith("-") and command not in HEAVY:
            for i in [i for i, word in enumerate(line[1:3], 1) if not word.startswith("-") and i <= 2]:
                for value in (*PLACES, *NAMES):
                    yield f"argument {i} is {value[:40]!r}", [*line[:i], value, *line[i + 1 :]]


def without(line: list[str], option: str) -> list[str]:
    """The line without an option and its value."""
    if option not in line:
        return line
    at = line.index(option)
    return line[:at] + line[at + 2 :]


def furnish(folder: Path) -> None:
    """Files, links and folders that the words name."""
    for make in (robomimic, pixels, recording, d4rl):
        make(folder)
    minari(folder)
    (folder / "text.txt").write_text("not data\n")
    (folder / "empty.hdf5").touch()
    (folder / "loop").symlink_to("loop")
    (folder / "broken").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    (folder / "x-v0/data").mkdir(parents=True)
    np.savez(folder / "some.npz", x=np.zeros(3))


def campaign(count: int, seed: int) -> list[Tally]:
    """`count` of the cases, drawn at random."""
    tally = Tally("misused command lines, paths and names: a sentence or a result, 60 s, 3 GiB")
    preload()
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder, sound = Path(name) / "place", Path(name) / "sound"
        for place in (folder, sound):
            place.mkdir()
            furnish(place)
            outcome = forked(lambda p=place: main(bases(p)["train"]), 60)  # type: ignore[misc]
            if outcome.code != 0:
                raise RuntimeError(outcome.output)
            (place / "out/run").rename(place / "run")
            forked(lambda p=place: main([*bases(p)["eval"], "--json", str(p / "results.json")]), 60)  # type: ignore[misc]
        os.chdir(folder)
        drawn = list(cases(folder))
        random.Random(f"{seed} words").shuffle(drawn)
        try:
            for what, line in drawn[:count]:
                words = [word.replace("{folder}", str(folder)) for word in line]
                outcome = forked(lambda words=words: main(words), SECONDS, MEMORY)  # type: ignore[misc]
                codes = (0, 1, 2) if what != "a misspelt option" else (2,)
                wrong = promised(outcome, codes, misspelt=True)
                if wrong is None and outcome.peak_bytes > MEMORY:
                    wrong = f"took {outcome.peak_bytes / GIB:.1f} GiB"
                tally.check(wrong is None, f"{line[0]}, {what}: {wrong}")
                if not (folder / "run/checkpoint.pt").exists() or not (folder / "demos.hdf5").is_file():
                    raise RuntimeError(f"{words} removed what it was given: {outcome.output[-500:]}")
                shutil.rmtree(folder / "out", ignore_errors=True)
        finally:
            os.chdir(before)
    return [tally]
