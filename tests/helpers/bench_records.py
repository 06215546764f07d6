"""Records of a bench's runs, as `experiments.records.record` makes them."""

from typing import Any


def bench_record(task: str, method: str, seed: int, results: dict[str, Any], **more: Any) -> dict[str, Any]:
    """One run's.  more: entries that only some records have, such as a curve."""
    run = {"config": {"seed": seed}}
    return {"task": task, "method": method, "train_seconds": 61.0, "results": results, "run": run, **more}
