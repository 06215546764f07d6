"""Rules of `validate` about episodes: success, rewards, how they end, whether they repeat each other."""

from __future__ import annotations

import numpy as np

from dtql_robot.datasets.duplicates import duplicate_episodes
from dtql_robot.datasets.episode_edits import suggested_reward
from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.datasets.formats.robomimic_layout import CLAIMED_STEPS, NEXT_OBS_DIFFERS
from dtql_robot.datasets.validation.findings import Finding, Use, error, warning
from dtql_robot.types import Demonstrations, Episode

_SHORT = 2
_MANY = 0.2  # share of the terminated episodes that have one and the same, largest length


def names(episodes: list[Episode]) -> str:
    """The first few names: "demo_0, demo_3, demo_7 and 12 more"."""
    shown = ", ".join(e.name for e in episodes[:3])
    return shown + (f" and {len(episodes) - 3} more" if len(episodes) > 3 else "")


def success(reading: Reading, use: Use) -> list[Finding]:
    """A missing success signal, or one that never comes on."""
    demos = reading.demos
    unknown = [e for e in demos.episodes if e.success is None]
    if unknown:
        where = demos.source if len(unknown) == len(demos) else f"{names(unknown)} in {demos.source}"
        hint = suggested_reward(demos)
        remedy = "Rewards are used as recorded."
        if hint is not None:
            remedy += (f" {hint[1]} of {len(demos)} episodes end at the highest reward, {hint[0]:.9g}; if that means "
                       f"success, write it into a new file: `convert --success-reward {hint[0]:.9g}`.")  # fmt: skip
        if use.reward == "success":
            return [error("no-success", where, "reward=success, and there is no success signal.", remedy)]
        return [warning("no-success", where, "there is no success signal.", remedy)]
    if not any(bool(np.any(e.success)) for e in demos.episodes):
        text = "no episode ever succeeds."
        if use.reward == "success":
            return [error("never-success", demos.source, f"reward=success, and {text}", "Use --reward dataset.")]
        return [warning("never-success", demos.source, text, "Check the success signal of the recording.")]
    return []


def rewards(reading: Reading, use: Use) -> list[Finding]:
    """Rewards that are missing or constant while they would be learnt from."""
    demos = reading.demos
    missing = [e for e in demos.episodes if e.attrs.get("rewards_missing")]
    from_success = use.reward != "dataset" and all(e.success is not None for e in demos.episodes)
    if missing and not from_success:
        return [warning("no-rewards", f"{names(missing)} in {demos.source}", "there are no rewards; zeros stand in, "
                        "so the critic learns nothing.", "Train with --q-weight 0, or record rewards.")]  # fmt: skip
    low = min(float(e.rewards.min()) for e in demos.episodes)
    high = max(float(e.rewards.max()) for e in demos.episodes)
    if low == high and not from_success:
        return [warning("constant-rewards", demos.source, f"every reward is {low:g}: the critic learns nothing.",
                        "Train with --q-weight 0, or recompute the rewards.")]  # fmt: skip
    return []


def time_limit(demos: Demonstrations) -> int | None:
    """The recording environment's own time limit, where its record tells."""
    args = demos.env_args
    found = args.get("max_episode_steps") or (args.get("env_kwargs") or {}).get("max_episode_steps")
    return int(found) if isinstance(found, (int, float)) and found > 0 else None


