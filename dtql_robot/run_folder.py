"""A run folder: the names of its files, and what may be read from them without torch.

Every file in it appears whole or not at all.  What is read is checked here, once, for all who read it.
"""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict, cast

from dtql_robot import __version__
from dtql_robot.config import Config
from dtql_robot.env_record import check_record, choose_env, recorded_scores
from dtql_robot.errors import InputError
from dtql_robot.result_shape import evaluation
from dtql_robot.run_name import CHECKPOINT as CHECKPOINT
from dtql_robot.run_name import LAST, checkpoint_file, of_checkpoint, split_checkpoint
from dtql_robot.system.json_shape import (
    Shape,
    list_of,
    mapping,
    number,
    object_of,
    optional,
    text,
    values_of,
    whole,
)
from dtql_robot.system.json_text import parse_json
from dtql_robot.types import Demonstrations

CONFIG, METRICS, DATASET, TRACKED = "config.json", "metrics.csv", "dataset.json", "trackers.json"
"""What training writes beside its checkpoints."""

RESULTS, SEEDS, CURVES, REPORT, CLIPS = "results.json", "seeds.json", "curves.png", "report.html", "clips"
"""What evaluation writes."""

POLICY_SETTINGS, POLICY_WEIGHTS = "policy.json", "policy.safetensors"
"""What an exported policy's folder has instead of what training writes."""


class RunSettings(TypedDict):
    """The content of config.json.

    data, env, env_args  where the demonstrations came from, and the environment to evaluate in (None: not known)
    config               `Config.to_dict()`, with all that was left to the data decided
    versions             package -> version
    decisions            what was decided from the data and why, a sentence each
    reference_scores     the returns that count as 0 and 100 in a normalized score, where the data brings them (Minari's
                         `ref_min_score` and `ref_max_score`)
    init_from, init_norm  the run that training began with, and whether its scalings were kept ("keep") or not ("refit")
    """

    data: str
    env: str | None
    env_args: dict[str, Any]
    config: dict[str, Any]
    versions: dict[str, str]
    decisions: list[str]
    reference_scores: list[float] | None
    init_from: str | None
    init_norm: str | None


def _scale(value: Any) -> str | None:
    """[what counts as 0, what counts as 100]."""
    wrong = list_of(number, at_least=2, at_most=2)(value)
    return wrong or (None if value[0] < value[1] else f"is {value}, expected the smaller number first")


SETTINGS = object_of(
    {"data": text, "env": optional(text), "env_args": mapping, "config": mapping},
    {
        "versions": values_of(text),
        "decisions": list_of(text),
        "reference_scores": optional(_scale),
        "init_from": optional(text),
        "init_norm": optional(text),
    },
)

COLUMN = object_of(dict.fromkeys(("min", "max", "mean", "std"), number), {"histogram": optional(list_of(number))})
OBSERVATION = object_of({"shape": list_of(whole), "dtype": text, "min": number, "max": number})
SUMMARY = object_of(
    {},
    {
        "obs": optional(values_of(OBSERVATION)),
        "action": optional(list_of(COLUMN)),
        "warnings": optional(list_of(text)),
        "notes": optional(list_of(text)),
    },
)
"""What of dataset.json is shown in tables."""


def describe(demos: Demonstrations, cfg: Config, env: str | None, decisions: Sequence[str] = ()) -> RunSettings:
    """What config.json is to hold.  env: the environment to evaluate in, None for the one that the data names."""
    chosen = choose_env(env, demos.env_spec, demos.env_args)
    scores = recorded_scores(demos.attrs)
    return {
        "data": demos.source,
        "env": chosen.spec,
        "env_args": chosen.env_args,
        "config": cfg.to_dict(),
        "versions": {
            "dtql_robot": __version__,
            "torch": metadata.version("torch"),
            "python": platform.python_version(),
        },
        "decisions": list(decisions),
        "reference_scores": None if scores is None else list(scores),
        "init_from": None,
        "init_norm": None,
    }


def read_config(run: Path) -> RunSettings:
    """The run's config.json.  InputError where there is none, or where it is not what `train` writes."""
    path = run / CONFIG
    if not path.is_file():
        refuse_several(run)
        raise InputError(
            f"{run} is not a run folder: it contains no {CONFIG}; pass the folder that `train --out` wrote."
        )
    found = _read_json(path, SETTINGS, "restore it or train again")
    config = as_trained(found["config"])[0]
    try:
        Config.from_dict(config)
    except InputError as e:
        raise InputError(f"{path}: {e}") from e
    except (TypeError, ValueError, AttributeError) as e:
        raise InputError(f"{path} holds settings of the wrong type ({e}); restore it or train again.") from e
    env_args = check_record(found["env_args"], f"'env_args' in {path}")
    missing = {"reference_scores": None, "init_from": None, "init_norm": None}
    usual: dict[str, Any] = {"versions": {}, "decisions": [], **missing}
    return cast(RunSettings, {**usual, **found, "config": config, "env_args": env_args})


