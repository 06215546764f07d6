"""A hostile or poor place to work in: full disks, simulators that fail, strangers' files and folders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
from damage import robomimic
from files import preload
from kills import REACH, TRAIN
from trial import Outcome, Tally, forked, promised, run, survivors

SIMULATOR = '''
import os, sys, time
import gymnasium
import numpy as np
from gymnasium import spaces

class Frail(gymnasium.Env):
    """An environment of FetchReach's sizes that fails as $FRAIL says, in one episode of five."""
    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}
    def __init__(self, render_mode=None):
        self.render_mode, self.mode = render_mode, os.environ.get("FRAIL", "")
        sizes = (("observation", 10), ("achieved_goal", 3), ("desired_goal", 3))
        self.observation_space = spaces.Dict({k: spaces.Box(-np.inf, np.inf, (n,), np.float64) for k, n in sizes})
        self.action_space = spaces.Box(-1, 1, (4,), np.float32)
    def once(self):
        try:
            os.close(os.open(os.environ["FRAIL_ONCE"], os.O_CREAT | os.O_EXCL))
            return True
        except FileExistsError:
            return False
    def seen(self):
        return {k: np.zeros(b.shape) + 0.01 * self.n for k, b in self.observation_space.items()}
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n, self.bad = 0, self.np_random.integers(5) == 0
        if self.bad and self.mode == "raise in reset":
            raise RuntimeError("boom in reset")
        return self.seen(), {}
    def step(self, action):
        self.n += 1
        obs, reward, info = self.seen(), 0.0, {"success": self.n > 8}
        if self.bad and self.n == 5:
            if self.mode == "die" and self.once(): os._exit(3)
            if self.mode == "hang" and self.once(): time.sleep(1e6)
            if self.mode == "stop" and self.once(): os.kill(os.getpid(), 19)
            if self.mode == "raise": raise RuntimeError("boom in step")
            if self.mode == "exit": sys.exit(5)
            if self.mode == "nan observation": obs = {k: v * np.nan for k, v in obs.items()}
            if self.mode == "nan reward": reward = float("nan")
            if self.mode == "nan success": info = {"success": float("nan")}
            if self.mode == "shape": obs = {k: np.zeros(1) for k in obs}
            if self.mode == "missing": obs = {}
        return obs, reward, False, self.n >= 10, info
    def render(self):
        return np.zeros((3, 5, 3), np.uint8) if self.mode == "frame" else np.full((320, 320, 3), 90, np.uint8)

