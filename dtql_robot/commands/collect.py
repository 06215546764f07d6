"""`dtql-robot collect`: scripted demonstrations into a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from dtql_robot.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Record demonstrations of a scripted expert in simulation.

    Every episode draws its own amount of action noise, so the file mixes clean and clumsy demonstrations.
    Examples: dtql-robot collect FetchPickAndPlace-v4 --episodes 200 --out demos/pick.hdf5
              dtql-robot collect FetchPickAndPlace-v4 --cameras front,wrist --size 84 --out demos/pixels.hdf5
    """

    task: Positional[str]
    """FetchReach-v4, FetchPush-v4, FetchPickAndPlace-v4, robosuite:Lift, or a task like metaworld:pick-place-v3."""
    out: Path
    """File to write (robomimic) or folder to write (minari). It must not exist yet."""
    episodes: int = 200
    """Demonstrations to record."""
    format: Literal["robomimic", "minari"] = "robomimic"
    """Layout of the file."""
    seed: int = 0
    """Seed of start states and noise. Evaluation never uses these start states, whatever its seed."""
    noise: float = 0.3
    """Largest standard deviation of the action noise; each episode draws its own from 0 to this."""
    record: Literal["executed", "intended"] = "executed"
    """The action that is written down. executed: with the noise. intended: the expert's own, which the noise disturbed
    on its way to the robot; easier to learn from, but playing it back leads elsewhere."""
    lapses: float = 0.0
    """Share of the episodes, 0 to 1, in which the demonstrator fails on purpose: stops and drifts, never closes the
    gripper, or goes back and forth. For data of mixed quality."""
    successes_only: bool = False
    """Leave out the episodes that fail, and record more until there are enough that succeed."""
    cameras: tuple[str, ...] = ()
    """Cameras whose images are recorded too, as observations <camera>_image. Fetch tasks: front, wrist."""
    size: int = 84
    """Height and width of those images."""
    workers: int | None = None
    """Simulators run at once. Default: one per CPU core. The data does not depend on it."""
    overwrite: bool = False
    """Replace --out if it exists."""


def run(options: Options) -> None:
    from dtql_robot.datasets import format_summary, inspect, save_minari, save_robomimic
    from dtql_robot.datasets.formats.minari_write import minari_id
    from dtql_robot.envs.collection.collect import collect

    if options.out.exists() and not options.overwrite:
        raise InputError(f"{options.out} exists already; choose another --out or add --overwrite.")
    if options.format == "minari":
        minari_id(options.out)  # a name that Minari refuses is told before anything is recorded
    demos = collect(
        options.task,
        options.episodes,
        seed=options.seed,
        noise=options.noise,
        record=options.record,
        lapses=options.lapses,
        successes_only=options.successes_only,
        workers=options.workers,
        cameras=tuple(name for text in options.cameras for name in text.split(",")),
        size=options.size,
    )
    save = save_minari if options.format == "minari" else save_robomimic
    save(demos, options.out, overwrite=options.overwrite)
    print(format_summary(inspect(options.out)))
