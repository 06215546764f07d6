"""The one rule for which environment is meant and whether a data set's record of its environment applies there.

What the user asks for wins.  The record applies where the user asks for nothing, or for the recorded environment under
any of its names: with observations composed after "+", in another version, or with the module that registers it.
Elsewhere its arguments mean nothing, and the choice says that they are not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dtql_robot.env_record.record import EVAL_SPEC, FAMILIES, env_spec_of, recorded_kwargs
from dtql_robot.env_record.successors import successor, why
from dtql_robot.errors import InputError
from dtql_robot.system.plugins import ENVS, has_consent

OGBENCH_KINDS = frozenset({"play", "noisy", "navigate", "stitch", "explore"})
"""Words that OGBench puts into the name of a data set beside the environment's."""
_IMPORTS_ANOTHER = re.compile(r"GymV\d+Environment(-v\d+)?")
_MODULE_ID = re.compile(r"[A-Za-z_][\w.]*:[\w./-]+-v\d+")


@dataclass(frozen=True)
class EnvChoice:
    """The environment that is meant.

    spec      in this package's notation; None where neither the user nor the data names one
    env_args  the record to make it with, for `make_env(spec, env_args=...)`; empty where none applies
    notes     sentences that the user should read: why a record is not used, which of two environments is
    refusal   why the environment must not be made, where only the record names it and making it would import code
    source    what the record is of, for the sentences
    """

    spec: str | None
    env_args: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    refusal: str | None = None
    source: str = "the data"

    def require(self) -> str:
        """The spec, to be made.  InputError where there is none, or where making it would trust a file too far."""
        if self.refusal is not None:
            raise InputError(self.refusal)
        if self.spec is None:
            raise InputError(f"{self.source} names no environment; pass the one it was recorded in with --env.")
        return self.spec


def choose_env(
    asked: str | None,
    recorded: str | None,
    env_args: Mapping[str, Any],
    *,
    source: str = "the data",
    evaluation: bool = True,
) -> EnvChoice:
    """The environment to use and its record.

    asked: what the user typed (--env), the only name that may make Python import a module ("module:Env-v0").
    recorded, env_args: what the data or the run says of its environment.  source: its name, for the sentences.
    evaluation: whether a policy is to be judged, in the environment that the data keeps for that where it keeps one.
    """
    found = _choose(asked, recorded, env_args, source, evaluation)
    instead = successor(found.spec) if found.spec else None
    if found.spec is None or instead is None:
        return found
    return replace(found, spec=instead, notes=(*found.notes, why(found.spec, instead)))


def _choose(
    asked: str | None, recorded: str | None, env_args: Mapping[str, Any], source: str, evaluation: bool
) -> EnvChoice:
    """`choose_env` before an environment that cannot be made any more gives way to its successor."""
    notes: tuple[str, ...] = ()
    judged_in = env_args.get(EVAL_SPEC) if evaluation else None
    judge = env_spec_of(judged_in) if isinstance(judged_in, Mapping) else None
    if isinstance(judged_in, Mapping) and judge is not None and (asked is None or same_environment(asked, judge)):
        where = f"evaluation is in {asked or judge} as {source} records it for evaluation (eval_env_spec)"
        notes = (f"{where}, not as the demonstrations were recorded.",)
        recorded, env_args = judge, judged_in
    args = {k: v for k, v in env_args.items() if k != EVAL_SPEC}
    if asked is None:
        refusal = None if recorded is None else _refusal(recorded, args, source)
        return EnvChoice(recorded, args, notes, refusal, source)
    named = recorded or _name(args)
    if named is None or same_environment(asked, named):
        return EnvChoice(asked, args, notes, source=source)
    return EnvChoice(asked, {}, _not_used(asked, named, args, source), source=source)


def is_module_id(spec: str | None) -> bool:
    """Whether making the environment `spec` imports a module that it names ("my_package:MyEnv-v0")."""
    first, colon, _ = (spec or "").partition("+")[0].partition(":")
    return bool(colon) and first not in FAMILIES


def same_environment(a: str, b: str) -> bool:
    """Whether two specs mean one environment, whatever its version, its module and the observations composed of it."""
    (family_a, name_a), (family_b, name_b) = _identity(a), _identity(b)
    return name_a == name_b and (family_a == family_b or not family_a or not family_b)


def _identity(spec: str) -> tuple[str, str]:
    """(family or "", name without version) of a spec."""
    spec = spec.partition("+")[0].strip()
    first, colon, rest = (successor(spec) or spec).partition(":")
    family, name = (first.strip(), rest) if colon and first.strip() in FAMILIES else ("", rest if colon else first)
    name = re.sub(r"-v\d+$", "", name.strip())
    if family == "ogbench":
        name = "-".join(word for word in name.split("-") if word not in OGBENCH_KINDS)
    return family, name


def _name(env_args: Mapping[str, Any]) -> str | None:
    """The environment's name in a record whose kind of environment is not known."""
    name = env_args.get("env_name") or env_args.get("id")
    return name if isinstance(name, str) and name else None


def _not_used(asked: str, recorded: str, env_args: Mapping[str, Any], source: str) -> tuple[str, ...]:
    kwargs, limit = recorded_kwargs(env_args)
    lost = sorted(kwargs) + (["max_episode_steps"] if limit else [])
    if recorded.startswith("robosuite:") and env_args.get("env_version"):
        lost.append(f"the layout of robosuite {env_args['env_version']}")
    if not lost:
        return ()
    return (
        f"{source} was recorded in {recorded}, not in {asked}: what it records of that environment is not used "
        f"({', '.join(lost)}).",
    )


def _refusal(recorded: str, env_args: Mapping[str, Any], source: str) -> str | None:
    """The sentence where making the recorded environment would import a module of the recording's choice."""
    base = recorded.partition("+")[0]
    suspects = [base] if is_module_id(base) and not has_consent(ENVS, base.partition(":")[0]) else []
    suspects += [base] if _IMPORTS_ANOTHER.fullmatch(base) else []
    suspects += [text for text in _texts(recorded_kwargs(env_args)[0]) if _MODULE_ID.fullmatch(text)]
    if not suspects:
        return None
    what = f"{source} names the environment {recorded!r}"
    return f"{what}, for which {suspects[0]!r} would be imported; only an --env that you type may import a module."


def _texts(value: Any) -> Iterator[str]:
    """Every string in nested lists and objects."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            waiting += item.values()
        elif isinstance(item, (list, tuple)):
            waiting += item
