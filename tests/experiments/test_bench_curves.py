"""Curves of a suite, and the methods of other programs in its tables."""

import csv
import io
import json

import pytest

from dtql_robot.experiments import records
from dtql_robot.experiments.curves import Curve, _draw_panel, as_csv, curves, draw_curves
from dtql_robot.experiments.jobs import Job
from dtql_robot.experiments.records import CURVE, compact, curve_of, write_tables
from dtql_robot.experiments.suites import suite
from tests.helpers.bench_records import bench_record

SCALE = {"ref_min_score": 100.0, "ref_max_score": 300.0, "measure": "return", "source": "the dataset"}


def kept(task="hopper-medium", method="dtql", seed=0, rows=(), **results):
    found = {
        "success_rate": None,
        "episodes": 1,
        "policy_hz": 4000.0,
        "per_episode_columns": ["seed", "success", "time_to_success", "return"],
        "per_episode": [[0, None, None, 200.0]],
        "normalized_by": SCALE,
        "normalized_score": 50.0,
        **results,
    }
    curve = {"columns": list(CURVE), "rows": [list(r) for r in rows]}
    return bench_record(task, method, seed, found, **({"curve": curve} if rows else {}))


@pytest.mark.parametrize(
    ("rows", "by", "measure", "values"),
    [
        ([(5, 0.5, 200.0, 7.0), (10, 1.0, 300.0, 8.0)], None, "normalized score", (7.0, 8.0)),
        ([(5, None, 200.0, None), (10, None, 300.0, None)], SCALE, "normalized score", (50.0, 100.0)),
        ([(5, 0.5, 200.0, None), (10, 1.0, 300.0, None)], None, "success", (0.5, 1.0)),
        ([(5, 0.5, 0.0, None)], {**SCALE, "measure": "subtasks"}, "success", (0.5,)),
        ([(5, None, 200.0, None)], None, "return", (200.0,)),
    ],
)
def test_a_curve_is_in_the_measure_that_is_known(rows, by, measure, values):
    (found,) = curves([kept(rows=rows, normalized_by=by), kept(method="iql")])
    assert found == Curve("hopper-medium", "dtql", 0, measure, tuple(r[0] for r in rows), values)


def test_the_evaluations_among_the_rows_of_a_log():
    nan = float("nan")
    rows = [{"step": 5, "q_loss": 1.0}, {"step": 10, "eval_return": 3.0, "eval_success": nan, "eval_score": 4.0}]
    assert curve_of(rows) == [[10, None, 3.0, 4.0]]


def test_the_picture_has_a_line_a_method_in_the_band_of_its_seeds(tmp_path):
    from matplotlib.figure import Figure

    made = [kept(seed=s, rows=[(5, None, 0.0, 10.0 * s), (10, None, 0.0, 30.0 + s)]) for s in (0, 1, 2)]
    made.append(kept(method="iql", rows=[(10, None, 0.0, 5.0)]))
    made.append(kept(task="push", rows=[(10, 0.5, 0.0, None)], normalized_by=None))
    found = curves(made)
    axes = Figure().subplots()
    _draw_panel(axes, [c for c in found if c.task == "hopper-medium"], ["kl", "dtql", "iql"])
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines == {"dtql": [[5, 10], [10, 31]], "iql": [[10, 5]]}
    band = axes.collections[0].get_datalim(axes.transData)
    assert (band.y0, band.y1) == (0, 32)
    path = draw_curves(found, tmp_path / "c.png", {"hopper-medium": [40.0, 50.0]})
    assert path.read_bytes()[:4] == b"\x89PNG"
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert len(rows) == 8
    assert rows[-1] == dict(zip(rows[0], ("push", "dtql", "0", "10", "success", "0.5"), strict=True))


def test_what_another_program_adds_is_in_the_tables(tmp_path, monkeypatch, capsys):
    """Of the same tasks only; a file that cannot be read is told of, and costs nothing else."""
    task = next(t for t in suite("locomotion") if t.name == "hopper-medium")
    monkeypatch.setattr(records, "record", lambda job: kept(rows=[(10, None, 200.0, 50.0)]))
    (tmp_path / "results").mkdir()
    for name, seed in (("hopper-medium", 0), ("hopper-medium", 1), ("push", 0)):
        rival = kept(task=name, method="td3-bc", seed=seed, rows=[(10, None, 200.0, 40.0 + seed)])
        (tmp_path / f"results/{name}-td3-bc-seed{seed}.json").write_text(json.dumps(rival))
    (tmp_path / "results/hopper-medium-td3-bc-seed2.json").write_text("{")
    said = write_tables([Job(task, "dtql", 0, tmp_path, tmp_path)], tmp_path)
    assert "| hopper-medium | td3-bc | normalized score 50.0 |" in said
    assert "| 2 x 1 |" in said
    assert "push" not in said
    assert f"| {task.group} | td3-bc | 50.0 |" in said
    assert [c["method"] for c in csv.DictReader((tmp_path / "curves.csv").open())] == ["dtql", "td3-bc", "td3-bc"]
    assert "hopper-medium-td3-bc-seed2.json is left out of the tables" in capsys.readouterr().err


def test_an_episode_is_kept_in_three_numbers_or_with_its_return():
    episode = {"seed": 3, "success": True, "time_to_success": 7, "return": 2.5, "error": None}
    by_success = compact({"success_rate": 1.0, "env": "e", "per_episode": [episode]})
    assert (by_success["env"], by_success["per_episode"]) == ("e", [[3, 1, 7]])
    lost = {**episode, "seed": 4, "error": "gone"}
    by_return = compact({"success_rate": None, "per_episode": [episode, lost]})
    assert by_return["per_episode"] == [[3, None, None, 2.5], [4, None, None, None]]
    assert by_return["per_episode_columns"][-1] == "return"
