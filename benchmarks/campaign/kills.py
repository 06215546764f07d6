"""Commands stopped at random moments, and started again: nothing is lost, nothing half-written is taken for whole."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from damage import robomimic
from trial import Outcome, Tally, finish, promised, run, start

TRAIN = (
    *(
        "--steps",
        "300",
        "--checkpoint-every",
        "50",
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


def stopped(words: Sequence[str], cwd: Path, after: float, number: signal.Signals) -> Outcome:
    """The command, told to stop `after` seconds; None as its exit code if it does not within half a minute."""
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


def content(path: Path) -> str:
    """A digest of a file's or folder's bytes."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()


def duration(words: Sequence[str], cwd: Path) -> float:
    """Seconds of the whole command, which must succeed."""
    outcome = run(words, cwd=cwd)
    if outcome.code != 0:
        raise RuntimeError(f"{' '.join(map(str, words))} fails without being disturbed: {outcome.output[-500:]}")
    return outcome.seconds


def training(count: int, rng: random.Random, folder: Path, tick: Callable[[], object]) -> Tally:
    """Runs that are stopped, once or twice, and resumed: equal to the undisturbed run to the last bit."""
    tally = Tally("`train` stopped at a random moment and resumed equals the undisturbed run, bit for bit")
    data = robomimic(folder)
    whole = folder / "whole"
    words = ["train", "--data", data, *TRAIN]
    seconds = duration([*words, "--out", whole], folder)
    expected = weights(whole)
    for i in range(count):
        out, what = folder / f"run{i}", []
        for _ in range(rng.choice((1, 1, 2))):
            after, number = rng.uniform(0.2, seconds * 1.02), rng.choice(SIGNALS)
            outcome = stopped([*words, "--out", out, "--resume"], folder, after, number)
            what.append(f"{number.name} after {after:.2f} of {seconds:.1f} s")
            wrong = promised(outcome, (0, 1, -signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM))
            if wrong:
                tally.check(False, f"{what}: {wrong}")
                break
        else:
            outcome = run([*words, "--out", out, "--resume"], cwd=folder)
            wrong = promised(outcome, (0,)) or (None if weights(out) == expected else "other weights")
            tally.check(wrong is None, f"{what}: {wrong}")
        tick()
    return tally


def outputs(count: int, rng: random.Random, folder: Path, tick: Callable[[], object]) -> Tally:
    """collect, convert and split: after a kill the output is whole or not there, and a second start makes it."""
    tally = Tally("`collect`, `convert`, `split` killed: the output is whole or not there; a second start makes it")
    data = robomimic(folder)
    commands = {
        "collect": lambda out: ["collect", REACH, "--episodes", "6", "--out", out / "demos.hdf5"],
        "convert": lambda out: ["convert", data, out / "reach-v0", "--to", "minari"],
        "split": lambda out: ["split", data, "--out", out / "split.hdf5"],
    }
    made = {"collect": "demos.hdf5", "convert": "reach-v0", "split": "split.hdf5"}
    for name in commands:
        (folder / f"whole-{name}").mkdir()
    seconds = {name: duration(words(folder / f"whole-{name}"), folder) for name, words in commands.items()}
    for i in range(count):
        name = list(commands)[i % len(commands)]
        out = folder / f"{name}{i}"
        out.mkdir()
        after, number = rng.uniform(0.1, seconds[name]), rng.choice(SIGNALS)
        outcome = stopped(commands[name](out), folder, after, number)
        wrong = promised(outcome, (0, 1, -signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM))
        target = out / made[name]
        if wrong is None and target.exists():
            wrong = promised(run(["inspect", target], cwd=folder), (0,))
        if wrong is None and not target.exists():
            wrong = promised(run(commands[name](out), cwd=folder), (0,))
        if wrong is None and name != "convert" and content(target) != content(folder / f"whole-{name}" / made[name]):
            again = run(["inspect", target, "--json"], cwd=folder)
            wrong = promised(again, (0,))
        tally.check(wrong is None, f"{name}, {number.name} after {after:.2f} of {seconds[name]:.1f} s: {wrong}")
        tick()
    return tally


def evaluations(count: int, rng: random.Random, folder: Path, tick: Callable[[], object]) -> Tally:
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
        tick()
    wrong = promised(run(words, cwd=folder), (0,))
    tally.check(wrong is None and episodes(trained) == expected, f"the start after the kills: {wrong}")
    return tally


def episodes(trained: Path) -> object:
    """What results.json says of each episode."""
    return json.loads((trained / "results.json").read_text())["per_episode"]


def long_jobs(count: int, rng: random.Random, folder: Path, tick: Callable[[], object]) -> Tally:
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
        tick()
    return tally


PARTS: dict[str, tuple[Callable[[int, random.Random, Path, Callable[[], object]], Tally], float]] = {
    "train": (training, 0.5),
    "outputs": (outputs, 0.3),
    "eval": (evaluations, 0.14),
    "jobs": (long_jobs, 0.06),
}
"""Part -> (how it is tried, its share of the kills)."""


def campaign(count: int, seed: int, tick: Callable[[], object] = lambda: None) -> list[Tally]:
    """`count` kills in all."""
    tallies = []
    for name, (part, share) in PARTS.items():
        with tempfile.TemporaryDirectory() as folder:
            tallies.append(part(max(1, round(count * share)), random.Random(f"{seed} {name}"), Path(folder), tick))
    return tallies