def endings(reading: Reading, use: Use) -> list[Finding]:
    """Time-outs marked as terminal: the critic would take a cut for the end of all rewards."""
    demos = reading.demos
    both = [e for e in demos.episodes if e.terminated and e.truncated]
    found = []
    if both:
        found.append(warning("terminal-and-cut", f"{names(both)} in {demos.source}", f"{len(both)} episodes are marked "
                             "both terminal and cut off by time; they count as terminal.",
                             "If they were cut off: `convert --time-limit N`, N their length."))  # fmt: skip
    terminal = [e for e in demos.episodes if e.terminated and not e.ends_in_success]
    limit = time_limit(demos)
    longest = max(len(e) for e in demos.episodes)
    cut = [e for e in terminal if len(e) == (limit or longest)]
    if not cut or (limit is None and (len(cut) < 3 or len(cut) < _MANY * len(terminal))):
        return found
    place = f"{names(cut)} in {demos.source}"
    problem = f"{len(cut)} terminal episodes without success have exactly {len(cut[0])} steps"
    remedy = f"Mark them as cut off: `convert --time-limit {len(cut[0])}`."
    if limit is not None:
        return [*found, error("timeout-terminal", place, f"{problem}, the environment's time limit.", remedy)]
    return [*found, warning("timeout-terminal", place, f"{problem}, the largest length: time-outs?", remedy)]


def short(reading: Reading, use: Use) -> list[Finding]:
    """Episodes too short to show anything."""
    demos = reading.demos
    few = [e for e in demos.episodes if len(e) < _SHORT]
    if not few:
        return []
    return [warning("short-episode", f"{names(few)} in {demos.source}", f"{len(few)} of {len(demos)} episodes have "
                    f"fewer than {_SHORT} steps.", "Leave them out with a filter key.")]  # fmt: skip


def final_obs(reading: Reading, use: Use) -> list[Finding]:
    """Cut-off episodes without the observation after the last action: their last targets are unknown."""
    demos = reading.demos
    lacking = [e for e in demos.episodes if e.final_obs is None and not e.terminated]
    if not lacking:
        return []
    return [warning("no-final-obs", f"{names(lacking)} in {demos.source}", f"{len(lacking)} of {len(demos)} cut-off "
                    "episodes lack the observation after the last action; the critic skips their last chunk.",
                    "Write next_obs when recording.")]  # fmt: skip


def next_obs(reading: Reading, use: Use) -> list[Finding]:
    """A next_obs that is not the following obs: steps are missing in between, or it belongs to something else."""
    demos = reading.demos
    differing = [e for e in demos.episodes if NEXT_OBS_DIFFERS in e.attrs]
    if not differing:
        return []
    key = differing[0].attrs[NEXT_OBS_DIFFERS]
    return [warning("next-obs", f"{names(differing)} in {demos.source}", f"next_obs[t] of {key!r} is not obs[t + 1], "
                    "which stands in for it inside an episode.",
                    "Where steps were left out, chunks of actions are not what happened: record every step; else "
                    "repair next_obs.")]  # fmt: skip


def duplicates(reading: Reading, use: Use) -> list[Finding]:
    """Episodes that repeat another one, and filter keys that share episodes under different names."""
    demos = reading.demos
    groups = duplicate_episodes(demos)
    if not groups:
        return []
    extra = sum(len(g) - 1 for g in groups)
    shown = "; ".join(" = ".join(g[:4]) for g in groups[:3]) + ("; ..." if len(groups) > 3 else "")
    return [warning("duplicate-episodes", demos.source, f"{extra} episodes repeat another one: {shown}.",
                    "Keep one of each with a filter key; a copy on both sides of a split makes validation "
                    "look better than it is.")]  # fmt: skip


def sample_counts(reading: Reading, use: Use) -> list[Finding]:
    """`num_samples` attributes that contradict the arrays: other readers trust them."""
    demos = reading.demos
    wrong = [e for e in demos.episodes if e.attrs.get(CLAIMED_STEPS, len(e)) != len(e)]
    if not wrong:
        return []
    return [warning("num-samples", f"{names(wrong)} in {demos.source}", f"attribute num_samples says "
                    f"{wrong[0].attrs[CLAIMED_STEPS]}, the arrays have {len(wrong[0])} rows.",
                    "Readers that trust the attribute would cut or overrun; write the file anew with "
                    "`convert`.")]  # fmt: skip
