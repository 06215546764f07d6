"""Rules of `validate` about episodes: how long they are, how they end, whether they repeat each other."""

from __future__ import annotations

from dtql_robot.datasets.duplicates import duplicate_episodes
from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.datasets.formats.resets import jumps_inside
from dtql_robot.datasets.formats.robomimic_layout import CLAIMED_STEPS, NEXT_OBS_DIFFERS
from dtql_robot.datasets.validation.findings import Finding, Use, error, names, warning
from dtql_robot.types import Demonstrations

_SHORT = 2
_MANY = 0.2  # share of the terminated episodes that have one and the same, largest length


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
        found.append(
            warning(
                "terminal-and-cut",
                f"{names(both)} in {demos.source}",
                f"{len(both)} episodes are marked both terminal and cut off by time; they count as terminal.",
                "If they were cut off, run `convert --time-limit N`, where N is their length.",
            )
        )
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
    return [
        *found,
        warning("timeout-terminal", place, f"{problem}, the longest in the file: perhaps time-outs.", remedy),
    ]


def short(reading: Reading, use: Use) -> list[Finding]:
    """Episodes too short to show anything."""
    demos = reading.demos
    few = [e for e in demos.episodes if len(e) < _SHORT]
    if not few:
        return []
    return [
        warning(
            "short-episode",
            f"{names(few)} in {demos.source}",
            f"{len(few)} of {len(demos)} episodes have fewer than {_SHORT} steps.",
            "Leave them out with a filter key.",
        )
    ]


def shorter_than_chunks(reading: Reading, use: Use) -> list[Finding]:
    """Chunks of actions that no episode is long enough for: their ends are made up."""
    demos = reading.demos
    few = [e for e in demos.episodes if len(e) < use.horizon]
    if len(few) <= len(demos) / 2:
        return []
    longest = max(len(e) for e in demos.episodes)
    return [
        warning(
            "shorter-than-chunks",
            demos.source,
            f"{len(few)} of {len(demos)} episodes (the longest has "
            f"{longest} steps) are shorter than the {use.horizon} actions that are predicted at once; past the "
            "end the last one is repeated.",
            f"Choose --horizon {max(1, longest // 2)} or less.",
        )
    ]


def final_obs(reading: Reading, use: Use) -> list[Finding]:
    """Cut-off episodes without the observation after the last action: their last targets are unknown."""
    demos = reading.demos
    lacking = [e for e in demos.episodes if e.final_obs is None and not e.terminated]
    if not lacking:
        return []
    return [
        warning(
            "no-final-obs",
            f"{names(lacking)} in {demos.source}",
            f"{len(lacking)} of {len(demos)} cut-off "
            "episodes lack the observation after the last action; the critic skips their last chunk.",
            "Write next_obs when recording.",
        )
    ]


def next_obs(reading: Reading, use: Use) -> list[Finding]:
    """A next_obs that is not the following obs: steps are missing in between, or it belongs to something else."""
    demos = reading.demos
    differing = [e for e in demos.episodes if NEXT_OBS_DIFFERS in e.attrs]
    if not differing:
        return []
    key = differing[0].attrs[NEXT_OBS_DIFFERS]
    return [
        warning(
            "next-obs",
            f"{names(differing)} in {demos.source}",
            f"next_obs[t] of {key!r} is not obs[t + 1], which is used instead inside an episode.",
            "If steps were left out, record every step, since chunks of actions would not be what happened; otherwise "
            "repair next_obs.",
        )
    ]


def jumps(reading: Reading, use: Use) -> list[Finding]:
    """Resets inside an episode: chunks of actions and targets would go across them."""
    demos = reading.demos
    found = jumps_inside(demos)
    if not found:
        return []
    place = f"{found[0][0]}, step {found[0][1]} in {demos.source}"
    return [
        warning(
            "jump",
            place,
            "the observations jump there as at a reset, as they do at "
            f"{len(found)} places in {len({n for n, _ in found})} episodes: several episodes were joined, or steps "
            "are missing.",
            "Write each as its own episode; for D4RL files, see --episode-length N.",
        )
    ]


def duplicates(reading: Reading, use: Use) -> list[Finding]:
    """Episodes that repeat another one, and filter keys that share episodes under different names."""
    demos = reading.demos
    groups = duplicate_episodes(demos)
    if not groups:
        return []
    extra = sum(len(g) - 1 for g in groups)
    shown = "; ".join(" = ".join(g[:4]) for g in groups[:3]) + ("; ..." if len(groups) > 3 else "")
    return [
        warning(
            "duplicate-episodes",
            demos.source,
            f"{extra} episodes repeat another one: {shown}.",
            "Keep one of each with a filter key; a copy on both sides of a split makes validation "
            "look better than it is.",
        )
    ]


def sample_counts(reading: Reading, use: Use) -> list[Finding]:
    """`num_samples` attributes that contradict the arrays: other readers trust them."""
    demos = reading.demos
    wrong = [e for e in demos.episodes if e.attrs.get(CLAIMED_STEPS, len(e)) != len(e)]
    if not wrong:
        return []
    return [
        warning(
            "num-samples",
            f"{names(wrong)} in {demos.source}",
            f"attribute num_samples says {wrong[0].attrs[CLAIMED_STEPS]}, the arrays have {len(wrong[0])} rows.",
            "Readers that trust the attribute would read too few or too many rows; rewrite the file with `convert`.",
        )
    ]
