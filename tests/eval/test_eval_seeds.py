"""Several training seeds evaluated: the mean, its interval over seeds, and the files of each."""

import json

import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import save_robomimic
from dtql_robot.envs.collection.collect import collect
from dtql_robot.eval.across_seeds import SeedsResult
from dtql_robot.eval.intervals import mean_interval, seeds_interval, wilson_interval

SMALL = ["--steps", "4", "--batch-size", "8", "--policy-hidden", "16", "--critic-hidden", "16", "--device", "cpu"]
SMALL += ["--denoiser-width", "16", "--horizon", "4", "--n-action-steps", "4"]


def results(*rates):
    return {i: {"env": "E", "success_rate": r, "ci95": [0, 1], "episodes": 100} for i, r in enumerate(rates)}


def test_the_interval_is_over_seeds_and_stays_within_rates():
    found = SeedsResult(results(0.5, 0.6, 0.7))
    assert found.mean == pytest.approx(0.6)
    assert found.ci95 == pytest.approx(mean_interval([0.5, 0.6, 0.7]))  # which is wider than Wilson's of 180 in 300
    assert "over 3 training seeds" in str(found)
    low, high = SeedsResult(results(0.9, 1.0)).ci95
    assert 0.0 <= low < 0.95
    assert high == 1.0


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_seeds_that_agree_do_not_make_the_rate_certain(rate):
    """0 of 9 by each of two seeds: the interval is Wilson's of 0 in 18, as in `bench`."""
    runs = {i: {"env": "E", "success_rate": rate, "ci95": [0, 1], "episodes": 9} for i in range(2)}
    assert SeedsResult(runs).ci95 == pytest.approx(wilson_interval(round(18 * rate), 18))
    assert SeedsResult(runs).ci95 == seeds_interval([rate, rate], 18)
    assert f"{0.0 if rate == 0 else 82.4:.1f}% to {17.6 if rate == 0 else 100.0:.1f}%" in str(SeedsResult(runs))


def test_one_seed_has_no_interval_over_seeds():
    found = SeedsResult(results(0.5))
    assert found.ci95 is None
    assert "of one training seed" in str(found)
    assert found.to_dict()["ci95"] is None


@pytest.mark.slow
def test_train_seeds_then_eval_them_all(tmp_path, capsys):
    data = save_robomimic(collect("FetchReach-v4", 4, progress=False), tmp_path / "reach.hdf5")
    runs = tmp_path / "runs"
    assert main(["train", "--data", str(data), "--out", str(runs), "--seeds", "0..1", *SMALL]) == 0
    assert "peak memory" in capsys.readouterr().out
    assert main(["train", "--out", str(runs), "--resume", "--steps", "6"]) == 0
    copy = tmp_path / "copy.json"
    arguments = ["--episodes", "2", "--max-episode-steps", "5", "--where", "in-process", "--results", str(copy)]
    assert main(["eval", str(runs), *arguments]) == 0
    assert "over 2 training seeds" in capsys.readouterr().out
    found = json.loads((runs / "seeds.json").read_text())
    assert json.loads(copy.read_text()) == found
    each = [json.loads((runs / f"seed{s}" / "results.json").read_text()) for s in (0, 1)]
    assert [found["seeds"][str(s)]["success_rate"] for s in (0, 1)] == [e["success_rate"] for e in each]
    assert all((runs / f"seed{s}" / "report.html").exists() for s in (0, 1))
    assert json.loads((runs / "seed1" / "config.json").read_text())["config"]["steps"] == 6
