"""Published data sets by name, and where their files are: the one table of addresses.

"robomimic:lift/mh/low_dim" and "d4rl:door-human-v1" are listed here; OGBench, Minari and LeRobot have more than can be
listed, so that their names are only checked for their form.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dtql_robot.datasets.formats.ogbench_names import recording_name
from dtql_robot.errors import InputError, did_you_mean

HUB = "https://huggingface.co"
HUB_VARIABLE = "HF_ENDPOINT"  # Hugging Face's own
MINARI_REPOSITORIES = "farama-minari"
_ROBOMIMIC = f"{HUB}/datasets/robomimic/robomimic_datasets/resolve/main"
_ROBOMIMIC_141 = "http://downloads.cs.stanford.edu/downloads/rt_benchmark"
_BERKELEY = "https://rail.eecs.berkeley.edu/datasets"

SCHEMES = ("robomimic", "d4rl", "ogbench", "minari", "lerobot")
"""What stands before the colon of a published data set's name."""


@dataclass(frozen=True)
class PublishedFile:
    """One file of a data set.

    name          what the user calls it, without the scheme
    base, path    its address is base/path; a mirror replaces the base
    kept          its place below the folder of the scheme in the cache
    size, sha256  where they are known
    env           the environment that it was recorded in, where the file itself does not name it
    """

    scheme: str
    name: str
    base: str
    path: str
    kept: str
    size: int | None = None
    sha256: str | None = None
    env: str | None = None

    @property
    def url(self) -> str:
        """Where to fetch it, from the mirror if one is set."""
        return f"{base_url(self.scheme, self.base)}/{self.path}"


def mirror_variable(scheme: str) -> str:
    """The environment variable that names a mirror: of robomimic, DTQL_ROBOMIMIC_URL."""
    return f"DTQL_{scheme.upper()}_URL"


def base_url(scheme: str, usual: str) -> str:
    """The mirror that the user has set for the scheme's files, else the usual base."""
    mirror = os.environ.get(mirror_variable(scheme))
    hub = os.environ.get(HUB_VARIABLE)
    if not mirror and hub and usual.startswith(HUB):
        mirror = hub.rstrip("/") + usual.removeprefix(HUB)
    return (mirror or usual).rstrip("/")


def split_name(text: str) -> tuple[str, str] | None:
    """("robomimic", "lift/mh/low_dim") for "robomimic:lift/mh/low_dim"; None for anything but a published name."""
    scheme, colon, name = text.partition(":")
    return (scheme, name) if colon and scheme in SCHEMES else None


def is_published(text: str) -> bool:
    """Whether `text` is a published data set's name, such as "d4rl:door-human-v1"."""
    return split_name(text) is not None


def published_file(scheme: str, name: str) -> PublishedFile:
    """The file that a name of robomimic, D4RL or OGBench means.  InputError, with names that are alike, for others."""
    if scheme == "ogbench":
        return _ogbench(name)
    table = listed(scheme)
    found = table.get(name)
    if found is not None:
        return found
    if scheme == "robomimic" and re.search(r"/image", name):
        task = "/".join(name.split("/")[:2])
        raise InputError(
            f"robomimic publishes no images of {task}: they are drawn from its states. Use robomimic:{task}/demo with "
            "`dtql-robot convert robomimic:TASK/TYPE/demo OUT.hdf5 --cameras agentview robot0_eye_in_hand`."
        )
    hint = did_you_mean(name, table, n=3, otherwise=f"`dtql-robot data list {scheme}` lists all.")
    raise InputError(f"{scheme} has no data set {name!r}. {hint}")


@functools.cache
def listed(scheme: str) -> Mapping[str, PublishedFile]:
    """Name -> file of a scheme with a fixed list, other spellings included; empty for the others."""
    make = {"robomimic": _robomimic, "d4rl": _d4rl}.get(scheme)
    return {} if make is None else dict(make())


def _robomimic() -> Iterator[tuple[str, PublishedFile]]:
    """A name without a version means v15, the files of robosuite 1.5; v141 are those of 1.4."""
    human = {"ph": ("lift", "can", "square", "transport", "tool_hang"), "mh": ("lift", "can", "square", "transport")}
    generated = ("low_dim_sparse", "low_dim_dense", "demo")
    for source, tasks in {**human, "mg": ("lift", "can"), "paired": ("can",)}.items():
        for task in tasks:
            for kind in generated if source == "mg" else ("low_dim", "demo"):
                for version, base in (("v15", f"{_ROBOMIMIC}/v1.5"), ("v141", _ROBOMIMIC_141)):
                    name = f"{task}/{source}/{kind}_{version}"
                    file = PublishedFile("robomimic", name, base, f"{name}.hdf5", f"{name}.hdf5")
                    if version == "v15":
                        yield f"{task}/{source}/{kind}", file
                        if kind == "demo":
                            yield f"{task}/{source}/raw", file
                    yield name, file
    for task in ("lift", "can", "tool_hang"):
        name = f"{task}_real/ph/demo"
        yield name, PublishedFile("robomimic", name, _ROBOMIMIC_141, f"{name}.hdf5", f"{name}.hdf5")


