"""The reliability campaign: `make campaign`, or `python benchmarks/campaign --files 2000 --kills 100 --seed 0`.

Damages demonstration files of every format, kills commands at random moments, fills disks, breaks simulators and lays
hostile files and folders; counts how often each promise was put to the test and how often it broke.  The same seed
damages the same files in the same way; moments of kills depend on the machine's speed too.  Prints a table, and writes
it with every broken case to --json.  Exit code 1 if a promise broke.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(1, str(HERE.parents[1]))

import trial  # noqa: E402


def table(tallies: list[trial.Tally]) -> str:
    """A row a promise: tried, held, broke."""
    rows = ["| promise | tried | held | broke |", "|---|---|---|---|"]
    for t in tallies:
        promise = f"{t.promise} ({t.note})" if t.note else t.promise
        rows.append(f"| {promise} | {t.tried} | {t.tried - len(t.broken)} | {len(t.broken)} |")
    return "\n".join(rows)


def part(name: str, options: argparse.Namespace) -> list[trial.Tally]:
    """One part of the campaign, in this process."""
    if name.startswith("files"):
        import files

        half = int(name.removeprefix("files"))
        return files.campaign(options.files // 2, 2 * options.seed + half)
    if name == "kills":
        import kills

        return kills.campaign(options.kills, options.seed)
    if name == "numbers":
        import numbers_given

        return numbers_given.campaign(options.numbers, options.seed)
    if name == "words":
        import words_given

        return words_given.campaign(options.words, options.seed)
    import surroundings

    first = name == "surroundings0"
    return surroundings.campaign([p for p in surroundings.PARTS if (p == "simulators") == first])


PARTS = ("files0", "files1", "numbers", "words", "surroundings1", "surroundings0", "kills")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000, help="damaged files")
    parser.add_argument("--kills", type=int, default=100, help="commands that are killed")
    parser.add_argument("--numbers", type=int, default=500, help="extreme numbers on the command line")
    parser.add_argument("--words", type=int, default=500, help="misused command lines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=2, help="parts that run side by side")
    parser.add_argument("--json", type=Path, help="write the table and each broken case")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        tallies = part(options.part, options)
        print(json.dumps([asdict(t) for t in tallies]))
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and hands that on
    began = time.monotonic()
    waiting = [name for name in PARTS if getattr(options, name.rstrip("01"), True)]
    running: dict[str, subprocess.Popen[str]] = {}
    found: dict[str, list[trial.Tally]] = {}
    while waiting or running:
        while waiting and len(running) < options.at_once:
            name = waiting.pop()
            words = [sys.executable, str(HERE), "--part", name]
            words += ["--files", str(options.files), "--kills", str(options.kills), "--seed", str(options.seed)]
            words += ["--numbers", str(options.numbers), "--words", str(options.words)]
            running[name] = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            print(f"{time.monotonic() - began:5.0f} s  {name} begins", file=sys.stderr)
        done = next((n for n, p in running.items() if p.poll() is not None), None)
        if done is None:
            time.sleep(0.5)
            continue
        process = running.pop(done)
        assert process.stdout is not None
        if process.returncode:
            print(f"the part {done} of the campaign itself failed", file=sys.stderr)
            return 1
        found[done] = [trial.Tally(**t) for t in json.loads(process.stdout.read().splitlines()[-1])]
        print(f"{time.monotonic() - began:5.0f} s  {done} is done", file=sys.stderr)
    tallies = merged([t for name in PARTS for t in found.get(name, [])])
    print(table(tallies))
    for t in tallies:
        for what in t.broken:
            print(f"broke: {what}")
    seconds = round(time.monotonic() - began)
    print(f"{seconds} s, seed {options.seed}")
    if options.json:
        content = {"seed": options.seed, "seconds": seconds, "tallies": [asdict(t) for t in tallies]}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return int(any(t.broken for t in tallies))


def merged(tallies: list[trial.Tally]) -> list[trial.Tally]:
    """Tallies of one promise as one."""
    by_promise: dict[str, trial.Tally] = {}
    for t in tallies:
        known = by_promise.setdefault(t.promise, trial.Tally(t.promise, note=t.note))
        known.tried += t.tried
        known.broken += t.broken
    return list(by_promise.values())


if __name__ == "__main__":
    sys.exit(main())
