"""Settings by their names, from Python's keywords or from a file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtql_robot.config import Config
from dtql_robot.errors import InputError, did_you_mean
from dtql_robot.run_folder import as_trained
from dtql_robot.system.json_text import parse_json

OF_A_RUN = ("data", "env", "env_args", "versions", "decisions", "reference_scores", "config", "init_from", "init_norm")
"""What config.json holds; a file of these describes a whole training."""


@dataclass(frozen=True)
class SettingsFile:
    """What a file says of a training.  data, env, init_from, init_norm: None where it says nothing of them.

    env_args: the record of the environment, of which the time limit is used.
    """

    config: Config
    data: str | None = None
    env: str | None = None
    env_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    init_from: str | None = None
    init_norm: str | None = None


def with_settings(cfg: Config, values: Mapping[str, Any], where: str = "") -> Config:
    """`cfg` with other values, by name: q_weight=0.5, or by group: policy={"q_weight": 0.5}.

    where: the file they are from, for the sentences.  InputError for names that no setting has, and for values that it
    cannot have.
    """
    nested = cfg.to_dict()
    homes = {name: group for group, found in nested.items() if isinstance(found, dict) for name in found}
    for name, value in values.items():
        group, _, leaf = name.partition(".")
        if leaf and isinstance(nested.get(group), dict) and leaf in nested[group]:
            nested[group][leaf] = value
        elif isinstance(nested.get(name), dict) and isinstance(value, Mapping):
            unknown = [key for key in value if key not in nested[name]]
            if unknown:
                raise _unknown(unknown[0], nested[name], where)
            nested[name].update(value)
        elif name in nested and not isinstance(nested[name], dict):
            nested[name] = value
        elif name in homes:
            nested[homes[name]][name] = value
        else:
            raise _unknown(name, [*nested, *homes], where)
    try:
        return Config.from_dict(nested)
    except InputError as error:
        said = re.sub(r"^config[\w.]*: ", "", str(error))
        raise InputError(f"{where}: {said}" if where else said) from error


def _unknown(name: str, known: Any, where: str) -> InputError:
    hint = did_you_mean(name, known, otherwise="`dtql-robot train --help-all` lists all.")
    return InputError(f"{where + ': ' if where else ''}there is no setting {name!r}. {hint}")


def read_settings(path: Path, base: Config) -> SettingsFile:
    """Settings from a .json or .yaml file: a run's config.json, which repeats that run, or some settings that replace
    those of `base`.

    InputError, with the file's name, for anything else.
    """
    found = _parsed(path)
    if "config" not in found:
        told = {str(key): found.pop(key) for key in ("data", "env", "init_from", "init_norm") if key in found}
        return SettingsFile(with_settings(base, found, str(path)), **_texts(told, path))
    unknown = sorted(set(found) - set(OF_A_RUN))
    if unknown:
        raise _unknown(unknown[0], OF_A_RUN, str(path))
    try:
        config = Config.from_dict(as_trained(found["config"])[0])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} holds settings of the wrong type ({error}).") from error
    env_args = found.get("env_args") or {}
    about = {str(key): found[key] for key in ("data", "env", "init_from", "init_norm") if found.get(key) is not None}
    return SettingsFile(config, env_args=env_args if isinstance(env_args, Mapping) else {}, **_texts(about, path))


def _texts(about: Mapping[str, Any], path: Path) -> dict[str, Any]:
    for name, value in about.items():
        if value is not None and not isinstance(value, str):
            raise InputError(f"{path}: {name} is {value!r}, expected text.")
    return dict(about)


def _parsed(path: Path) -> dict[str, Any]:
    """The file as a mapping."""
    kind = path.suffix.lower()
    if kind not in (".json", ".yaml", ".yml"):
        raise InputError(f"{path} ends in {kind or 'nothing'!r}; settings are read from .yaml, .yml and .json files.")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path} is not a regular file; settings are read from .yaml, .yml and .json files.")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file; expected settings as YAML or JSON.") from error
    try:
        found = parse_json(text) if kind == ".json" else _yaml(text)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} is not valid {kind[1:].upper()}: {reason[:300]}.") from error
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise InputError(f"{path} contains no settings by name; expected lines like 'steps: 6000'.")
    return found


def _yaml(text: str) -> Any:
    """YAML 1.2's plain values, in which 3e-4 is a number and off a word, through a loader that runs nothing."""
    try:
        import yaml
    except ImportError as error:
        raise InputError(
            "A .yaml file needs PyYAML: pip install 'dtql-robot[yaml]'. A .json file needs nothing."
        ) from error

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers: dict = {}  # noqa: RUF012 (as PyYAML has it)

    for tag, pattern, first in (
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
        ("int", r"[-+]?[0-9]+", list("-+0123456789")),
        ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+0123456789.")),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), first)
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