gymnasium.register("Frail-v0", entry_point=Frail, max_episode_steps=10)
'''
REPAIRED = ("die", "hang", "stop")
"""What happens once: the results must be those of an undisturbed evaluation."""
FAILING = ("raise in reset", "raise", "exit", "nan observation", "nan reward", "nan success", "shape", "missing")


def simulators(folder: Path) -> Tally:
    """Simulators that die, hang, stop, raise or give nonsense."""
    tally = Tally("simulators that die, hang, stop, raise or give nonsense: repaired, or one sentence; no process left")
    (folder / "frail.py").write_text(SIMULATOR)
    trained = folder / "run"
    run(["train", "--data", robomimic(folder), "--out", trained, *TRAIN[:1], "20", *TRAIN[2:]], cwd=folder)
    expected = None
    for mode in ("", *REPAIRED, *FAILING):
        for where in ("processes", "in-process"):
            if where == "in-process" and mode in (*REPAIRED, "exit"):
                continue  # there the simulator is the command itself
            once = folder / f"once-{mode}-{where}"
            env = {"FRAIL": mode, "FRAIL_ONCE": str(once), "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"}
            words = ["eval", trained, "--env=frail:Frail-v0", "--episodes=10", "--workers=2", f"--where={where}"]
            out = folder / "results-of-one.json"
            out.unlink(missing_ok=True)
            outcome = run([*words, "--worker-timeout", "5", "--results", out], cwd=folder, env=env, seconds=120)
            wrong = promised(outcome)
            found = _rates(out)
            expected = expected or found
            if wrong is None and mode in ("", *REPAIRED) and (outcome.code != 0 or found != expected):
                wrong = f"exit code {outcome.code}, {outcome.output.strip()[-200:]}"
            left = survivors(str(once))
            wrong = wrong or (f"left behind: {left}" if left else None)
            tally.check(wrong is None, f"{mode or 'nothing'} ({where}): {wrong}")
    return tally


def _rates(results: Path) -> object:
    return json.loads(results.read_text())["per_episode"] if results.exists() else None


@contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[Path | None]:
    """A file system that holds so much; None where this process may not mount one."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder)], capture_output=True
    )
    try:
        yield folder if mounted.returncode == 0 else None
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def full_disks(folder: Path) -> Tally:
    """Every command that writes, on disks from nearly full to nearly large enough."""
    tally = Tally("disks that fill: one sentence, exit code 1 or 2, no half-written file under its name")
    data, trained = robomimic(folder), folder / "run"
    run(["train", "--data", data, "--out", trained, *TRAIN[:1], "20", *TRAIN[2:]], cwd=folder)
    commands: dict[str, Callable[[Path], list[object]]] = {
        "train": lambda out: ["train", "--data", data, "--out", out / "run", *TRAIN],
        "convert": lambda out: ["convert", data, out / "reach-v0"],
        "collect": lambda out: ["collect", REACH, "--episodes", "4", "--out", out / "demos.hdf5"],
        "split": lambda out: ["split", shutil.copy(data, out), "--train", "0.5", "--overwrite"],
        "export": lambda out: ["export", trained, "--format", "torchscript", "--out", out / "policy.pt"],
        "eval": lambda out: ["eval", trained, "--episodes=2", "--max-episode-steps=5", "--results", out / "r.json"],
    }
    for name, words in commands.items():
        for kibibytes in (64, 96, 108) if name == "split" else (8, 64, 160):  # split's holds the file already
            with small_disk(folder / f"disk-{name}-{kibibytes}", kibibytes) as disk:
                if disk is None:
                    tally.note = "not tried: mounting a file system takes root"
                    return tally
                outcome = run([str(w) for w in words(disk)], cwd=folder, seconds=90)
                wrong = promised(outcome)
                for file in disk.rglob("*.hdf5"):
                    wrong = wrong or (None if h5py.is_hdf5(file) else f"{file.name} is half-written")
                tally.check(wrong is None, f"{name} with {kibibytes} KiB: {wrong}")
    return tally


HOSTILE = 'open({marker!r}, "a").write(__name__ + "\\n")\nraise SystemExit("executed")\n'


def strangers(folder: Path) -> Tally:
    """Modules in the working folder, and files that name modules: nothing of them is executed."""
    tally = Tally("a stranger's folder or file executes nothing")
    marker, place = folder / "executed", folder / "place"
    place.mkdir()
    trained = folder / "run"
    run(["train", "--data", robomimic(folder), "--out", trained, *TRAIN[:1], "20", *TRAIN[2:]], cwd=folder)
    text = HOSTILE.format(marker=str(marker))
    for name in ("numpy", "torch", "json", "gymnasium", "h5py", "sitecustomize", "stranger", "mujoco"):
        (place / f"{name}.py").write_text(text)
    for name in ("dtql_robot", "minari", "gymnasium_robotics"):
        (place / name).mkdir()
        (place / name / "__init__.py").write_text(text)
    data = Path(shutil.copy(robomimic(folder), place / "data.hdf5"))
    named = Path(shutil.copy(data, place / "named.hdf5"))
    record = {"env_name": "stranger:Env-v0", "type": 2, "env_kwargs": {}}
    with h5py.File(named, "r+") as file:
        file["data"].attrs["env_args"] = json.dumps(record)
    tampered = shutil.copytree(trained, place / "tampered")
    config = json.loads((tampered / "config.json").read_text())
    (tampered / "config.json").write_text(json.dumps({**config, "env": "stranger:Env-v0", "env_args": record}))
    small = ["--steps", "2", *TRAIN[2:]]
    commands = {
        "collect": ["collect", REACH, "--episodes", "2", "--out", "made.hdf5"],
        "inspect": ["inspect", named],
        "validate": ["validate", named],
        "playback": ["playback", named],
        "train": ["train", "--data", named, "--out", "made", *small],
        "train on data beside hostile modules": ["train", "--data", data, "--out", "made2", *small],
        "eval": ["eval", trained, "--episodes=2", "--workers=2", "--where=processes", "--max-episode-steps=5"],
        "eval of a tampered run": ["eval", tampered, "--episodes", "2"],
        "export of a tampered run": ["export", tampered, "--format", "torchscript", "--out", "policy.pt"],
    }
    for name, words in commands.items():
        outcome = run([str(w) for w in words], cwd=place)
        wrong = promised(outcome)
        if marker.exists():
            wrong = f"executed: {marker.read_text().split()}"
            marker.unlink()
        if wrong is None and "pip install stranger" in outcome.output:
            wrong = "suggests to install what a stranger named"
        tally.check(wrong is None, f"{name}: {wrong}")
    return tally


def in_fork(words: list[object]) -> Outcome:
    """A command in a fork, for those that start no process of their own."""
    from dtql_robot.cli import main

    preload()
    return forked(lambda: main([str(w) for w in words]), 60)


def links(folder: Path) -> Tally:
    """Outputs whose names, or temporary names, are links that a stranger laid."""
    tally = Tally("links laid in a folder: no file outside what was asked for is written")
    data, victim = robomimic(folder), folder / "victim"
    victim.write_text("mine")
    for i, suffix in enumerate((".tmp", ".part", "~", ".new", "")):
        place = folder / f"links{i}"
        place.mkdir()
        own = shutil.copy(data, place / "own.hdf5")
        for name in ("own.hdf5", "config.json", "checkpoint.pt", "metrics.csv", "out.hdf5"):
            (place / (f"{name}{suffix}" if suffix else f".{name}.tmp")).symlink_to(victim)
        outcome = in_fork(["split", own, "--train", "0.5", "--overwrite"])
        wrong = promised(outcome) or (None if victim.read_text() == "mine" else "the victim was written over")
        tally.check(wrong is None, f"split beside {suffix or '.name.tmp'}: {wrong}")
        outcome = in_fork(["train", "--data", data, "--out", place, "--steps", "2", *TRAIN[2:]])
        wrong = promised(outcome) or (None if victim.read_text() == "mine" else "the victim was written over")
        tally.check(wrong is None, f"train into links with {suffix or '.name.tmp'}: {wrong}")
        victim.write_text("mine")
    return tally


STREAMS = {
    "stdout closed": 'exec "$@" >&-',
    "stderr closed": 'exec "$@" 2>&-',
    "both closed": 'exec "$@" >&- 2>&-',
    "stdin closed": 'exec "$@" <&-',
    "stdout full": 'exec "$@" >/dev/full',
    "reader gone": '"$@" | true',
    "no HOME": 'unset HOME; exec "$@"',
    "HOME that is none": 'HOME=/proc/none exec "$@"',
    "plain ASCII": 'LC_ALL=C PYTHONIOENCODING=ascii exec "$@"',
}


def streams(folder: Path) -> Tally:
    """Commands whose streams are closed, full or gone, and that have no home folder."""
    tally = Tally("closed or full streams, no home folder: no traceback, no signal, the output is made")
    data = robomimic(folder)
    for i, (what, script) in enumerate(STREAMS.items()):
        out = folder / f"out{i}"
        out.mkdir()
        own = Path(shutil.copy(data, out))
        commands: dict[str, tuple[list[object], Path]] = {
            "split": (["split", own, "--train", "0.5", "--overwrite"], own),
            "train": (
                ["train", "--data", data, "--out", out / "run", "--steps", "2", *TRAIN[2:]],
                out / "run/checkpoint.pt",
            ),
        }
        for name, (words, made) in commands.items():
            outcome = run(words, cwd=folder, shell=script)
            wrong = promised(outcome)
            if wrong is None and not made.exists():
                wrong = f"{made.name} is missing: {outcome.output.strip()[-200:]}"
            tally.check(wrong is None, f"{name}, {what}: {wrong}")
    return tally


PARTS: dict[str, Callable[[Path], Tally]] = {
    "simulators": simulators,
    "disks": full_disks,
    "strangers": strangers,
    "links": links,
    "streams": streams,
}


def campaign(names: Sequence[str] = tuple(PARTS)) -> list[Tally]:
    """Each of these parts once; nothing in them is drawn at random."""
    tallies = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            tallies.append(PARTS[name](Path(folder)))
    return tallies
