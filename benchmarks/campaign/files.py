"""Damaged demonstration files, through every command that reads one."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from damage import DAMAGES, MAKERS, damaged
from trial import GIB, Tally, forked, promised

from dtql_robot.cli import main

SECONDS = 30.0
WORDS = {
    "inspect": lambda data, out: ["inspect", data],
    "validate": lambda data, out: ["validate", data],
    "split": lambda data, out: ["split", data, "--train", "0.5", "--overwrite"],
    "convert": lambda data, out: ["convert", data, out / "out.hdf5"],
    "train": lambda data, out: ["train", "--data", data, "--out", out / "run", *SMALL],
}
SMALL = (
    *("--steps", "2", "--batch-size", "4", "--policy-hidden", "8", "--critic-hidden", "8", "--denoiser-width", "8"),
    *("--device", "cpu", "--threads", "1"),
)


UNFIT = {
    ("minari", "split"),
    ("d4rl", "split"),
    *((format, "split") for format in ("ogbench", "zarr", "lerobot")),
    ("recording", "validate"),
    ("recording", "train"),
    ("recording", "convert"),
}
"""Formats that a command is not for, or, as for drawing a recording anew, too slow for."""


def preload() -> None:
    """Import what the commands import, once for all forks; no thread may run at a fork."""
    import gymnasium_robotics  # noqa: F401
    import torch
    import torch._dynamo

    import dtql_robot.datasets
    import dtql_robot.envs.make
    import dtql_robot.training.loop  # noqa: F401

    with contextlib.suppress(ImportError):
        import robosuite  # noqa: F401
    torch.set_num_threads(1)


def cases(count: int) -> Iterator[tuple[str, str]]:
    """`count` pairs of format and kind of damage, all alike in number."""
    pairs = [(maker, kind) for maker in MAKERS for kind in DAMAGES if kind != "nothing"]
    for i in range(count):
        yield pairs[i % len(pairs)]


def campaign(count: int, seed: int) -> list[Tally]:
    """Damage `count` files; `inspect` sees each, one other command in turn too."""
    rng, others = random.Random(seed), [c for c in WORDS if c != "inspect"]
    tallies = {c: Tally(f"damaged files through `{c}`: a sentence or a result, 30 s, 2 GiB") for c in WORDS}
    refused = Tally(
        "what `inspect` refuses no command trains on or converts; `split` refuses it or names what it leaves out"
    )
    preload()
    with tempfile.TemporaryDirectory() as name:
        sources = {m: make(_folder(Path(name) / m)) for m, make in MAKERS.items()}
        for maker, source in sources.items():
            check_sound(maker, source, _folder(Path(name) / f"sound-{maker}"))
        for i, (maker, kind) in enumerate(cases(count)):
            work = _folder(Path(name) / "case")
            try:
                path, what = damaged(sources[maker], work, kind, rng)
            except (OSError, RuntimeError, ValueError, KeyError):
                path, what = damaged(sources[maker], work, "bytes", rng)
            codes, left_out = {}, False
            other = others[(i + i // 20) % len(others)]  # each command with each kind of damage
            if (maker, other) == ("recording", "convert"):
                other = "split"
            for command in ("inspect", other):
                words = [str(w) for w in WORDS[command](path, work)]
                outcome = forked(lambda words=words: main(words), SECONDS, 2 * GIB)  # type: ignore[misc]
                wrong = promised(outcome, (0, 2) if command != "validate" else (0, 1, 2))
                if wrong is None and outcome.peak_bytes > 2 * GIB:
                    wrong = f"took {outcome.peak_bytes / GIB:.1f} GiB"
                tallies[command].check(wrong is None, f"{maker}, {what}: {wrong}")
                codes[command] = outcome.code
                left_out = command == "split" and "left out: " in outcome.output
            if codes["inspect"] == 2 and other != "validate" and (maker, other) not in UNFIT and maker != "recording":
                held = codes[other] == 2 or left_out
                refused.check(held, f"{maker}, {what}: inspect refuses, {other} gives {codes[other]}")
            shutil.rmtree(work)
    return [*tallies.values(), refused]


def check_sound(maker: str, source: Path, work: Path) -> None:
    """RuntimeError unless the commands work on the undamaged file; otherwise each refusal below would mean nothing."""
    path, _ = damaged(source, work, "nothing", random.Random(0))
    for command, words in WORDS.items():
        if (maker, command) in UNFIT:
            continue
        outcome = forked(lambda words=words: main([str(w) for w in words(path, work)]), SECONDS)  # type: ignore[misc]
        if outcome.code != 0 and command != "validate":  # which finds much in files as small as these
            raise RuntimeError(f"{command} fails on a sound {maker} file: {outcome.output[-500:]}")


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
