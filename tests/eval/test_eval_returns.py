"""Returns as a result of their own, and normalized scores: exact values."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from dtql_robot.env_record import recorded_scores
from dtql_robot.envs.make import env_info
from dtql_robot.eval.across_seeds import SeedsResult
from dtql_robot.eval.comparison import compare
from dtql_robot.eval.episode_result import EpisodeResult
from dtql_robot.eval.intervals import bootstrap_interval, mean_interval, returns_interval
from dtql_robot.eval.paired_returns import paired_returns, sign_flip
from dtql_robot.eval.reference_returns import Reference, find_reference
from dtql_robot.eval.result import EvalResult
from dtql_robot.eval.video.labels import BLUE, caption
from dtql_robot.eval.video.spec import spread
from dtql_robot.experiments.table import as_csv, draw, gather, markdown
from dtql_robot.reports.page import write_report
from dtql_robot.run_folder import read_results


def result(returns, env="Hopper-v5", reference=None, errors=()):
    episodes = tuple(
        EpisodeResult(100 + i, None, float(r), 10, None, error="it died" if i in errors else None)
        for i, r in enumerate(returns)
    )
    return EvalResult(env, 0, episodes, "any", 1000, 1, 2000.0, 500.0, reference=reference)


def test_the_bootstrap_interval_is_that_of_scipy():
    values = np.random.default_rng(3).exponential(size=40)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=50_000, rng=0).confidence_interval
    assert bootstrap_interval(values) == pytest.approx((expected.low, expected.high), abs=0.02)
    assert bootstrap_interval(values) == bootstrap_interval(values)  # the same draws each time
    assert bootstrap_interval([0.0, 1.0]) == (0.0, 1.0)  # a quarter of the means is 0, a quarter 1
    assert bootstrap_interval([0.1] * 7) == (0.1, 0.1)
    with pytest.raises(ValueError, match="one value or more"):
        bootstrap_interval([])


def test_strata_are_resampled_by_themselves():
    """Two seeds without spread inside: their mean is certain as far as episodes go, not as far as seeds go."""
    assert bootstrap_interval([1.0, 1.0], [3.0, 3.0]) == (2.0, 2.0)
    assert returns_interval([[1.0, 1.0], [3.0, 3.0]]) == pytest.approx(mean_interval([1.0, 3.0]))
    assert returns_interval([[0.0, 1.0]]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("differences", "p"),
    [([], 1.0), ([0.0, 0.0], 1.0), ([5.0], 1.0), ([1.0, 2.0, 3.0], 0.25), ([1.0, 1.0, -1.0], 1.0), ([3.0] * 6, 2 / 64)],
)
def test_the_sign_flip_test_counts_signs(differences, p):
    assert sign_flip(differences) == pytest.approx(p)


def test_the_sign_flip_test_is_that_of_scipy():
    values = np.random.default_rng(0).normal(0.4, 1.0, 12)
    expected = stats.permutation_test(
        (values, np.zeros(12)), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip(values) == pytest.approx(expected.pvalue)
    many = np.random.default_rng(1).normal(0.25, 1.0, 100)
    assert sign_flip(many) == pytest.approx(stats.ttest_1samp(many, 0.0).pvalue, rel=0.5)


def test_episodes_that_failed_are_in_no_pair_and_no_mean():
    a, b = result([5, 7, 9, 99], errors=(3,)), result([1, 1, 1, 1])
    assert a.mean_return == 7.0
    assert a.return_ci95 == bootstrap_interval([5.0, 7.0, 9.0])
    found = paired_returns(a.to_dict(), b.to_dict())
    assert (found.common, found.more_a, found.more_b, found.difference, found.p_value) == (3, 3, 0, 6.0, 0.25)
    assert "1 of 4 episodes could not be played to their end: in no mean" in str(a)


def test_runs_are_compared_by_their_returns():
    a, b = result(np.arange(20) + 5.0).to_dict(), result(np.arange(20)).to_dict()
    found = compare({"a": a, "b": b})
    (pair,) = found.pairs
    assert (pair.measure, pair.difference, pair.interval, pair.only_a, pair.only_b) == (
        "return",
        5.0,
        (5.0, 5.0),
        20,
        0,
    )
    assert pair.verdict.startswith("a is better than b (return 5.00 over 20 common seeds, p = ")
    assert "95% interval 5.00 to 5.00" in compare({"b": b, "a": a}).pairs[0].verdict
    assert "14.50" in str(found)
    content = json.loads(json.dumps(found.to_dict()))
    assert content["runs"][0]["success_rate"] is None
    assert content["runs"][0]["return_ci95"] == list(bootstrap_interval(np.arange(20) + 5.0))
    assert content["test"] == "sign-flip test of the returns, Holm-adjusted"


def test_a_task_that_tells_success_is_compared_by_it():
    won = [EpisodeResult(i, i > 3, 0.0, 5, None) for i in range(8)]
    found = EvalResult("FetchPush-v4", 0, tuple(won), "last", 50, 1, 2000.0, 500.0).to_dict()
    assert compare({"a": found, "b": found}).pairs[0].measure == "success"
    assert found["success_rate"] == 0.5


def test_training_seeds_have_a_mean_return():
    scale = Reference(0.0, 10.0, "D4RL")
    runs = {i: result(values, reference=scale).to_dict() for i, values in enumerate(([1, 3], [4, 6], [2, 2]))}
    found = SeedsResult(runs)
    assert found.mean == 3.0
    assert found.ci95 == returns_interval([[1, 3], [4, 6], [2, 2]])
    content = found.to_dict()
    assert (content["mean_success_rate"], content["mean_return"]) == (None, 3.0)
    assert content["mean_normalized_score"] == pytest.approx(30.0)
    assert content["seeds"]["1"]["mean_return"] == 5.0
    assert "mean return 3.00 over 3 training seeds" in str(found)
    assert "normalized score 30.0" in str(found)


def test_bench_shows_returns_or_scores(tmp_path):
    def record(task, seed, returns, reference):
        results = result(returns, reference=reference).to_dict()
        results["per_episode"] = [[e["seed"], None, None, e["return"]] for e in results["per_episode"]]
        results["per_episode_columns"] = ["seed", "success", "time_to_success", "return"]
        return {
            "task": task,
            "method": "m",
            "train_seconds": 1.0,
            "results": results,
            "run": {"config": {"seed": seed}},
        }

    records = [record("hop", 0, [1, 3], Reference(0, 10, "D4RL")), record("hop", 1, [4, 6], Reference(0, 10, "D4RL"))]
    cells = gather([*records, record("swing", 0, [2, 2], None)])
    assert [c.measure for c in cells] == ["normalized score", "return"]
    assert cells[0].rates == pytest.approx((20.0, 50.0))
    assert cells[0].interval == pytest.approx(mean_interval([20.0, 50.0]))
    table = markdown(cells)
    assert "| task | method | result |" in table
    assert "| hop | m | normalized score 35.0 |" in table
    assert "| swing | m | return 2.00 | 2.00 to 2.00 |" in table
    assert "hop,m,0,,2,1.0,0.5000,20.0," in as_csv(cells)
    assert draw(cells, tmp_path / "f.png").read_bytes()[:4] == b"\x89PNG"


def test_the_report_and_the_files_reader_take_a_result_without_success(tmp_path):
    found = result([1, 3], reference=Reference(0.0, 10.0, "D4RL"))
    path = found.save(tmp_path / "results.json")
    assert read_results(path)["normalized_score"] == pytest.approx(20.0)
    html = write_report(tmp_path / "r.html", title="t", results=found.to_dict(), config={}).read_text()
    assert "reports no success" in html
    assert "1.00 to 3.00" in html
    assert "Normalized score" in html
    assert "failure" not in html


def test_the_badge_shows_the_return():
    frame = np.zeros((320, 320, 3), np.uint8)
    shown = caption(frame, title="t", detail="d", success=None, otherwise="RETURN 3234")
    assert (shown.reshape(-1, 3) == BLUE).all(1).any()
    assert not np.array_equal(shown, caption(frame, title="t", detail="d", success=None, otherwise="RETURN 12"))


def test_a_video_shows_episodes_from_the_lowest_return_to_the_highest():
    assert spread([5.0, 1.0, 9.0, 7.0, 3.0], 3) == [1, 0, 2]
    assert spread([5.0, 1.0], 6) == [1, 0]
    assert spread([5.0, 1.0], 1) == [1]


D4RL_SCORES = [  # environment, steps, value of 0, value of 100: d4rl/infos.py
    ("HalfCheetah-v4", 1000, -280.178953, 12135.0),
    ("Hopper-v5", 1000, -20.272305, 3234.3),
    ("Walker2d-v4", 1000, 1.629008, 4592.3),
    ("AdroitHandPen-v1", 100, 96.262799, 3076.8331017826877),
    ("AdroitHandHammer-v1", 200, -274.856578, 12794.134825156867),
    ("AdroitHandDoor-v1", 200, -56.512833, 2880.5693087298737),
    ("AdroitHandRelocate-v1", 200, -6.425911, 4233.877797728884),
]


@pytest.mark.parametrize(("env", "steps", "low", "high"), D4RL_SCORES)
def test_d4rls_references(env, steps, low, high):
    facts = env_info(env, max_episode_steps=steps)
    reference, note = find_reference(facts, {}, facts.horizon)
    assert note is None
    assert (reference.score(low), reference.score(high)) == pytest.approx((0.0, 100.0))
    assert find_reference(facts, {}, 50)[0] is None
    assert f"are for episodes of {steps} steps, and these have 50" in find_reference(facts, {}, 50)[1]


def test_pen_is_not_scored_at_gymnasiums_own_horizon():
    facts = env_info("AdroitHandPen-v1")
    reference, note = find_reference(facts, None, facts.horizon)
    assert reference is None
    assert "episodes of 100 steps, and these have 200 (--max-episode-steps 100)" in note


@pytest.mark.parametrize("env", ["AdroitHandDoorSparse-v1", "FetchPush-v4", "Pendulum-v1"])
def test_other_environments_have_no_score(env):
    facts = env_info(env)
    assert find_reference(facts, {}, facts.horizon) == (None, None)


def test_arguments_that_change_the_reward_leave_no_score():
    facts = env_info("AdroitHandDoor-v1")
    assert find_reference(facts, {"reward_type": "dense"}, 200)[0] is not None
    assert "reward_type='sparse'" in find_reference(facts, {"reward_type": "sparse"}, 200)[1]
    hopper = env_info("Hopper-v5")
    record = {"id": "Hopper-v5", "kwargs": {"healthy_reward": 0.0}}
    assert "healthy_reward=0.0" in find_reference(hopper, record, 1000)[1]


def test_antmaze_is_scored_by_success_and_kitchen_by_subtasks():
    door = env_info("AdroitHandDoor-v1")
    maze = dataclasses.replace(door, spec="AntMaze_UMaze-v4")
    reference, _ = find_reference(maze, {"continuing_task": True}, 700)
    episodes = tuple(EpisodeResult(i, i < 3, 250.0, 700, None) for i in range(4))
    found = EvalResult("AntMaze_UMaze-v4", 0, episodes, "any", 700, 1, 1.0, 1.0, reference=reference)
    assert found.normalized_score == 75.0  # whatever is earned after the goal is reached
    goal = ("kettle", "light switch", "microwave", "slide cabinet")
    reference, _ = find_reference(dataclasses.replace(door, spec="FrankaKitchen-v1", subtasks=goal), {}, 280)
    done = (goal[:3], goal, goal[:1], ())
    episodes = tuple(
        EpisodeResult(i, len(d) == 4, 0.0, 280, None, {n: n in d for n in goal}) for i, d in enumerate(done)
    )
    kitchen = EvalResult("FrankaKitchen-v1", 0, episodes, "any", 280, 1, 1.0, 1.0, reference=reference)
    assert kitchen.mean_subtasks == 2.0
    assert kitchen.normalized_score == 50.0
    assert "2.00 of 4 subtasks" in str(kitchen)
    assert find_reference(dataclasses.replace(door, spec="FrankaKitchen-v1", subtasks=goal[:2]), {}, 280)[0] is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1, 3.5, (1.0, 3.5)), (None, 3, None), ("1", 3, None), (3, 3, None), (float("nan"), 1, None), (True, 3, None)],
)
def test_a_datasets_own_references(low, high, expected):
    assert recorded_scores({"ref_min_score": low, "ref_max_score": high}) == expected
    if expected:
        found = find_reference(env_info("Hopper-v5"), {}, 1000, expected)[0]
        assert (found.low, found.high, found.source) == (*expected, "the dataset")
