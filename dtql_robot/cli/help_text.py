"""The help of one command: its purpose, an example, and its options."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from dtql_robot.commands.options import Group, Option, option_groups
from dtql_robot.config.checks import option as option_flag

WIDEST, INDENT = 100, 26
MORE = "  --help-all              Show all options, by group."


def help_text(command: str, module: ModuleType, default: Any, anywhere: str, *, everything: bool) -> str:
    """What `dtql-robot COMMAND --help` prints.

    module: the command's, with `Options`, and with `BASIC` where not all of its nested settings belong into the short
    help: the names of those that do.  default: an instance of its options with other defaults, or None.
    anywhere: lines on the options of every command.  everything: all options of all groups, as --help-all asks.
    """
    own, *nested = option_groups(module.Options, default)
    basic: tuple[str, ...] | None = getattr(module, "BASIC", None)
    required = [o for o in own.options if o.required or o.positional]
    usage = " ".join(["usage: dtql-robot", command, *map(_usage, required), "[options]"])
    blocks = [usage, _purpose(inspect.getdoc(module.Options) or "")]
    names = [option.name for group in (own, *nested) for option in group.options]
    shown = [own, *nested]
    if basic is not None and not everything:
        picked = tuple(o for group in nested for o in group.options if o.name in basic)
        shown = [own, Group("The settings that are changed most often.", picked)]
    for number, group in enumerate(shown):
        title = "options:" if number == 0 else f"{group.title.rstrip('.')}:"
        blocks.append("\n".join([title, *_lines(group.options, names)]))
    always = anywhere if basic is None else f"{anywhere}\n{MORE}"
    return "\n\n".join([*blocks, f"in every command:\n{always}"]) + "\n"


def _purpose(doc: str) -> str:
    """The docstring, its paragraphs wrapped; examples, which are commands to type, each on a line of its own."""
    return "\n".join(line for paragraph in doc.split("\n\n") for line in _paragraph(paragraph)).rstrip()


def _paragraph(text: str) -> Iterator[str]:
    plain: list[str] = []
    for line in text.splitlines():
        example = line.startswith(("Example:", "Examples:"))
        if not example and not line.startswith(" "):
            plain.append(line)
            continue
        if plain:
            yield from [*_wrapped(" ".join(plain)), *([""] if example else [])]
            plain = []
        if example:
            yield "example:"
            line = line.partition(":")[2]
        if line.strip():
            yield f"  {line.strip()}"
    yield from _wrapped(" ".join(plain))
    yield ""


def _lines(options: Iterable[Option], names: Iterable[str]) -> Iterator[str]:
    for option in options:
        head = f"  {_head(option)}"
        body = _wrapped(_as_options(_sentence(option), names), " " * INDENT)
        if len(head) + 2 > INDENT:
            yield head
        elif body:
            body[0] = head.ljust(INDENT) + body[0][INDENT:]
        yield from body or [head]


def _wrapped(text: str, indent: str = "") -> list[str]:
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _head(option: Option) -> str:
    if option.switch:
        return f"{option.flag}, --no-{option.flag[2:]}" if option.default else option.flag
    return f"{option.flag} {option.value}" if not option.positional else option.flag


def _usage(option: Option) -> str:
    if option.positional:
        words = f"{option.flag} ..." if option.value.endswith("...") else option.flag
        return words if option.required else f"[{words}]"
    return _head(option)


def _sentence(option: Option) -> str:
    """The option's text, with what holds when it is left out."""
    if option.required:
        return f"{option.text} Required."
    return f"{option.text} [{option.default}]" if option.default else option.text


def _as_options(text: str, names: Iterable[str]) -> str:
    """The text with settings in the command line's words: act=best -> --act best, `lr` -> --lr, q_unit -> --q-unit."""
    known = "|".join(sorted(names, key=len, reverse=True))
    text = re.sub(rf"(?<![\w<-])({known})=(\w+)", lambda m: f"{option_flag(m[1])} {m[2]}", text)
    text = re.sub(rf"`({known})`", lambda m: option_flag(m[1]), text)
    return re.sub(rf"(?<![\w<-])({known})(?!\w)", lambda m: option_flag(m[1]) if "_" in m[1] else m[1], text)
