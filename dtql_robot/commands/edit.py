"""`dtql-robot edit`: choose demonstrations, cut idle starts, rename observations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from dtql_robot.errors import InputError

if TYPE_CHECKING:
    from dtql_robot.datasets.formats.reading import Reading
    from dtql_robot.types import Demonstrations

INTERRUPTED = "Nothing was written."
IDLE = 0.01


@dataclass(frozen=True, kw_only=True)
class Options:
    """Choose demonstrations, cut their idle starts or rename observations, and write a new file.

    Conditions are combined (all must hold) and apply to demonstrations as they are in DATA; idle starts are cut
    afterwards.
    Examples: dtql-robot edit low_dim.hdf5 good.hdf5 --only success --max-length 300 --unique
              dtql-robot edit low_dim.hdf5 short.hdf5 --drop 3 7..9 demo_12 --cut-idle-start
    """

    data: Positional[str]
    """Demonstrations to read, in any format that `convert` reads. Several: A,B."""
    out: Positional[Path]
    """File (.hdf5: robomimic, .npz: OGBench) or folder (Minari, named NAME-vN, or LeRobot with --format) to write."""
    keep: tuple[str, ...] = ()
    """Keep only these: numbers from 0 (3), ranges with both ends (3..7), or names (demo_12)."""
    drop: tuple[str, ...] = ()
    """Leave these out; same notation."""
    only: Literal["success", "failure"] | None = None
    """Keep only demonstrations that succeed, or only those that fail."""
    success_rule: Literal["auto", "last", "any"] = "auto"
    """Which demonstrations succeed: by the last step, or any step. auto: as the recorded environment counts,
    otherwise by the last."""
    min_length: int | None = None
    """Minimum number of steps."""
    max_length: int | None = None
    """Maximum number of steps."""
    min_return: float | None = None
    """Minimum sum of rewards."""
    max_return: float | None = None
    """Maximum sum of rewards."""
    unique: bool = False
    """Leave out copies of earlier demonstrations."""
    cut_idle_start: bool = False
    """Cut off the steps before anything moves."""
    idle_share: float = IDLE
    """With --cut-idle-start: movement of an observation that still counts as idle, as a share of its range over all
    demonstrations."""
    actions: Literal["delta", "absolute"] | None = None
    """Convert a robot arm's actions: delta or absolute poses. Needs a robosuite file with its simulator states."""
    rename: tuple[str, ...] = ()
    """Observations to rename, as OLD=NEW."""
    obs_keys: tuple[str, ...] = ()
    """Observation keys to keep, in this order, by their old names. Default: all, including images."""
    filter_key: str | None = None
    """Only the demonstrations listed under `mask/<filter_key>`."""
    success_reward: float | None = None
    """Count a step as a success if its reward is at least this."""
    episode_length: int | None = None
    """Episode length, for a D4RL file that does not mark where episodes end. Default: as the file marks them."""
    format: Literal["auto", "robomimic", "minari", "lerobot", "ogbench", "d4rl"] = "auto"
    """Format of the output. auto: by its name, see OUT."""
    lerobot_version: Literal["v3.0", "v2.1"] = "v3.0"
    """Version of the LeRobot format to write."""
    video: bool = False
    """Write images of a LeRobot dataset as compressed mp4 videos. Default: as exact PNG files inside the tables."""
    fps: float | None = None
    """Steps per second to note in a LeRobot dataset. Default: as recorded, or 20 if the source does not say."""
    overwrite: bool = False
    """Replace OUT if it exists."""


def run(options: Options) -> None:
    """Write the new file and say what was left out, cut and renamed."""
    from dtql_robot.commands.convert import layout_of, read_all, write
    from dtql_robot.datasets.formats.minari_write import minari_id
    from dtql_robot.datasets.formats.robosuite_recording import is_raw
    from dtql_robot.datasets.loader import split_sources
    from dtql_robot.system.files import check_writable, expanded
    from dtql_robot.system.locks import locked

    out, names = expanded(options.out), _new_names(options.rename)
    if out.exists() and not options.overwrite:
        raise InputError(f"{out} exists already; choose another OUT or add --overwrite.")
    layout = options.format if options.format != "auto" else layout_of(out)
    if layout == "minari":
        minari_id(out)
    else:
        check_writable(out)
    if any(is_raw(source) for source in split_sources(options.data)):
        raise InputError(f"{options.data} is a recording of simulator states; `dtql-robot convert` it first.")
    with locked(out):
        reading = read_all(
            options.data,
            obs_keys=options.obs_keys,
            filter_key=options.filter_key,
            success_reward=options.success_reward,
            episode_length=options.episode_length,
        )
        edited = _edited(reading, options, names)
        write(
            replace(reading, demos=edited),
            out,
            layout,
            overwrite=options.overwrite,
            version=options.lerobot_version,
            video=options.video,
            fps=options.fps,
        )
    print(
        f"written: {out} ({len(edited)} of {len(reading.demos)} demonstrations, {edited.num_transitions} of "
        f"{reading.demos.num_transitions} steps)"
    )


def _edited(reading: Reading, options: Options, names: dict[str, str]) -> Demonstrations:
    from dtql_robot.datasets.episode_choice import Choice, choose_episodes
    from dtql_robot.datasets.episode_edits import rename_keys, without_plan
    from dtql_robot.datasets.idle_starts import cut_idle_starts

    rule = options.success_rule
    if rule == "auto":
        from dtql_robot.commands.split import rule_of

        rule = rule_of(reading.demos) if options.only else "last"
    choice = Choice(
        options.keep,
        options.drop,
        options.only,
        rule,
        (options.min_length, options.max_length),
        (options.min_return, options.max_return),
        options.unique,
    )
    demos, left_out = choose_episodes(reading.demos, choice)
    for reason, count in left_out.items():
        print(f"left out: {count} {reason}")
    if options.cut_idle_start:
        demos, cut = cut_idle_starts(demos, options.idle_share)
        print(f"cut: {sum(cut.values())} idle steps at the start of {len(cut)} demonstrations")
    if options.actions is not None:
        from dtql_robot.replay.action_type import convert_actions

        demos, said = convert_actions(demos, options.actions)
        for sentence in said:
            print(f"note: {sentence}")
    if names:
        demos = rename_keys(demos, names)
        _tell_environment(demos, names)
    return without_plan(demos)


def _new_names(words: tuple[str, ...]) -> dict[str, str]:
    names: dict[str, str] = {}
    for word in words:
        old, equals, new = word.partition("=")
        if not equals or not old or not new or old in names:
            raise InputError(f"--rename takes OLD=NEW, each observation once, found {word!r}.")
        names[old] = new
    return names


def _tell_environment(demos: Demonstrations, names: dict[str, str]) -> None:
    """A policy that learns the new names is asked for them in the environment, which has the old ones."""
    if demos.env_spec is not None:
        recipes = "".join(f"+{new}={old}" for old, new in names.items())
        print(f"note: where {demos.env_spec} gives the old names, train with --env '{demos.env_spec}{recipes}'")
