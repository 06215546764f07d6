import csv
import io

import pytest
from scipy.stats import t

from dtql_robot.eval.intervals import T_975, mean_interval, wilson_interval
from dtql_robot.experiments.table import Cell, as_csv, draw, gather, markdown
from tests.helpers.bench_records import bench_record


def cell(task: str, method: str, rates: tuple[float, ...]) -> Cell:
    n = len(rates)
    return Cell(task, method, tuple(range(n)), rates, 100, (61.0,) * n, (0.25,) * n)


def test_mean_interval_is_students():
    for df, quantile in enumerate(T_975, start=1):
        assert quantile == pytest.approx(t.ppf(0.975, df), abs=5e-4)
    values = [0.9, 0.8, 1.0]
    half = t.ppf(0.975, 2) * 0.1 / 3**0.5
    assert mean_interval(values) == pytest.approx((0.9 - half, 0.9 + half), abs=1e-4)
    with pytest.raises(ValueError, match="two or more"):
        mean_interval([0.5])


def test_the_interval_covers_seeds_and_episodes():
    assert cell("a", "m", (0.9,)).interval == wilson_interval(90, 100)
    same = cell("a", "m", (0.9, 0.9, 0.9))
    assert same.interval == wilson_interval(270, 300)
    apart = cell("a", "m", (0.5, 0.9, 1.0))
    assert apart.interval[0] < 0.5
    assert apart.interval[1] == 1.0


def test_table_and_figure(tmp_path):
    cells = [cell("a", "m", (0.9, 0.8)), cell("a", "k", (0.1, 0.2)), cell("b", "m", (1.0, 1.0))]
    lines = markdown(cells).splitlines()
    assert len(lines) == 5
    assert "| a | m | 0.850 |" in lines[2]
    assert "| 2 x 100 | 61 | 0.25 |" in lines[2]
    rows = list(csv.DictReader(io.StringIO(as_csv(cells))))
    assert [(r["task"], r["method"], r["seed"], float(r["success_rate"])) for r in rows][:2] == [
        ("a", "m", "0", 0.9),
        ("a", "m", "1", 0.8),
    ]
    assert draw(cells, tmp_path / "f.png").read_bytes()[:4] == b"\x89PNG"


def test_runs_are_gathered_in_order():
    def record(task, method, seed, rate):
        return bench_record(task, method, seed, {"success_rate": rate, "episodes": 100, "policy_hz": 4000.0})

    records = [
        record("a", "m", 1, 0.8),
        record("b", "m", 0, 1.0),
        record("a", "m", 0, 0.9),
        record("a", "k", 0, 0.1),
        record("b", "m", 1, 1.0),
        record("a", "k", 1, 0.2),
    ]
    assert gather(records) == [cell("a", "m", (0.9, 0.8)), cell("a", "k", (0.1, 0.2)), cell("b", "m", (1.0, 1.0))]


def test_no_more_episodes_are_claimed_than_each_run_has():
    """A run folder keeps its evaluation of most episodes, so that runs of a cell may differ."""
    runs = [
        bench_record("a", "m", seed, {"success_rate": rate, "episodes": n, "policy_hz": 4000.0})
        for seed, rate, n in ((0, 2 / 3, 150), (1, 0.5, 100))
    ]
    (found,) = gather(runs)
    assert (found.episodes, found.rates) == (100, (2 / 3, 0.5))
    low, high = found.interval
    assert low < 0.5 < 2 / 3 < high
