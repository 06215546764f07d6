"""`train` of one seed on a cluster: `launch.py dtql_robot.commands.seed_run OUT DATA`, options on standard input."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from pathlib import Path

from dtql_robot.commands import train
from dtql_robot.failures import explain
from dtql_robot.run_folder import CHECKPOINT


def main() -> int:
    """Train, from a checkpoint where there is one, and say what went wrong in one sentence.  Returns the exit code."""
    options: train.Options = pickle.load(sys.stdin.buffer)  # from the process that started this one
    out = Path(sys.argv[1])
    try:
        train.run(replace(options, out=out, data=sys.argv[2], resume=options.resume or (out / CHECKPOINT).exists()))
    except BaseException as error:
        explained = explain(error)
        if explained is None:
            raise
        print(explained[0], file=sys.stderr)
        return explained[1]
    return 0


if __name__ == "__main__":
    sys.exit(main())
