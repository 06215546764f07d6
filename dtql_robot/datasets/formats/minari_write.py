"""Write demonstrations as a Minari dataset, by means of the `minari` package itself."""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.episode_checks import Place, check_alike, check_episode
from dtql_robot.datasets.formats.hdf5_write import check_room
from dtql_robot.datasets.formats.location import MAIN_FILE
from dtql_robot.datasets.formats.minari_names import is_dataset_id, minari_root
from dtql_robot.datasets.formats.minari_read import (
    HAS_FINAL_OBS,
    HAS_MASKS,
    OBS_KEY,
    OWN_ATTRS,
    OWN_ENV_ARGS,
    OWN_ENV_SPEC,
    OWN_FILE_ATTRS,
    PLAIN_EXTRAS,
)
from dtql_robot.datasets.formats.robomimic_layout import FOUND
from dtql_robot.env_record import EVAL_SPEC
from dtql_robot.errors import InputError
from dtql_robot.system.files import expanded, new_folder
from dtql_robot.types import Array, Demonstrations, Episode


def save_minari(
    demos: Demonstrations,
    path: str | Path,
    *,
    dataset_id: str | None = None,
    overwrite: bool = False,
    description: str | None = None,
    author: str | None = None,
) -> Path:
    """Write `demos` to the Minari dataset folder `path` (path/data/main_data.hdf5, path/data/metadata.json).

    `minari.MinariDataset(path / "data")` opens it, and so does `minari.load_dataset(dataset_id)` where `path` is
    $MINARI_DATASETS_PATH/dataset_id.  dataset_id: by default the path below $MINARI_DATASETS_PATH (or
    ~/.minari/datasets), elsewhere the folder's name; it must end in -v0 or the like.
    Success becomes infos/success with T + 1 rows, the first False; masks and extras become infos.  The environment's
    record and other attributes of the source go along in metadata.json, so that converting back to robomimic loses
    nothing. If an episode has no final observation, the last one is repeated, since Minari expects T + 1, and an
    episode attribute says so. Raises InputError without the `minari` package, when `path` exists and `overwrite` is not
    set (an existing Minari dataset is replaced with it), or when an episode is malformed; nothing is left behind then.
    """
    path = expanded(Path(path)).absolute()  # minari joins a relative one to itself
    for episode in demos.episodes:
        check_episode(episode, path.name)
    check_alike(demos.episodes, path.name)
    record = {
        "dataset_id": minari_id(path, dataset_id),
        "description": "Robot demonstrations.",
        "author": {"dtql-robot"},
        "minari_version": _minari().__version__,
        **_described(demos.attrs),
        **({} if description is None else {"description": description}),
        **({} if author is None else {"author": {author}}),
    }
    if demos.env_spec:
        record[OWN_ENV_SPEC] = demos.env_spec
    if demos.env_args:
        record[OWN_ENV_ARGS] = json.dumps(demos.env_args)
    if isinstance(demos.env_args.get(EVAL_SPEC), dict):
        record[EVAL_SPEC] = json.dumps(demos.env_args[EVAL_SPEC])
    record[OWN_FILE_ATTRS] = json.dumps(demos.attrs)
    with new_folder(path, f"data/{MAIN_FILE}", overwrite) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unset optional metadata
        check_room(temporary, _size(demos))
        _write(demos, temporary / "data", record, path.name)
    return path


def _size(demos: Demonstrations) -> int:
    """About how many bytes Minari needs for the data: it fails without a word that helps where the disk fills."""
    size = 0
    for episode in demos.episodes:
        arrays = [*episode.obs.values(), episode.actions, episode.rewards, *map(np.asarray, episode.extras.values())]
        size += sum(array.nbytes for array in arrays) + 4096 * (len(arrays) + 2)
    return size


