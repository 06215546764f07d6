"""The options of a command, read from its dataclass: what help, completion and messages show."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import textwrap
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from tyro.conf import Positional

from dtql_robot.config.checks import Own
from dtql_robot.config.checks import option as option_flag
from dtql_robot.errors import InputError, did_you_mean

WORDS = {int: "N", float: "X", Path: "PATH", str: "TEXT"}
"""Type of a value -> what stands for it in a help text."""


@dataclass(frozen=True)
class Option:
    """One option or positional argument.

    name      the field's name
    value     what stands for its value in a help text; "" for a switch
    choices   the words it accepts, where these are listed
    default   what it is when left out, in the command line's words; "" for none
    aliases   other names of it, which help does not show
    open      whether installed packages may add choices
    optional  whether it may be typed as None
    """

    name: str
    value: str
    choices: tuple[str, ...]
    default: str
    text: str
    required: bool
    positional: bool
    switch: bool
    aliases: tuple[str, ...] = ()
    open: bool = False
    optional: bool = False

    @property
    def flag(self) -> str:
        """The option as it is typed: --n-action-steps."""
        return self.name.upper() if self.positional else option_flag(self.name)

    @property
    def flags(self) -> tuple[str, ...]:
        """Every way to type it."""
        return (self.flag, f"--no-{self.flag[2:]}", *self.aliases) if self.switch else (self.flag, *self.aliases)


@dataclass(frozen=True)
class Group:
    """Options that were declared together."""

    title: str
    options: tuple[Option, ...]


def option_groups(declared: type, default: Any = None) -> list[Group]:
    """The options of a dataclass, then those of each dataclass in its fields.

    default: an instance whose values are the defaults, instead of the fields' own.
    """
    hints, texts = get_type_hints(declared, include_extras=True), _texts(declared)
    own, nested = [], []
    for field in dataclasses.fields(declared):
        value = _default(field) if default is None else getattr(default, field.name)
        if dataclasses.is_dataclass(hints[field.name]):
            nested += option_groups(hints[field.name], None if value is dataclasses.MISSING else value)
        else:
            own.append(_option(field.name, hints[field.name], value, texts.get(field.name, "")))
    title = (inspect.getdoc(declared) or "").split("\n\n")[0]
    return [Group(" ".join(title.split()), tuple(own)), *nested]


def check_words(words: Sequence[str], options: Iterable[Option]) -> None:
    """InputError for an option that does not exist, and for a required one that is missing.

    words: what follows the command on the command line.
    """
    declared = list(options)
    typed = [word.split("=")[0].replace("_", "-") for word in words if word.startswith("--") and word != "--"]
    known = [flag for option in declared if not option.positional for flag in option.flags]
    for flag in typed:
        if flag not in known and not flag.startswith("--tyro"):
            hint = did_you_mean(flag, known, n=1, otherwise="--help lists all, --help-all the settings too.")
            raise InputError(f"there is no option {flag}. {hint}")
    for option in declared:
        if option.required and not (words if option.positional else set(typed) & set(option.flags)):
            raise InputError(f"{option.flag} is missing: {option.text}")


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _texts(declared: type) -> dict[str, str]:
    """Field -> the string below it."""
    found = {}
    for base in reversed([b for b in declared.__mro__ if dataclasses.is_dataclass(b)]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # type: ignore[attr-defined]
        for field, below in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(field.target, ast.Name):
                found[field.target.id] = " ".join(ast.literal_eval(below.value).split())
    return found


def _option(name: str, hint: Any, default: Any, text: str) -> Option:
    marks = tuple(_marks(hint))
    kinds = [kind for kind in _alternatives(hint) if kind is not types.NoneType]
    own = next((mark.values for mark in marks if isinstance(mark, Own)), ())
    required = default is dataclasses.MISSING
    return Option(
        name,
        value="|".join(own) or "|".join(_word(kind) for kind in kinds if kind is not bool),
        choices=own or tuple(choice for kind in kinds for choice in _choices(kind)),
        default="" if required else _as_typed(default),
        text=text,
        required=required,
        positional=any(mark in marks for mark in get_args(Positional[str])[1:]),
        switch=kinds == [bool],
        aliases=tuple(alias for mark in marks for alias in getattr(mark, "aliases", None) or ()),
        open=bool(own),
        optional=types.NoneType in _alternatives(hint),
    )


def _marks(hint: Any) -> Iterator[Any]:
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        yield from marks
        yield from _marks(inner)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) is Annotated:
        return _alternatives(get_args(hint)[0])
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _word(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        return f"{_word(inner[0])} ..." if inner[-1] is ... else " ".join(map(_word, inner))
    return WORDS.get(kind, "TEXT")


def _choices(kind: Any) -> tuple[str, ...]:
    if get_origin(kind) is tuple:
        kind = get_args(kind)[0]
    return tuple(map(str, get_args(kind))) if get_origin(kind) is Literal else ()


def _as_typed(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else ""
    if isinstance(value, tuple):
        return " ".join(map(_as_typed, value))
    return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)
