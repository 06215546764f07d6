"""What a run uses of the machine: device, threads, precision, compiler, memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from dtql_robot.config import Config
from dtql_robot.errors import InputError
from dtql_robot.system.cores import usable_cores
from dtql_robot.system.launcher import processes_here

COMPILE_S = 157.0
"""Seconds that compiling takes where nothing is kept from before (docs/performance.md)."""
SAVED_S = {"mish": 0.0100}
"""Activation -> seconds that compiling saves of an update: where it is made of many operations, a fifth."""
SAVED_S_ELSE = 0.0011
"""The same for all other activations."""


def resolve_device(choice: str) -> torch.device:
    """ "auto" becomes cuda where there is one.  Asking for cuda where there is none is an InputError."""
    if choice == "cuda" and not torch.cuda.is_available():
        raise InputError("device=cuda, but torch finds no GPU; use --device cpu or install a CUDA build of torch.")
    if choice == "auto":
        choice = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(choice)


def check_hardware(cfg: Config) -> None:
    """InputError where a setting needs hardware that `cfg.device` is not."""
    o, device = cfg.optim, resolve_device(cfg.device)
    if device.type != "cuda":
        for setting, asked in (("cuda_graph=on", o.cuda_graph == "on"), ("precision=tf32", o.precision == "tf32")):
            if asked:
                raise InputError(f"{setting} needs an NVIDIA GPU, and this run is on the {device.type}; leave it out.")
    if o.compile == "on" and device.type == "cpu" and not has_compiler():
        raise InputError("compile=on needs a C++ compiler, and there is no g++ or clang++: install one.")


@contextmanager
def hardware(cfg: Config) -> Iterator[None]:
    """torch's threads and matrix precision as `cfg` wants them, for the time of the block."""
    check_hardware(cfg)
    threads, tf32 = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    torch.set_num_threads(cfg.threads or _suitable_threads(threads))
    if cfg.threads and cfg.threads > (cores := usable_cores()):  # not fewer by itself: a run's last bits depend on it
        print(f"note: {cfg.threads} threads share {cores} CPU cores; {cores} or fewer are faster.", file=sys.stderr)
    torch.backends.cuda.matmul.allow_tf32 = cfg.optim.precision == "tf32"
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = tf32


def _suitable_threads(default: int) -> int:
    """torch's own choice within what there is; processes of one training share the machine's cores."""
    processes = processes_here()
    return min(default, usable_cores()) if processes == 1 else max(1, usable_cores() // processes)


def has_compiler() -> bool:
    """Whether torch.compile has what it needs on a CPU."""
    return any(shutil.which(name) for name in (os.environ.get("CXX") or "g++", "clang++"))


def should_compile(cfg: Config, updates: int) -> bool:
    """Whether compiling pays off for this many updates.

    "auto" decides by settings alone, not by a clock or by what is kept from before: compiled code rounds differently,
    and the same command must give the same weights.
    """
    if cfg.optim.compile != "auto":
        return cfg.optim.compile == "on"
    ready = has_compiler() or resolve_device(cfg.device).type == "cuda"
    return ready and updates * SAVED_S.get(cfg.optim.activation, SAVED_S_ELSE) >= COMPILE_S


def keep_compiled_code() -> None:
    """Let torch keep what it compiles across reboots, so that the next run of the same sizes starts within seconds."""
    with contextlib.suppress(RuntimeError):  # no home to keep it in: torch keeps it in /tmp
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "dtql_robot" / "compiled"))


def peak_memory() -> str:
    """The largest memory of this process so far, on the host and on the GPU."""
    parts = []
    if sys.platform != "win32":
        import resource

        unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
        parts.append(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20:.0f} MiB")
    if torch.cuda.is_available():
        parts.append(f"{torch.cuda.max_memory_allocated() / 2**20:.0f} MiB on the GPU")
    return ", ".join(parts) or "unknown"
