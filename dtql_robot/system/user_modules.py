"""Modules in the working folder, which nothing imports but an environment that the user names."""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Sequence


def trust_named_module(arguments: Sequence[str], families: Callable[[], Sequence[str]]) -> None:
    """Let `--env my_env:MyEnv-v0` find my_env.py or my_env/ in the working folder, if no installed module has its name.

    That folder then stands last on the path, so that nothing in it takes the place of anything else.
    arguments: of the command line.  Only what is typed there is trusted, never a name that a file or a run records.
    families: gives what stands before a colon and is no module.
    """
    spaced = (value for flag, value in itertools.pairwise(arguments) if flag == "--env")
    joined = (argument.removeprefix("--env=") for argument in arguments if argument.startswith("--env="))
    for spec in (*spaced, *joined):
        module, colon, _ = spec.partition("+")[0].partition(":")
        name, here = module.partition(".")[0], os.getcwd()
        if not colon or module in families() or not name.isidentifier() or here in sys.path:
            continue
        if any(os.path.exists(os.path.join(here, found)) for found in (f"{name}.py", name)) and not _installed(name):
            sys.path.append(here)


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