def _described(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """What Minari has a place for among the source's attributes."""
    found: dict[str, Any] = {
        k: attrs[k] for k in ("description", "code_permalink", "algorithm_name") if isinstance(attrs.get(k), str)
    }
    for key in ("author", "author_email"):
        names = [attrs[key]] if isinstance(attrs.get(key), str) else attrs.get(key)
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            found[key] = set(names)
    return found


def _minari() -> Any:
    try:
        import minari
    except ImportError as error:
        raise InputError('Writing Minari datasets needs the minari package: `pip install "minari[hdf5]"`.') from error
    return minari


def minari_id(path: Path, dataset_id: str | None = None) -> str:
    """The dataset's id: the given one, or the folder's name.  InputError where Minari would refuse it."""
    if dataset_id is None:
        absolute, root = path.absolute(), minari_root().absolute()
        dataset_id = absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else path.name
    if not is_dataset_id(dataset_id):
        raise InputError(
            f"{dataset_id!r} is not a valid Minari dataset ID; expected NAME-vN: letters, digits, - and _, "
            f"ending in a version. Name the folder e.g. {path.name.split('.')[0]}-v0."
        )
    return dataset_id


def _write(demos: Demonstrations, folder: Path, record: dict[str, Any], name: str) -> None:
    from gymnasium import spaces
    from minari.dataset.minari_storage import MinariStorage

    actions = spaces.Box(-np.inf, np.inf, (demos.action_dim,), np.float32)
    observations = _space(_nested(demos.episodes[0].obs, Place(demos.episodes[0].name, name)))
    options: dict[str, Any] = {"env_spec": _gym_spec(demos), "data_format": "hdf5"}
    if "jpeg_encoding" in inspect.signature(MinariStorage.new).parameters:
        options["jpeg_encoding"] = False
    elif any(v.dtype == np.uint8 for v in demos.episodes[0].obs.values()):  # minari 0.5.3, on Python 3.10
        raise InputError(
            f"minari {_minari().__version__} stores images as lossy JPEG only; it is the newest for this "
            "Python. Use Python 3.11 or later, or write robomimic."
        )
    storage = MinariStorage.new(folder, observations, actions, **options)
    storage.update_metadata(record)
    storage.update_episodes(_buffer(e, Place(e.name, name)) for e in demos.episodes)
    storage.update_episode_metadata([_episode_attrs(e) for e in demos.episodes])


def _gym_spec(demos: Demonstrations) -> Any:
    """Gymnasium's EnvSpec: the source's own record if it is one, else the registered environment, else None."""
    import gymnasium
    from gymnasium.envs.registration import EnvSpec

    try:
        recorded = demos.env_args.get("env_spec", demos.env_args)  # as robomimic files keep it
        if isinstance(recorded, dict) and {"id", "entry_point"} <= recorded.keys():
            return EnvSpec.from_json(json.dumps({k: v for k, v in recorded.items() if k != EVAL_SPEC}))
        if demos.env_spec is None:
            return None
        return _registered(demos.env_spec.partition("+")[0], demos.env_args)
    except (gymnasium.error.Error, ImportError, TypeError, ValueError, KeyError):
        return None  # not an environment of Gymnasium; the metadata names it all the same


def _registered(env_id: str, env_args: Mapping[str, Any]) -> Any:
    """The registered environment with the recorded arguments and time limit, so that `minari` can make it."""
    import gymnasium

    with contextlib.suppress(ImportError):
        import gymnasium_robotics

        gymnasium.register_envs(gymnasium_robotics)
    spec = copy.deepcopy(gymnasium.spec(env_id))
    arguments = dict(env_args.get("env_kwargs") or {})
    spec.max_episode_steps = arguments.pop("max_episode_steps", spec.max_episode_steps)
    spec.kwargs.update(arguments)
    return spec


def _nested(obs: Mapping[str, Any], place: Place) -> Any:
    """{"a/b": x} -> {"a": {"b": x}}; the single key "observation" -> x."""
    if tuple(obs) == (OBS_KEY,):
        return obs[OBS_KEY]
    tree: dict[str, Any] = {}
    for key, value in obs.items():
        *parents, leaf = key.split("/")
        node = tree
        for part in parents:
            node = node.setdefault(part, {}) if isinstance(node, dict) else node
        if not isinstance(node, dict) or leaf in node or not all((*parents, leaf)):
            raise place.error(f"{key!r} is not a valid name", "Rename it.")
        node[leaf] = value
    return tree


def _space(tree: Any) -> Any:
    from gymnasium import spaces

    if isinstance(tree, dict):
        return spaces.Dict({k: _space(v) for k, v in tree.items()})
    low, high = (0, 255) if tree.dtype == np.uint8 else (-np.inf, np.inf)
    return spaces.Box(low, high, tree.shape[1:], tree.dtype.type)


def _buffer(episode: Episode, place: Place) -> Any:
    from minari.data_collector import EpisodeBuffer

    steps = len(episode)
    terminations, truncations = np.zeros((2, steps), bool)
    terminations[-1], truncations[-1] = episode.terminated, episode.truncated
    infos: dict[str, Array] = {}
    for key, value in episode.extras.items():
        name = key.removeprefix("infos/")
        taken = {"success": episode.success, "masks": episode.masks}.get(name) is not None
        if name in infos or taken:
            raise place.error(f"extra arrays {name!r} and 'infos/{name}' would get the same name")
        infos[name] = value
    if episode.success is not None:
        infos["success"] = np.concatenate([[False], np.asarray(episode.success, bool).reshape(-1)])
    if episode.masks is not None:
        infos["masks"] = np.asarray(episode.masks, bool).reshape(-1)
    seed = episode.attrs.get("seed")
    return EpisodeBuffer(
        seed=seed if isinstance(seed, int) else None,
        observations=_nested({k: _with_final(episode, k) for k in episode.obs}, place),
        actions=np.asarray(episode.actions, np.float32),
        rewards=np.asarray(episode.rewards, np.float32).reshape(-1),
        terminations=terminations,
        truncations=truncations,
        infos=_nested(infos, place) if infos else None,
    )


def _with_final(episode: Episode, key: str) -> Array:
    value = episode.obs[key]
    final = value[-1] if episode.final_obs is None else episode.final_obs[key]
    return np.concatenate([value, np.asarray(final, value.dtype)[None]])


def _episode_attrs(episode: Episode) -> dict[str, Any]:
    attrs = {k: v for k, v in episode.attrs.items() if not (k == "seed" and isinstance(v, int)) and k not in FOUND}
    plain = [key for key in episode.extras if not key.startswith("infos/")]
    return {
        HAS_FINAL_OBS: episode.final_obs is not None,
        **({HAS_MASKS: True} if episode.masks is not None else {}),
        **({OWN_ATTRS: json.dumps(attrs)} if attrs else {}),
        **({PLAIN_EXTRAS: json.dumps(plain)} if plain else {}),
    }