_DOOR = {"size": 3118318, "sha256": "9df6345e28fcec8f44c0af4d6dacc6ef996958b39b568f53df85cf41dd03412b"}
_KNOWN: dict[str, dict[str, Any]] = {"door-human-v0": _DOOR}
_MUJOCO = {"halfcheetah": "HalfCheetah-v4", "hopper": "Hopper-v4", "walker2d": "Walker2d-v4", "ant": None}


def _d4rl() -> Iterator[tuple[str, PublishedFile]]:
    for name, path, env in (*_adroit(), *_locomotion(), *_kitchen(), *_mazes()):
        yield (
            name,
            PublishedFile(
                "d4rl", name, f"{_BERKELEY}/offline_rl", path, f"{name}.hdf5", env=env, **_KNOWN.get(name, {})
            ),
        )


def _adroit() -> Iterator[tuple[str, str, str]]:
    first = {"human": "{}-v0_demos_clipped", "cloned": "{}-demos-v0-bc-combined", "expert": "{}-v0_expert_clipped"}
    for task in ("pen", "hammer", "door", "relocate"):
        env = f"AdroitHand{task.capitalize()}-v1"
        for kind, former in first.items():
            yield f"{task}-{kind}-v1", f"hand_dapg_v1/{task}-{kind}-v1.hdf5", env
            yield f"{task}-{kind}-v0", f"hand_dapg/{former.format(task)}.hdf5", env


def _locomotion() -> Iterator[tuple[str, str, str | None]]:
    for robot, env in _MUJOCO.items():
        for kind in ("random", "medium", "expert", "medium-replay", "full-replay", "medium-expert"):
            for version in ("v2", "v1"):
                file = f"{robot}_{kind.replace('-', '_')}-{version}.hdf5"
                yield f"{robot}-{kind}-{version}", f"gym_mujoco_{version}/{file}", env


def _kitchen() -> Iterator[tuple[str, str, str]]:
    tasks = {
        "complete": "mini_kitchen_microwave_kettle_light_slider",
        "partial": "kitchen_microwave_kettle_light_slider",
        "mixed": "kitchen_microwave_kettle_bottomburner_light",
    }
    for kind, file in tasks.items():
        name = f"kitchen-{kind}-v0"
        yield name, f"kitchen/{file}-v0.hdf5", f"d4rl:{name}"


def _mazes() -> Iterator[tuple[str, str, str | None]]:
    """Of maze2d there is no environment to name: its mazes, starts and goals are not those of today's PointMaze."""
    sizes = {"umaze": "u-maze", "medium": "big-maze", "large": "hardest-maze"}
    for size, maze in sizes.items():
        for kind in ("diverse",) if size == "umaze" else ("play", "diverse"):
            goals = f"noisy_multistart_True_multigoal_{kind == 'diverse'}"
            path = f"ant_maze_v2/Ant_maze_{maze}_{goals}_sparse_fixed.hdf5"
            name = f"antmaze-{size}-{kind}-v2"
            yield name, path, f"d4rl:{name}"
        yield f"maze2d-{size}-v1", f"maze2d/maze2d-{size}-sparse-v1.hdf5", None
        yield f"maze2d-{size}-dense-v1", f"maze2d/maze2d-{size}-dense-v1.hdf5", None
    fixed = "ant_maze_v2/Ant_maze_u-maze_noisy_multistart_False_multigoal_False_sparse_fixed.hdf5"
    yield "antmaze-umaze-v2", fixed, "d4rl:antmaze-umaze-v2"


OGBENCH_EXAMPLES = tuple(
    f"{task}-{kind}-v0"
    for task in ("cube-single", "cube-double", "cube-triple", "cube-quadruple", "scene", "puzzle-3x3", "puzzle-4x4")
    for kind in ("play", "noisy")
)
"""Names that `data list` shows; any other of OGBench's can be fetched as well."""


def _ogbench(name: str) -> PublishedFile:
    """Of a single task, the recording that it is a part of."""
    file = f"{recording_name(name)}.npz"
    return PublishedFile("ogbench", name, f"{_BERKELEY}/ogbench", file, file)


_REPOSITORY = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")


def repository_of(name: str) -> tuple[str, str]:
    """("lerobot/pusht", "main") for "lerobot/pusht"; "@v2.1" behind it names another revision.  Else InputError."""
    found = _REPOSITORY.fullmatch(name)
    if found is None or ".." in name:
        raise InputError(
            f"{name!r} is not a data set on the hub; expected lerobot:ORGANISATION/NAME, e.g. lerobot:lerobot/pusht."
        )
    return found["repository"], found["revision"] or "main"
