"""Everything that needs a GPU, in ten minutes: `python benchmarks/on_gpu.py [--out FOLDER] [--data DOOR.hdf5]`.

Runs, one after the other and each with its own time limit: the tests that are skipped elsewhere (a CUDA graph equals
eager updates, and so on), the speed of an update at the paper's settings and at the default ones, what it cannot be
faster than, 8 and 64 seeds at once, training from pixels, and a whole default run of the Adroit door.  Every part
leaves its own JSON or log in --out, and summary.json is written anew after each, so that a run that is cut keeps what
it has.  Without a GPU the parts that need one say so, and the others run on the CPU at a small size.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
DATA = "door-v0_demos_clipped.hdf5"


@dataclass(frozen=True)
class Part:
    """One command.  words: after `python`.  seconds: its limit.  needs_gpu: skipped without one.  result: its JSON."""

    name: str
    words: tuple[str, ...]
    seconds: int
    needs_gpu: bool = False
    result: str | None = None


def parts(out: Path, data: Path | None, device: str) -> list[Part]:
    """What is measured, the most wanted first."""
    small = device == "cpu"
    rounds = ("--rounds", "2", "--updates", "2") if small else ("--rounds", "10", "--updates", "100")
    on = ("--device", device)

    def script(name: str, seconds: int, result: str, *options: str, needs_gpu: bool = False) -> Part:
        words = (str(HERE / f"{name}.py"), *on, *options, "--json", str(out / result))
        return Part(result.removesuffix(".json"), words, seconds, needs_gpu, result)

    eager = ("--no-compile",)
    found = [
        Part("tests", ("-m", "pytest", "-q", str(HERE.parent / "tests/training"), "-k", "graph"), 120, True),
        script("update_speed", 120, "update_paper.json", *rounds, *(eager if small else ())),
        script("update_speed", 60, "update_default.json", "--recipe", "default", *eager, *rounds),
        script("seeds", 60, "seeds_8.json", *rounds[:2], "--updates", "2" if small else "20"),
        script("seeds", 60, "seeds_64.json", "--seeds", "64", "--rounds", "3", "--updates", "5", needs_gpu=True),
        script("update_floor", 60, "floor.json", *(("--rounds", "1") if small else ())),
        script("pixel_training", 90, "pixels.json", "--rounds", "2" if small else "10", needs_gpu=True),
    ]
    if data is not None:
        run, env = str(out / "door"), "AdroitHandDoor-v1"
        program = ("-m", "dtql_robot")
        steps = ("--steps", "20") if small else ()
        episodes = ("--episodes", "2" if small else "100")
        found += [
            Part("train_door", (*program, "train", "--data", str(data), "--env", env, *on, *steps, "--out", run), 150),
            Part("eval_door", (*program, "eval", run, *episodes), 150, False, "door/results.json"),
        ]
    return found


def measure(part: Part, out: Path, gpu: bool) -> dict[str, Any]:
    """Run one part; its time, its end, and the JSON that it left."""
    if part.needs_gpu and not gpu:
        return {"skipped": "needs an NVIDIA GPU"}
    began = time.perf_counter()
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with open(out / f"{part.name}.log", "w") as log:
        words = [sys.executable, *part.words]
        try:
            env = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
            code: Any = subprocess.run(words, stdout=log, stderr=log, timeout=part.seconds, env=env).returncode
        except subprocess.TimeoutExpired:
            code = f"stopped after {part.seconds} s"
    found: dict[str, Any] = {"seconds": round(time.perf_counter() - began, 1), "ended": code}
    if part.result and (out / part.result).exists():
        found["result"] = json.loads((out / part.result).read_text())
        found["result"].pop("per_episode", None)
    else:
        found["last_lines"] = (out / f"{part.name}.log").read_text().splitlines()[-12:]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/on_gpu"))
    parser.add_argument("--data", type=Path, help=f"the human demonstrations of the door (D4RL's {DATA})")
    parser.add_argument("--only", nargs="+", help="names of parts")
    options = parser.parse_args()
    gpu = torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    options.out.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name() if gpu else "none: CPU at a small size"
    summary: dict[str, Any] = {"gpu": name, "torch": torch.__version__, "parts": {}}
    for part in parts(options.out, options.data, device):
        if options.only and part.name not in options.only:
            continue
        summary["parts"][part.name] = found = measure(part, options.out, gpu)
        (options.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
        print(
            f"{part.name:<16}{found.get('skipped') or found['ended']!s:<24}{found.get('seconds', 0):>7} s", flush=True
        )


if __name__ == "__main__":
    main()
