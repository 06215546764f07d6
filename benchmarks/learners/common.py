"""What the learners of time_to_success.py and td3_bc.py have in common: each is a program in an environment of its own.

    PYTHON of_d3rlpy.py train --kind bc --data demos.npz --file demos.hdf5 --keys object,robot0_eef_pos --seconds 20
                              --seed 0 --threads 2 --out DIR
    PYTHON of_d3rlpy.py act --out DIR --threads 2 --answers 5

`train` leaves its policy and trained.json in DIR.  `act` answers through the open file --answers what standard input
asks: "o" and an observation, the entries of --keys in their order as float32, is answered by an action; "r" begins an
episode.  Needs only NumPy and torch, whatever environment it runs in.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

START = time.perf_counter()


class Actor(NamedTuple):
    """A policy that was trained.  act: observation (O,) to action (A,).  begin: told of each episode's start."""

    obs_dim: int
    action_dim: int
    act: Callable[[np.ndarray], np.ndarray]
    begin: Callable[[], Any] = lambda: None


class Trained(NamedTuple):
    """seconds: what training took, from its first update to its last.  updates: how many."""

    seconds: float
    updates: int


class Flat(NamedTuple):
    """All steps of all demonstrations, one after the other.

    obs (N, O), action (N, A) as recorded.  reward (N,).  done (N,): at the last step of an episode after which nothing
    more is earned.  last (N,): at the last step of every episode.
    """

    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    done: np.ndarray
    last: np.ndarray


def read(path: Path) -> Flat:
    """What `write` wrote."""
    with np.load(path) as found:
        return Flat(*(found[name] for name in Flat._fields))


def until(seconds: float, update: Callable[[], Any]) -> Trained:
    """Update until the time is over, as a recipe does whose learning rate does not depend on it."""
    began, updates = time.perf_counter(), 0
    while (taken := time.perf_counter() - began) < seconds:
        update()
        updates += 1
    return Trained(taken, updates)


def rate(update: Callable[[], Any], seconds: float = 2.0) -> float:
    """Updates a second, for a recipe whose learning rate falls over a number of updates that must be known before."""
    update()
    trained = until(seconds, update)
    return trained.updates / trained.seconds


def main(train: Callable[[argparse.Namespace], Trained], load: Callable[[argparse.Namespace], Actor]) -> None:
    """The program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("do", choices=["train", "act"])
    for name, kind in {"kind": str, "data": Path, "file": Path, "keys": str, "seconds": float, "seed": int}.items():
        parser.add_argument(f"--{name}", type=kind)
    parser.add_argument("--updates", type=int, help="instead of --seconds")
    parser.add_argument("--stages", type=int, default=1, help="of --updates: policies to keep, at equal distances")
    parser.add_argument("--stage", type=int, help="of act: the policy after so many updates, not the last")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--answers", type=int)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.do == "act":
        with os.fdopen(options.answers, "wb", buffering=0) as answers:
            _serve(load(options), answers)
        return
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    trained = train(options)
    around = time.perf_counter() - START - trained.seconds
    (options.out / "trained.json").write_text(json.dumps({**trained._asdict(), "around_seconds": around}))


def _serve(actor: Actor, answers: Any) -> None:
    answers.write(struct.pack("<II", actor.obs_dim, actor.action_dim))
    while asked := sys.stdin.buffer.read(1):
        if asked == b"r":
            actor.begin()
        else:
            obs = np.frombuffer(sys.stdin.buffer.read(4 * actor.obs_dim), np.float32)
            with torch.no_grad():
                answers.write(np.ascontiguousarray(actor.act(obs), np.float32).tobytes())
