"""Words of the command line that mean the same in every command."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import fields
from types import ModuleType
from typing import Any

from dtql_robot.errors import InputError

MOST_SEEDS = 1_000


def parse_options(module: ModuleType, words: Sequence[str], default: Any, prog: str) -> Any:
    """The `Options` of a command's module, from what follows the command.

    default: what holds where nothing is given; None: the fields' own defaults.  prog: the command, for messages.
    InputError where the words cannot be read; SettingError for a setting out of its bounds.
    """
    import tyro

    from dtql_robot.commands.mistakes import explain
    from dtql_robot.commands.options import check_words, option_groups
    from dtql_robot.config.checks import checked, deferred, in_range

    declared = [option for group in option_groups(module.Options, default) for option in group.options]
    check_words(words, declared)
    said = io.StringIO()
    try:
        with deferred(), redirect_stderr(said):
            options = tyro.cli(
                module.Options, args=list(words), default=default, prog=prog, config=(tyro.conf.OmitArgPrefixes,)
            )
    except SystemExit:  # after the parser's own message
        raise InputError(explain(words, declared, said.getvalue())) from None
    if hasattr(options, "seed"):
        in_range(options, 0, 2**63 - 1, "seed")
    return checked(options)


def needs_video(options: Any) -> bool:
    """Whether a video is asked for.  InputError where options say what it shows, and --video does not name it."""
    if options.video is not None:
        return True
    about = [f for f in fields(options) if f.name in ("camera", "cameras") or f.name.startswith("video_")]
    idle = [f"--{f.name.replace('_', '-')}" for f in about if getattr(options, f.name) != f.default]
    if idle:
        raise InputError(f"{', '.join(idle)} says what a video shows; name its file with --video too.")
    return False


def parse_names(words: Sequence[str]) -> tuple[str, ...]:
    """The names in "front wrist" or "front,wrist", each once."""
    return tuple(dict.fromkeys(name for word in words for name in word.split(",") if name))


def parse_seeds(words: Sequence[str]) -> tuple[int, ...]:
    """The seeds that --seeds names: "0..7" (both included), "0 1 2" or "0,1,2".  InputError for anything else."""
    seeds: list[int] = []
    for word in ",".join(words).split(",") if words else ():
        first, dots, last = word.partition("..")
        if not first.isdecimal() or (dots and not last.isdecimal()):
            raise InputError(f"--seeds has {word!r}; expected seeds like 0..7, 0 1 2 or 0,1,2.")
        if len(first) > 19 or len(last) > 19:
            raise InputError(f"--seeds has {word[:60]!r}; expected seeds below 2**63.")
        found = range(int(first), int(last if dots else first) + 1)
        if not found:
            raise InputError(f"--seeds has {word!r}, which is an empty range; put the smaller seed first.")
        if found.stop - found.start > MOST_SEEDS:
            raise InputError(f"--seeds has {word!r}; at most {MOST_SEEDS:,} seeds can be given at once.")
        seeds += found
    if len(set(seeds)) < len(seeds):
        raise InputError(f"--seeds lists a seed twice: {' '.join(words)}.")
    return tuple(seeds)
