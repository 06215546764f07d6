"""Commands stopped at random moments, and started again: nothing is lost, nothing half-written is taken for whole."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from damage import robomimic
from files import preload
from trial import Outcome, Tally, finish, forked, promised, run, start

from dtql_robot.cli import main
from dtql_robot.datasets import load

TRAIN = (
    *(
        "--steps",
        "150",
        "--checkpoint-every",
        "30",
        "--log-every",
        "10",
        "--batch-size",
        "16",
        "--denoiser-width",
        "16",
    ),
    *("--policy-hidden", "16", "--critic-hidden", "16", "--device", "cpu", "--threads", "1"),
)
REACH = "FetchReach-v4"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def stopped(words: Sequence[object], cwd: Path, after: float, number: signal.Signals, quick: bool = False) -> Outcome:
    """The command, told to stop `after` seconds; None as its exit code if it does not within half a minute.

    quick: in a fork of this process, so that the moment falls into the work, not into the imports.
    """
    if quick:
        return forked(lambda: main([str(w) for w in words]), after + 30, stop=(after, number))
    process = start(words, cwd=cwd)
    time.sleep(after)
    if process.poll() is None:
        process.send_signal(number)
    return finish(process, 30)


def weights(run_folder: Path) -> str:
    """A digest of every tensor and number in a checkpoint."""
    digest = hashlib.sha256()

    def add(value: object) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(value.cpu().contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                digest.update(str(key).encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            for entry in value:
                add(entry)
        else:
            digest.update(repr(value).encode())

    add(torch.load(run_folder / "checkpoint.pt", weights_only=True))
    return digest.hexdigest()


def episode_sums(path: Path) -> list[tuple[str, str]]:
    """A digest of the actions of each episode in a file or Minari folder."""
    return [(e.name, hashlib.sha256(e.actions.tobytes()).hexdigest()) for e in load(path).episodes]


def whole(words: Sequence[object], cwd: Path, quick: bool = False) -> Outcome:
    """The command, left alone."""
    return forked(lambda: main([str(w) for w in words]), 120) if quick else run(words, cwd=cwd)


def duration(words: Sequence[object], cwd: Path, quick: bool = False) -> float:
    """Seconds of the whole command, which must succeed."""
    outcome = whole(words, cwd, quick)
    if outcome.code != 0:
        raise RuntimeError(f"{' '.join(map(str, words))} fails without being disturbed: {outcome.output[-500:]}")
    return outcome.seconds


def training(count: int, rng: random.Random, folder: Path) -> Tally:
    """Runs that are stopped, once or twice, and resumed: equal to the undisturbed run to the last bit."""
    tally = Tally("`train` stopped at a random moment and resumed equals the undisturbed run, bit for bit")
    words = ["train", "--data", robomimic(folder), *TRAIN]
    lasts = {quick: duration([*words, "--out", folder / f"whole{quick:d}"], folder, quick) for quick in (False, True)}
    expected = weights(folder / "whole0")
    tally.check(weights(folder / "whole1") == expected, "two undisturbed runs differ")
    for i in range(count):
        out, quick, what = folder / f"run{i}", i % 5 > 0, []
        for _ in range(rng.choice((1, 1, 2))):
            after, number = rng.uniform(0.02, lasts[quick] * 1.02), rng.choice(SIGNALS)
            outcome = stopped([*words, "--out", out, "--resume"], folder, after, number, quick)
            what.append(f"{number.name} after {after:.2f} of {lasts[quick]:.1f} s")
            wrong = promised(outcome, (0, 1, -signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM))
            if wrong:
                tally.check(False, f"{what}: {wrong}")
                break
        else:
            wrong = promised(whole([*words, "--out", out, "--resume"], folder, quick), (0,)) or (
                None if weights(out) == expected else "other weights"
            )
            tally.check(wrong is None, f"{what}: {wrong}")
    return tally


def outputs(count: int, rng: random.Random, folder: Path) -> Tally:
    """collect, convert and split: after a kill the output is whole or not there, and a second start makes it."""
    tally = Tally("`collect`, `convert`, `split` killed: the output is whole or not there; a second start makes it")
    data = robomimic(folder)
    commands = {
        "collect": lambda out: ["collect", REACH, "--episodes", "6", "--out", out / "demos.hdf5"],
        "convert": lambda out: ["convert", data, out / "reach-v0"],
        "split": lambda out: ["split", shutil.copy(data, out), "--train", "0.5", "--overwrite"],
    }
    made = {"collect": "demos.hdf5", "convert": "reach-v0", "split": data.name}
    for name in commands:
        (folder / f"whole-{name}").mkdir()
    lasts = {n: duration(words(folder / f"whole-{n}"), folder, n != "collect") for n, words in commands.items()}
    for i in range(count):
        name = list(commands)[i % len(commands)]
        out = folder / f"{name}{i}"
        out.mkdir()
        quick = name != "collect"  # it starts processes
        after, number = rng.uniform(0.01, lasts[name]), rng.choice(SIGNALS)
        outcome = stopped(commands[name](out), folder, after, number, quick)
        wrong = promised(outcome, (0, 1, -signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM))
        target = out / made[name]
        if wrong is None and target.exists():
            wrong = promised(whole(["inspect", target], folder, True), (0,))
        if wrong is None and not target.exists():
            wrong = promised(whole(commands[name](out), folder, quick), (0,))
        if wrong is None and name == "collect":
            wrong = promised(run([*commands[name](out), "--resume"], cwd=folder), (0,))
        if wrong is None and episode_sums(target) != episode_sums(folder / f"whole-{name}" / made[name]):
            wrong = "other episodes than without the kill"
        tally.check(wrong is None, f"{name}, {number.name} after {after:.2f} of {lasts[name]:.1f} s: {wrong}")
    return tally


def evaluations(count: int, rng: random.Random, folder: Path) -> Tally:
    """`eval` killed: the results are those of before or whole new ones; a second start gives the same episodes."""
    tally = Tally("`eval` killed: results.json is whole or as before; a second start gives the same episodes")
    data, trained = robomimic(folder), folder / "run"
    duration(["train", "--data", data, "--out", trained, *TRAIN[:1], "20", *TRAIN[2:]], folder)
    words = ["eval", trained, "--episodes", "4", "--num-envs", "2", "--max-episode-steps", "10"]
    seconds = duration(words, folder)
    expected = episodes(trained)
    for _ in range(count):
        after, number = rng.uniform(0.2, seconds), rng.choice(SIGNALS)
        outcome = stopped(words, folder, after, number)
        wrong = promised(outcome, (0, 1, -signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM))
        if wrong is None and episodes(trained) != expected:
            wrong = "results.json is torn"
        tally.check(wrong is None, f"{number.name} after {after:.2f} of {seconds:.1f} s: {wrong}")
    wrong = promised(run(words, cwd=folder), (0,))
    tally.check(wrong is None and episodes(trained) == expected, f"the start after the kills: {wrong}")
    return tally


def episodes(trained: Path) -> object:
    """What results.json says of each episode."""
    return json.loads((trained / "results.json").read_text())["per_episode"]


def long_jobs(count: int, rng: random.Random, folder: Path) -> Tally:
    """bench and demo killed: they go on where they stopped, and leave no process behind."""
    tally = Tally("`bench`, `demo` killed: called again, they go on to the end")
    small = [f"--train-args={a}" for a in ("--steps=20", "--batch-size=16", "--denoiser-width=16")]
    commands = {
        "bench": ["bench", "smoke", "--methods", "mse-bc", "--seeds", "0", "--episodes", "2", "--jobs", "1", *small],
        "demo": ["demo", "--demos", "4", "--steps", "20", "--episodes", "2"],
    }
    for i in range(count):
        name = list(commands)[i % len(commands)]
        words = [*commands[name], "--out", folder / f"{name}{i}"]
        after, number = rng.uniform(0.5, 20), rng.choice(SIGNALS)
        outcome = stopped(words, folder, after, number)
        wrong = promised(outcome, (0, 1, -signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM))
        if wrong is None:
            wrong = promised(run(words, cwd=folder, seconds=240), (0,))
        tally.check(wrong is None, f"{name}, {number.name} after {after:.2f} s: {wrong}")
    return tally


PARTS: dict[str, tuple[Callable[[int, random.Random, Path], Tally], float]] = {
    "train": (training, 0.5),
    "outputs": (outputs, 0.3),
    "eval": (evaluations, 0.14),
    "jobs": (long_jobs, 0.06),
}
"""Part -> (how it is tried, its share of the kills)."""


def campaign(count: int, seed: int, names: Sequence[str] = tuple(PARTS)) -> list[Tally]:
    """`count` kills in all; of fewer parts fewer."""
    preload()
    tallies = []
    for name, (part, share) in ((name, PARTS[name]) for name in names):
        with tempfile.TemporaryDirectory() as folder:
            tallies.append(part(max(1, round(count * share)), random.Random(f"{seed} {name}"), Path(folder)))
    return tallies
