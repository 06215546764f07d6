"""The files of a policy's folder and what they hold.  Reading them takes no torch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse_weights

from dtql_robot.config import Config
from dtql_robot.env_record import EnvChoice, check_record
from dtql_robot.errors import InputError
from dtql_robot.policy.interface import Interface
from dtql_robot.policy.numpy_policy import NumpyPolicy, mean_of_weights
from dtql_robot.policy.plan_weights import plan_weights
from dtql_robot.run_folder import POLICY_SETTINGS, POLICY_WEIGHTS
from dtql_robot.system.json_shape import Shape, list_of, mapping, number, object_of, optional, text, whole
from dtql_robot.system.json_text import parse_json
from dtql_robot.types import Array

SETTINGS, WEIGHTS, CARD = POLICY_SETTINGS, POLICY_WEIGHTS, "README.md"
FORMAT = 1

_NORM = object_of({"shift": list_of(number), "scale": list_of(number)})
_INTERFACE = object_of(
    {
        "obs_keys": list_of(text, at_least=1),
        "obs_shapes": list_of(list_of(whole), at_least=1),
        "action_dim": whole,
        "sigma_data": number,
        "image_keys": list_of(text),
        "chunk_weights": list_of(list_of(number)),
        "obs_norm": _NORM,
        "action_norm": _NORM,
    }
)
SHAPE: Shape = object_of(
    {
        "format": whole,
        "version": text,
        "config": mapping,
        "interface": _INTERFACE,
        "networks": list_of(text, at_least=1),
        "weights_sha256": text,
        "env": optional(text),
        "env_args": mapping,
        "reference_scores": optional(list_of(number, at_least=2, at_most=2)),
    }
)
"""What policy.json must hold."""


@dataclass(frozen=True)
class PolicyFolder:
    """What a folder holds.  weights: network -> name of an array -> array."""

    path: Path
    config: Config
    interface: Interface
    weights: dict[str, dict[str, Array]]
    env: EnvChoice
    reference_scores: tuple[float, float] | None

    def in_numpy(self) -> NumpyPolicy | None:
        """The policy without torch, bit for bit what `load_policy` computes; None where acting takes noise, a critic,
        the denoiser or images."""
        if self.config.policy.act != "mean" or self.interface.image_keys:
            return None
        cfg, chunk = self.config, (self.config.data.horizon, self.interface.action_dim)
        if cfg.policy.policy != "gaussian":
            return None
        try:
            mean = mean_of_weights(
                self.weights["ema_policy"], cfg.policy.policy_activation or cfg.optim.activation, chunk
            )
            if mean is None:
                return None
            mean(np.zeros((1, self.interface.obs_dim), np.float32))
        except (KeyError, ValueError, IndexError) as error:
            raise _damaged(self.path, f"its weights are not those of its settings: {error}") from error
        return NumpyPolicy(self.interface, mean, cfg.data.executed, plan_weights(cfg.data, self.interface))


def is_policy_folder(path: Path) -> bool:
    """Whether `export --format safetensors` wrote it."""
    return (path / SETTINGS).is_file()


def read_policy_folder(path: Path) -> PolicyFolder:
    """A policy's folder, checked.  InputError where a file is missing, damaged, or of another policy."""
    try:
        found = parse_json((path / SETTINGS).read_text(encoding="utf-8"))
        content = (path / WEIGHTS).read_bytes()
    except OSError as error:
        raise _damaged(path, f"{Path(error.filename or path).name}: {error.strerror}") from error
    except ValueError as error:
        raise _damaged(path, f"{SETTINGS} is not JSON: {error}") from error
    if isinstance(found, dict) and found.get("format", FORMAT) != FORMAT:
        raise InputError(f"{path} has format {found['format']}; this version reads {FORMAT}. Update the package.")
    if wrong := SHAPE(found):
        raise _damaged(path, f"{SETTINGS} {wrong}")
    if hashlib.sha256(content).hexdigest() != found["weights_sha256"]:
        raise _damaged(path, f"{WEIGHTS} is not the file that {SETTINGS} was written with")
    try:
        config = Config.from_dict(found["config"])
        interface = Interface.from_dict(found["interface"])
        arrays = parse_weights(content)
    except InputError as error:
        raise InputError(f"{path / SETTINGS}: {error}") from error
    except (SafetensorError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise _damaged(path, str(error)) from error
    _check(path, interface, arrays)
    env = EnvChoice(found["env"], check_record(found["env_args"], f"'env_args' in {path / SETTINGS}"), source=str(path))
    scores = found["reference_scores"]
    return PolicyFolder(
        path, config, interface, by_network(arrays), env, None if scores is None else (scores[0], scores[1])
    )


def load_numpy_policy(path: str | Path) -> NumpyPolicy:
    """The policy of a folder that `export --format safetensors` wrote, without torch: NumPy alone computes its actions.

    InputError where it takes more than a mean of low-dimensional observations: `load_policy` has all policies.
    """
    folder = Path(path)
    if not is_policy_folder(folder):
        raise InputError(f"{folder} contains no {SETTINGS}; pass a folder written by `export --format safetensors`.")
    policy = read_policy_folder(folder).in_numpy()
    if policy is None:
        raise InputError(
            f"{folder} needs more than the mean of an MLP to act; use `dtql_robot.load_policy`, which uses torch."
        )
    return policy


def by_network(arrays: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """ "network/array" -> array, as network -> array's name -> array."""
    found: dict[str, dict[str, Array]] = {}
    for name, array in arrays.items():
        network, _, rest = name.partition("/")
        found.setdefault(network, {})[rest] = array
    return found


def _check(path: Path, face: Interface, arrays: Mapping[str, Array]) -> None:
    """InputError where numbers are not finite, or are not as many as the interface says."""
    bad = next((name for name, array in arrays.items() if not np.isfinite(array).all()), None)
    if bad is not None:
        raise _damaged(path, f"{bad} is NaN or infinite")
    names = set(face.obs_keys)
    if not len(names) == len(face.obs_keys) == len(face.obs_shapes) or not set(face.image_keys) <= names:
        raise _damaged(path, "observations and their shapes do not belong together")
    sizes = dict(zip(face.obs_keys, map(math.prod, face.obs_shapes), strict=True))
    low = sum(sizes[key] for key in face.low_keys)
    for name, norm, size in (("obs_norm", face.obs_norm, low), ("action_norm", face.action_norm, face.action_dim)):
        if (len(norm.shift), len(norm.scale)) != (size, size):
            raise _damaged(path, f"{name} has {len(norm.shift)} entries, expected {size}")


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is damaged or no policy ({reason}); export it again.")