def settings_of(run: Path) -> RunSettings:
    """`read_config`, or of an exported policy's folder what it tells of that: no data, and nothing of the training."""
    if (run / CONFIG).is_file() or not (run / POLICY_SETTINGS).is_file():
        return read_config(run)
    shape = object_of({"config": mapping, "env": optional(text), "env_args": mapping}, {"version": text})
    found = _read_json(run / POLICY_SETTINGS, shape, "export the policy again", "is not what `export` wrote")
    return {
        "data": "",
        "env": found["env"],
        "env_args": check_record(found["env_args"], f"'env_args' in {run / POLICY_SETTINGS}"),
        "config": found["config"],
        "versions": {"dtql_robot": found["version"]} if "version" in found else {},
        "decisions": [],
        "reference_scores": None,
        "init_from": None,
        "init_norm": None,
    }


def checkpoint_digest(run: Path, name: str = LAST) -> str:
    """What tells a checkpoint of the run, or an exported policy, from any other; empty where there is none."""
    exported = run / POLICY_WEIGHTS
    try:
        with open(exported if exported.is_file() else checkpoint_file(run, name), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()[:16]
    except OSError:
        return ""


def as_trained(values: Any) -> tuple[Any, str | None]:
    """The config of a run, and what had to be changed in it.

    Version 0.1.0 allowed to act with noise that training never used; such runs act by their mean.
    """
    policy = values.get("policy") if isinstance(values, dict) else None
    if not isinstance(policy, dict) or _is_config({"policy": policy}):
        return values, None
    by_mean = {**policy, "act": "mean"}
    if not _is_config({"policy": by_mean}):
        return values, None  # something else is wrong with it
    note = (
        f"was trained to act={policy['act']}, but nothing in its loss trains the policy's noise: it acts by its mean."
    )
    return {**values, "policy": by_mean}, note


def _is_config(values: dict[str, Any]) -> bool:
    try:
        Config.from_dict(values)
    except (TypeError, ValueError, AttributeError):
        return False
    return True


def read_results(path: Path) -> dict[str, Any]:
    """The content of a run folder's results.json, or of the file itself.

    InputError where there is none, or where it is not what `eval` writes.
    """
    folder, name = split_checkpoint(path)
    file = folder / of_checkpoint(RESULTS, name) if folder.is_dir() else path
    if not file.is_file():
        refuse_several(folder)
        raise InputError(f"{folder} contains no {of_checkpoint(RESULTS, name)}; run `dtql-robot eval {path}` first.")
    return _read_json(file, evaluation, "evaluate again", "is not the result of an evaluation")


def read_summary(run: Path) -> dict[str, Any] | None:
    """What dataset.json says of the run's demonstrations; None where it is missing or damaged, as no work needs it."""
    try:
        return _read_json(run / DATASET, SUMMARY, "")
    except InputError:
        return None


def _read_json(path: Path, shape: Shape, remedy: str, verdict: str = "is not what `train` wrote") -> dict[str, Any]:
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}.") from e
    except ValueError as e:  # no JSON, no UTF-8, or numbers of thousands of digits
        raise InputError(f"{path} {verdict} (no valid JSON: {e}); {remedy}.") from e
    if wrong := shape(found):
        raise InputError(f"{path} {verdict} (it {wrong}); {remedy}.")
    return cast(dict[str, Any], found)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The whole rows of metrics.csv as numbers, in the order of their steps.

    A row that was cut off, or is no row of numbers, is left out; of a file that is missing or no table nothing is left.
    """
    try:
        lines = path.read_bytes().decode("utf-8", errors="replace").splitlines(keepends=True)
    except OSError:
        return []
    names = lines[0].strip().split(",") if lines else []
    rows: list[dict[str, float]] = []
    for line in lines[1:]:
        fields = line.strip().split(",")
        if not line.endswith("\n") or len(fields) != len(names):
            continue
        try:
            row = dict(zip(names, map(float, fields), strict=True))
        except ValueError:
            continue
        step = row.get("step", math.nan)
        if step.is_integer() and step > (rows[-1]["step"] if rows else -1):
            rows.append(row)
    return rows


def seed_folder(out: Path, seed: int) -> Path:
    """The run folder of one of several seeds that were trained into `out`."""
    return out / f"seed{seed}"


def seed_runs(out: Path) -> dict[int, Path]:
    """Seed -> run folder, where `out` holds the runs of several seeds; empty where it is a run folder itself."""
    if (out / CONFIG).exists():
        return {}
    found = {p.parent.name.removeprefix("seed"): p.parent for p in out.glob(f"seed*/{CONFIG}")}
    return {int(seed): found[seed] for seed in sorted((s for s in found if s.isascii() and s.isdecimal()), key=int)}


def refuse_several(run: Path) -> None:
    """InputError where a folder that should be one run's holds those of several seeds."""
    if runs := seed_runs(run):
        raise InputError(f"{run} holds the runs of {len(runs)} seeds; name one of them: {next(iter(runs.values()))}.")


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"data": {"horizon": 8}} -> {"data.horizon": 8}."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
