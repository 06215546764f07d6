"""Training from more images than memory should hold: `python benchmarks/big_data.py [--images 20000] [--updates 20]`.

Writes random images of 84 x 84 pixels from two cameras as `collect` does, then trains on them twice, each time in a
process of its own: the first load packs the file, the second maps what was packed.  Then it draws batches as training
does.  States that exceed --memory-gb are kept in a file, as on a machine with twice as much that is free; by default a
tenth of what the images take.  Printed: seconds, updates and images a second, and the peaks of the process's own memory
(RssAnon) and of the files it maps (RssFile), which the system takes back when it needs memory, every 20 ms from /proc.

A million images take 21 GB, of which --folder must hold two copies and the compressed file: 45 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from pixel_loading import rate, sources, write_file  # noqa: E402
from update_speed import machine  # noqa: E402

SIZE, CAMERAS, BATCH = 84, 2, 64


def write(path: Path, images: int) -> None:
    write_file(path, images // CAMERAS, SIZE, CAMERAS)


def train(path: Path, updates: int) -> dict[str, float]:
    """Seconds of the updates, as metrics.csv has them."""
    import dtql_robot
    from dtql_robot.run_folder import METRICS, read_metrics

    keys = ("state", *(f"camera{c}_image" for c in range(CAMERAS)))
    half = updates // 2
    with tempfile.TemporaryDirectory(dir=path.parent) as out:
        settings: dict[str, Any] = {"steps": updates, "log_every": half, "batch_size": BATCH, "obs_keys": keys}
        demos = dtql_robot.load(path, obs_keys=keys)  # of no real environment, to which `train` would hold the file
        run = dtql_robot.train(demos, Path(out) / "run", progress=False, **settings)
        seconds = [row["seconds"] for row in read_metrics(run / METRICS)]
    return {"updates_per_s": half / (seconds[-1] - seconds[0])}


def draw(path: Path, seconds: float) -> dict[str, float]:
    """Images a second, of the states and of those after the chunk, as an update takes them."""
    import torch

    memory = os.environ["DTQL_ROBOT_MEMORY_GB"]
    batches = sources(path, BATCH, 0, torch.device("cpu"))["buffer on disk"]()
    os.environ["DTQL_ROBOT_MEMORY_GB"] = memory
    return {"images_per_s": rate(batches, seconds) * 2 * CAMERAS * BATCH}


def watched(words: list[str], env: dict[str, str]) -> dict[str, Any]:
    """Run a part of this script in a process of its own; its seconds, its peaks in MB, and what it found."""
    peaks = {"own_mb": 0.0, "files_mb": 0.0}
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, __file__, *words], env=env, stdout=subprocess.PIPE, text=True) as child:
        while child.poll() is None:
            for name, megabytes in resident(child.pid).items():
                peaks[name] = max(peaks[name], megabytes)
            time.sleep(0.02)
        assert child.stdout is not None
        said = child.stdout.read()
    if child.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {child.returncode}")
    return {"seconds": time.perf_counter() - began, **peaks, **json.loads(said.splitlines()[-1])}


def resident(pid: int) -> dict[str, float]:
    """What a process holds now, in MB; nothing of one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Rss")}
    return {mine: sizes[theirs] for mine, theirs in {"own_mb": "RssAnon", "files_mb": "RssFile"}.items() if sizes}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All parts, one after the other."""
    path = options.folder / "images.hdf5"
    in_memory = options.images * SIZE * SIZE * 3 / 1e9
    limit = in_memory / 10 if options.memory_gb is None else options.memory_gb
    env = {**os.environ, "DTQL_ROBOT_MEMORY_GB": str(limit), "DTQL_ROBOT_CACHE": str(options.folder / "cache")}
    env |= {"DTQL_ROBOT_CACHE_GB": str(3 * in_memory + 1)}
    env["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    found: dict[str, Any] = {"images_gb": in_memory, "memory_gb": limit}
    parts = {
        "write": ["--do", "write"],
        "train, first load": ["--do", "train"],
        "train, second load": ["--do", "train"],
        "draw batches": ["--do", "draw"],
    }
    for name, words in parts.items():
        more = ["--images", str(options.images), "--updates", str(options.updates), "--seconds", str(options.seconds)]
        found[name] = watched([*words, *more, "--folder", str(options.folder)], env)
        shown = "".join(f"  {k} {v:,.1f}" for k, v in found[name].items())
        print(f"{name:20}{shown}", flush=True)
    return {**found, "file_gb": path.stat().st_size / 1e9}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0, help="for drawing batches")
    parser.add_argument("--memory-gb", type=float, help="what states may take before they are kept in a file")
    parser.add_argument("--folder", type=Path, help="where all is written; by default a temporary one")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--do", choices=["write", "train", "draw"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    path = None if options.folder is None else options.folder / "images.hdf5"
    if options.do == "write":
        write(path, options.images)
        print("{}")
    elif options.do == "train":
        print(json.dumps(train(path, options.updates)))
    elif options.do == "draw":
        print(json.dumps(draw(path, options.seconds)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            options.folder = options.folder or Path(folder)
            options.folder.mkdir(parents=True, exist_ok=True)
            about = {**machine("cpu"), "images": options.images, "updates": options.updates, "batch": BATCH}
            found = {**about, **measure(options)}
        print(f"{found['images_gb']:.2f} GB of images, {found['file_gb']:.2f} GB in the file")
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
