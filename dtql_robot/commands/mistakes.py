"""What is wrong with a command line that the parser cannot read, in one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from dtql_robot.commands.options import Option
from dtql_robot.errors import did_you_mean

KINDS = {"N": (int, "a whole number"), "X": (float, "a number")}
"""What stands for a value in a help text -> what reads it, and what to call it."""
ANY_TEXT = {"TEXT", "PATH"}


def explain(words: Sequence[str], options: Sequence[Option], parser: str) -> str:
    """The sentence.

    words: what follows the command.  options: the command's.  parser: what the parser says; used where every word
    can be read by itself.
    """
    return next(_mistakes(words, options), "") or _in_one_line(parser)


def _mistakes(words: Sequence[str], options: Sequence[Option]) -> Iterator[str]:
    loose: list[tuple[str, Option | None]] = []  # (word, the option before it)
    for option, values, joined in _typed(words, {flag: o for o in options for flag in o.flags}):
        many = option is not None and option.value.endswith("...")
        if option is None:
            loose += [(value, None) for value in values]
        elif option.switch and joined:
            yield f"{option.flag} takes no value; it is {option.flag} or --no-{option.flag[2:]}."
        elif not (values or many or option.switch):
            yield f"{option.flag} needs a value: {option.text}"
        else:
            own = 0 if option.switch else len(values) if many and not joined else 1
            yield from (said for value in values[:own] if (said := _misfit(option, value)))
            loose += [(value, option) for value in values[own:]]
    yield from _misplaced(loose, [option for option in options if option.positional])


def _misplaced(loose: Sequence[tuple[str, Option | None]], places: Sequence[Option]) -> Iterator[str]:
    """What is wrong with words that belong to no option, given the command's positional arguments."""
    yield from (said for (value, _), place in zip(loose, places, strict=False) if (said := _misfit(place, value)))
    if places and places[-1].value.endswith("..."):
        return
    takes = " ".join(["it takes", *(f"{place.flag} and" for place in places), "options"])
    for value, before in loose[len(places) :]:
        if re.match(r"-[a-zA-Z]", value):
            yield f"there is no option {_shown(value)}; --help lists all."
        after = f" after {before.flag}" if before else ""
        whose = before or (places[-1] if places else None)
        several = f" Several values of {whose.flag} are joined by commas: A,B." if whose and _joins(whose) else ""
        yield f"there is no place for {_shown(value)}{after}; {takes}{'' if places else ' only'}.{several} See --help."


def _joins(option: Option) -> bool:
    """Whether the option takes several values in one word, as its text says."""
    return re.search(r"separated by commas|Several: A,B", " ".join(option.text.split())) is not None


def _typed(words: Sequence[str], known: dict[str, Option]) -> Iterator[tuple[Option | None, list[str], bool]]:
    """(option, the words up to the next option, whether the first is joined to it by "=");  None: before any option."""
    option, values, joined = None, [], False
    for word in words:
        flag, equals, value = word.partition("=")
        if not word.startswith("--") or flag.replace("_", "-") not in known:
            values.append(word)
            continue
        yield option, values, joined
        option, values, joined = known[flag.replace("_", "-")], [value] if equals else [], bool(equals)
    yield option, values, joined


def _misfit(option: Option, value: str) -> str | None:
    """Why this is no value of the option; None where it may be one."""
    allowed = option.value.removesuffix(" ...").split("|")
    if option.open or value in allowed or (option.optional and value == "None") or ANY_TEXT & set(allowed):
        return None
    if any(_reads(KINDS[kind][0], value) for kind in allowed if kind in KINDS):
        return None
    near = did_you_mean(value, option.choices, n=1)
    names = [KINDS[kind][1] if kind in KINDS else kind for kind in allowed]
    expected = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"{option.flag} is {_shown(value)}; expected {expected}" + (f". {near}" if near else ".")


def _shown(value: str) -> str:
    """A word as it was typed; its repr where that cannot be seen, cut where it is long."""
    text = value if value.isprintable() and value.strip() else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _reads(kind: type, value: str) -> bool:
    try:
        kind(value)
    except ValueError:
        return False
    return True


def _in_one_line(parser: str) -> str:
    """What the parser says, without its frame and its advice below the first rule."""
    lines = [line.strip("│ ") for line in parser.splitlines()]
    said = [line for line in lines[1:] if line]
    end = next((i for i, line in enumerate(said) if re.match("[─╰]", line)), len(said))
    return " ".join(said[:end]) or "the options cannot be read; --help explains them."
