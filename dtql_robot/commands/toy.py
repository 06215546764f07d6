"""`dtql-robot toy`: the paper's 2-D bandits, trust region against KL, as one figure and a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train trust-region and KL policies on five 2-D bandits, and draw what they do.

    Writes toy.png and toy.json into --out. Takes a few minutes on a CPU.
    """

    out: Path = Path("runs/toy")
    """Folder to write."""
    steps: int = 2000
    """Updates per policy. The first third trains the denoiser and the critics only."""
    seed: int = 0
    """Seed for data, initial weights and noise."""


def run(options: Options) -> None:
    """Train on the bandits, draw the figure and print the table."""
    from dtql_robot.experiments import bandits as toy
    from dtql_robot.system.files import check_writable, expanded, new_file, write_json
    from dtql_robot.system.progress import progress_bar

    picture, numbers = (expanded(options.out) / f"toy.{ending}" for ending in ("png", "json"))
    for path in (picture, numbers):
        check_writable(path)
    outcomes = []
    with progress_bar("toy", total=len(toy.TASKS) * 2 * options.steps, unit="step") as bar:
        for name in toy.TASKS:
            bandit = toy.make_bandit(name, options.seed)
            for regularizer in ("trust_region", "kl"):
                outcomes.append(toy.run_bandit(bandit, regularizer, options.steps, options.seed, bar.update))
    with new_file(picture, overwrite=True, suffix=".png") as temporary:
        toy.draw(outcomes, options.seed, str(temporary))
    rows = [
        {"task": o.task, "regularizer": o.regularizer, "in_support": o.in_support, "reward": o.reward} for o in outcomes
    ]
    write_json(numbers, rows)
    for o in outcomes:
        print(f"{o.task:20} {o.regularizer:13} {o.in_support:6.1%} in data   reward {o.reward:6.2f}")
    print(picture)
