import json
import math

import pytest
from scipy.stats import binomtest

from dtql_robot.cli import main
from dtql_robot.errors import InputError
from dtql_robot.eval.comparison import compare, holm, mcnemar
from dtql_robot.eval.episode_result import EpisodeResult
from dtql_robot.eval.result import EvalResult


def result(successes, env="FetchPush-v4", first_seed=100):
    episodes = tuple(
        EpisodeResult(first_seed + i, bool(s), -1.0, 50, 9 if s else None) for i, s in enumerate(successes)
    )
    return EvalResult(env, 0, episodes, "last", 50, 1, 2000.0, 500.0).to_dict()


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 0), (5, 0), (9, 1), (1, 9), (6, 6), (40, 22), (0, 200)])
def test_mcnemar_is_the_exact_binomial_test(a, b):
    expected = binomtest(min(a, b), a + b).pvalue if a + b else 1.0
    assert mcnemar(a, b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(a, b) == mcnemar(b, a)


def test_mcnemar_agrees_with_a_hand_computed_table():
    """10 discordant pairs, 9 to 1: 2 * (1 + 10) / 1024."""
    assert mcnemar(9, 1) == pytest.approx(22 / 1024)


def test_holm_keeps_the_order_and_never_exceeds_one():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_the_test_is_paired_over_common_seeds():
    """Equal rates on different episodes; only the 6 seeds that both played count."""
    found = compare({"a": result([1, 1, 1, 0, 0, 0, 1, 1]), "b": result([0, 0, 0, 0, 1, 1], first_seed=102)})
    (pair,) = found.pairs
    assert (pair.common, pair.only_a, pair.only_b) == (6, 1, 0)
    assert pair.difference == pytest.approx(1 / 6)
    assert not pair.significant
    assert "not significant" in pair.verdict


def test_a_clear_difference_is_called_one():
    (pair,) = compare({"weak": result([0] * 20), "strong": result([1] * 20)}).pairs
    assert pair.significant
    assert pair.p_value == pytest.approx(2 / 2**20)
    assert pair.verdict.startswith("strong is better than weak (100.0% over 20 common seeds, p =")


def test_several_comparisons_are_corrected():
    """p = 0.031 alone, which three comparisons at once do not bear out."""
    runs = {"a": result([1] * 6), "b": result([0] * 6), "c": result([1, 1, 1, 0, 0, 0])}
    pairs = {(p.a, p.b): p for p in compare(runs).pairs}
    assert pairs["a", "b"].p_value == pytest.approx(2 / 64)
    assert pairs["a", "b"].p_adjusted == pytest.approx(6 / 64)
    assert not pairs["a", "b"].significant


def test_runs_with_other_observations_of_one_environment_are_compared():
    assert compare({"a": result([1]), "b": result([1], env="FetchPush-v4+state=observation")}).pairs[0].common == 1


def test_runs_that_share_no_seed_are_told_apart():
    (pair,) = compare({"a": result([1]), "b": result([1], first_seed=5)}).pairs
    assert "share no seed" in pair.verdict


@pytest.mark.parametrize(
    ("runs", "sentence"),
    [
        ({"a": result([1])}, "at least two"),
        ({"a": result([1]), "b": result([1], env="FetchReach-v4")}, "several: a in FetchPush-v4, b in FetchReach-v4"),
    ],
)
def test_what_cannot_be_compared_is_said(runs, sentence):
    with pytest.raises(InputError, match=sentence):
        compare(runs)


@pytest.fixture
def folders(tmp_path):
    for name, successes in (("a", [1] * 9 + [0]), ("b", [0] * 9 + [1])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "results.json").write_text(json.dumps(result(successes)))
    return tmp_path


def test_the_command_prints_a_table(folders, capsys):
    assert main(["compare", str(folders / "a"), str(folders / "b")]) == 0
    printed = capsys.readouterr().out
    header, first, *_ = printed.splitlines()
    assert header.split()[:2] == ["run", "success"]
    assert first.split()[:2] == ["a", "90.0%"]
    assert "59.6% to 98.2%" in first
    assert "a is better than b (80.0% over 10 common seeds, p = 0.0215)" in printed


def test_the_command_prints_json(folders, capsys):
    assert main(["compare", str(folders / "a"), str(folders / "b" / "results.json"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["success_rate"] for run in found["runs"]] == [0.9, 0.1]
    assert found["pairs"][0]["significant"] is True
    assert math.isclose(found["pairs"][0]["p_value"], 22 / 1024)


def test_a_folder_without_results_is_an_error(folders, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["compare", str(folders / "a"), str(tmp_path / "empty")]) == 2
    assert "run `dtql-robot eval" in capsys.readouterr().err
    (tmp_path / "empty" / "results.json").write_text("{}")
    assert main(["compare", str(folders / "a"), str(tmp_path / "empty")]) == 2
    assert "not the result of an evaluation" in capsys.readouterr().err


def test_the_same_run_twice_is_an_error(folders, capsys):
    assert main(["compare", str(folders / "a"), str(folders / "a")]) == 2
    assert "given twice" in capsys.readouterr().err


def test_results_show_themselves_short_and_in_notebooks():
    episodes = tuple(EpisodeResult(i, True, -1.0, 50, 9) for i in range(200))
    one = EvalResult("Fetch<b>Push-v4", 0, episodes, "last", 50, 1, 2000.0, 500.0)
    assert len(repr(one)) < 250
    assert "200/200" in repr(one)
    assert "Fetch&lt;b&gt;Push-v4" in one._repr_html_()
    found = compare({"a": result([1] * 50), "b": result([0] * 50)})
    assert len(repr(found)) < 250
    assert found._repr_html_().startswith("<pre>")
