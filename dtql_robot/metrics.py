"""The columns of metrics.csv: what each is called and means, and what their rows say of a training.  No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, float]

EVALUATED = "eval_success"
RETURNED = "eval_return"
SCORED = "eval_score"
HELD_OUT = "valid_action_error"

WORSE = 1.1
"""How far above its lowest value the held-out error must end to be called overfitting."""


def best_evaluation(rows: Sequence[Row]) -> Row | None:
    """The row of the best evaluation while training: by success, then by return; of equals the latest."""
    judged = [row for row in rows if math.isfinite(row.get(RETURNED, math.nan))]
    return max(judged, key=_merit, default=None)


def _merit(row: Row) -> tuple[float, float, float]:
    success = row.get(EVALUATED, math.nan)
    return (success if math.isfinite(success) else 0.0), row[RETURNED], row["step"]


def overfitting(rows: Sequence[Row]) -> str | None:
    """A sentence where the error on held-out demonstrations has risen since it was lowest; None where it has not."""
    for name, error in ((HELD_OUT, "squared error"), ("valid_denoiser_loss", "denoising loss")):
        curve = [(row["step"], row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]
        if len(curve) < 3:
            continue
        best, lowest = min(curve, key=lambda point: point[1])
        step, last = curve[-1]
        if last > WORSE * lowest:
            was = f"was lowest at update {best:.0f} ({lowest:.4g})"
            now = f"is {last / lowest - 1:.0%} higher at update {step:.0f} ({last:.4g})"
            return (
                f"Overfitting: the {error} on held-out demonstrations {was} and {now}; more data or fewer --steps help."
            )
        return None
    return None


def group_of(column: str) -> str:
    """What a column is about: "eval", "valid" or "train"."""
    head = column.partition("_")[0]
    return head if head in ("eval", "valid") else "train"


@dataclass(frozen=True)
class Panel:
    """A picture of one or several columns.

    title, about  what it is called, and a sentence on what it means
    lines         column -> its name in the legend
    band          the columns of the interval around the first line
    """

    title: str
    about: str
    lines: Mapping[str, str]
    band: tuple[str, str] | None = None


SQUARED = ("Squared error to recorded actions", "The likelihood term of section 2.3 with a fixed variance.")
LIKELIHOOD = ("Negative log-likelihood", "The term of section 2.3: how unlikely recorded actions are under the policy.")
NAMES = {
    "denoiser_loss": ("Denoising loss", "Eq. 2: how well the diffusion model learns the behaviour."),
    "trust_region": (
        "Trust-region loss",
        "Eq. 4: the diffusion loss at the policy's own action; high away from the data.",
    ),
    "kl": ("KL regularizer", "Section 3: how far the policy's actions are from those of the behaviour."),
    "fake_loss": ("Denoising loss of the policy's actions", "What the KL regularizer compares the behaviour with."),
    "q_loss": ("Bellman error of Q", "Eq. 7: how well Q agrees with the reward and the value after it."),
    "v_loss": ("Expectile loss of V", "Eq. 6: how far V is from the expectile of Q that it learns."),
    "q": (
        "Q of recorded actions",
        "The mean; with a reward of -1 per step it is minus the discounted steps to success.",
    ),
    "v": ("V of recorded states", "The mean value of the states in a batch."),
    "q_spread": ("Spread of Q", "The standard deviation of Q over recorded actions."),
    "policy_q": ("Q of the policy's actions", "If far above Q of recorded actions, the critic is being fooled."),
    "policy_loss": ("Policy loss", "Eq. 5: all terms that train the policy, with their weights."),
}
"""Column -> (its name, what it means)."""


def panels(columns: Sequence[str], settings: Mapping[str, Any]) -> list[Panel]:
    """How columns of metrics.csv are shown, what matters most first.  settings: of the run, as config.json has them."""
    known, there = dict.fromkeys(columns), set(columns)
    found: list[Panel] = []

    def add(title: str, about: str, lines: Mapping[str, str], band: tuple[str, str] | None = None) -> None:
        lines = {name: label for name, label in lines.items() if name in there}
        if lines:
            found.append(Panel(title, about, lines, band if band and set(band) <= there else None))
            for name in (*lines, *(band or ())):
                known.pop(name, None)

    add(
        "Success while training",
        "Evaluations during training, with 95% intervals.",
        {EVALUATED: "success rate"},
        (f"{EVALUATED}_low", f"{EVALUATED}_high"),
    )
    add(
        "Return while training",
        "Evaluations during training, with 95% intervals.",
        {RETURNED: "mean return"},
        (f"{RETURNED}_low", f"{RETURNED}_high"),
    )
    add(
        "Normalized score while training",
        "Evaluations during training: 0 is a random policy and 100 an expert.",
        {SCORED: "normalized score"},
    )
    add(
        "Squared error of the acting policy",
        "Overfitting: it rises on held-out data and falls on training data.",
        {HELD_OUT: "held out", "train_action_error": "trained on"},
    )
    add("Denoising loss, held out", "Eq. 2 on demonstrations that training does not see.", {"valid_denoiser_loss": ""})
    likelihood = settings.get("policy", {}).get("nll") != "mse"
    names = {**NAMES, "nll": LIKELIHOOD if likelihood else SQUARED}
    for name in list(known):
        if name not in ("eval_episodes", "seconds", "step"):
            title, about = names.get(name, (name, ""))
            add(title, about, {name: ""})
    return found
