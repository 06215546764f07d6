"""Rules of `validate` about the file as a whole: images, filter keys, versions."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from itertools import combinations

from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.datasets.validation.findings import Finding, Use, error, warning
from dtql_robot.types import image_fault


def images(reading: Reading, use: Use) -> list[Finding]:
    """Images that are not (height, width, 1 or 3) uint8; of those that nobody named, colour images alone."""
    found = []
    for key, stored in reading.available.items():
        if not stored.is_image:
            continue
        place = f"observation {key!r} in {reading.demos.source}"
        make = error if key in use.obs_keys else warning
        shape = stored.shape[1:]
        if stored.jpeg:
            found.append(
                make(
                    "image-jpeg",
                    place,
                    "the images are stored as JPEG, which is lossy and not supported.",
                    "Write the dataset with jpeg_encoding=False.",
                )
            )
        elif (fault := image_fault(shape, stored.dtype)) is not None and (key in use.obs_keys or 3 in shape):
            code = "image-dtype" if shape[-1:] == (3,) and len(shape) == 3 else "image-layout"
            found.append(make(code, place, fault))
    return found


def filter_keys(reading: Reading, use: Use) -> list[Finding]:
    """Filter keys that name missing episodes, or share episodes although one is for training, one for validation."""
    source = reading.demos.source
    found = []
    known = set(reading.names)
    for key, members in reading.filter_keys.items():
        if len(set(members)) < len(members):
            found.append(
                warning(
                    "filter-key-repeats",
                    f"mask/{key} in {source}",
                    "it names episodes twice.",
                    "Write it again with `split`.",
                )
            )
        missing = [m for m in members if known and m not in known]
        if missing:
            found.append(
                warning(
                    "filter-key-missing",
                    f"mask/{key} in {source}",
                    f"it names {missing[0]}, which is not in the file.",
                    "Write it again with `split`.",
                )
            )
    for a, b in combinations(sorted(reading.filter_keys), 2):
        apart = ("valid" in b and "train" in a) or ("test" in a and "train" in b)
        shared = set(reading.filter_keys[a]) & set(reading.filter_keys[b])
        if apart and shared and a.replace("train", "") == b.replace("valid", "").replace("test", ""):
            found.append(
                warning(
                    "filter-key-leak",
                    f"mask/{a} and mask/{b} in {source}",
                    f"they share {len(shared)} episodes, so validation is not held out.",
                    "Write them again with `split`.",
                )
            )
    return found


def installed(package: str) -> str | None:
    """Version of an installed package, None where it is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions(reading: Reading, use: Use) -> list[Finding]:
    """A simulator version other than the installed one: physics, observations and controllers changed in between."""
    demos = reading.demos
    spec, args = demos.env_spec or "", demos.env_args
    place = f"env_args in {demos.source}"
    if spec.startswith("robosuite:"):
        here, recorded = installed("robosuite"), str(args.get("env_version") or args.get("repository_version") or "")
        if here is None:
            return [
                warning(
                    "simulator-missing",
                    place,
                    f"{spec} cannot be evaluated here: robosuite is not installed.",
                    "`pip install 'dtql-robot[robosuite]'`.",
                )
            ]
        if not recorded:
            return [
                warning(
                    "simulator-version",
                    place,
                    "the file does not say which version of robosuite recorded it.",
                    f"Check with `playback` that demonstrations still succeed in the installed {here}.",
                )
            ]
        if recorded != here:
            return [
                warning(
                    "simulator-version",
                    place,
                    f"recorded with robosuite {recorded}, but {here} is installed.",
                    "Check how many demonstrations still succeed with `playback --use actions`.",
                )
            ]
        return []
    return _gymnasium_version(spec, place)


def _gymnasium_version(spec: str, place: str) -> list[Finding]:
    """Fetch, Adroit and Kitchen ids: -v0 and -v1 of Fetch are of the old simulator, not runnable today."""
    old = re.fullmatch(r"(Fetch\w+)-v([0-3])", spec)
    if old:
        return [
            warning(
                "simulator-version",
                place,
                f"{spec} belongs to an older Gymnasium-Robotics; its successor is {old[1]}-v4.",
                f"Evaluate with --env {old[1]}-v4, and check the data with `playback`.",
            )
        ]
    return []
