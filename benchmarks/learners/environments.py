"""Virtual environments for the learners of time_to_success.py that are other packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TORCH, VISION = "torch==2.13.0+cpu", "torchvision==0.28.0"

RECIPES: dict[str, tuple[tuple[str, ...], ...]] = {
    "d3rlpy": ((TORCH, "d3rlpy==2.8.1"),),
    # egl_probe, which robomimic requires and only its simulators use, would need a compiler.
    "robomimic": (
        (TORCH, VISION, "numpy==2.4.6", "h5py", "psutil", "tqdm", "termcolor", "tensorboard", "tensorboardX", "six"),
        ("imageio", "matplotlib"),
        ("--no-deps", "robomimic==0.3.0"),
    ),
    # LeRobot asks for torch < 2.8; all learners run on the same one.
    "lerobot": (
        (TORCH, VISION, "numpy==2.4.6", "diffusers==0.39.0", "einops", "draccus==0.10.0", "huggingface_hub<1"),
        ("safetensors", "termcolor", "jsonlines", "deepdiff", "packaging", "datasets==3.6.0", "pandas", "pyarrow"),
        ("av", "imageio", "pyserial"),
        ("--no-deps", "lerobot==0.3.3"),
    ),
}
"""Name -> what pip installs, call by call.  The CPU build of torch must be where pip looks
(`PIP_EXTRA_INDEX_URL`, `PIP_FIND_LINKS`); it is named so that pip takes no other."""


def python_of(venvs: Path, name: str) -> Path:
    """The interpreter of an environment, which may not be there."""
    return venvs / name / "bin/python"


def install(venvs: Path, name: str) -> str:
    """Make the environment if it is not there.  Returns why that failed, in a line; "" where it did not."""
    folder, python = venvs / name, python_of(venvs, name)
    done = folder / "installed"
    if done.exists():
        return ""
    venvs.mkdir(parents=True, exist_ok=True)
    calls = [[sys.executable, "-m", "venv", "--clear", str(folder)]]
    calls += [[str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *r] for r in RECIPES[name]]
    for words in calls:
        ended = subprocess.run(words, capture_output=True, text=True)
        if ended.returncode:
            said = [line for line in ended.stderr.splitlines() if line.strip()] or ["nothing was said"]
            return f"{' '.join(words[1:])} failed: {said[-1].strip()}"
    done.touch()
    return ""
