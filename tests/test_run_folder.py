"""Run folders that were cut off, mixed up or tampered with: a sentence, or nothing but a curve is lost."""

import contextlib
import copy
import json
import shutil
from pathlib import Path

import pytest

from dtql_robot.checkpoint import load_policy
from dtql_robot.cli import main
from dtql_robot.errors import InputError
from dtql_robot.eval.across_seeds import SeedsResult
from dtql_robot.eval.comparison import compare
from dtql_robot.eval.episode_result import EpisodeResult
from dtql_robot.eval.reference_returns import Reference
from dtql_robot.eval.result import EvalResult
from dtql_robot.reports.page import write_report
from dtql_robot.reports.run_report import write_run_report
from dtql_robot.run_folder import read_config, read_metrics, read_results, read_summary, seed_runs
from dtql_robot.training.loop import train
from dtql_robot.training.metrics_file import MetricsFile
from tests.conftest import make_episode
from tests.training.test_train import small

ODD = (None, "text", -1, 0, 1e400, float("nan"), 10**400, True, [], {}, [[1]], {"a": None}, "\x1b[31m")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> Path:
    """A run with the results of an evaluation."""
    from dtql_robot.types import Demonstrations

    episodes = tuple(make_episode(f"demo_{i}", 10 + i, seed=i) for i in range(4))
    folder = tmp_path_factory.mktemp("runs") / "run"
    run = train(Demonstrations(episodes, "synthetic", "robomimic"), folder, small(10), progress=False)
    done = tuple(EpisodeResult(i, i > 0, -1.0, 50, 9 if i else None) for i in range(3))
    EvalResult("FetchPush-v4", 0, done, "last", 50, 1, 2000.0, 500.0).save(run / "results.json")
    return run


@pytest.fixture
def run(evaluated, tmp_path) -> Path:
    return Path(shutil.copytree(evaluated, tmp_path / "run"))


def places(value, path=()):
    """The path to every entry of nested values."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def changed(value, path, new):
    """A copy with `new` at the path; None as its own class of change: the entry is gone."""
    if not path:
        return new
    value = copy.deepcopy(value)
    at = value
    for key in path[:-1]:
        at = at[key]
    if new is places:
        del at[path[-1]]
    else:
        at[path[-1]] = new
    return value


@pytest.mark.slow
@pytest.mark.parametrize("name", ["config.json", "results.json", "dataset.json"])
def test_every_entry_of_a_tampered_file_is_refused_or_harmless(run, name):
    """Whatever stands where, the readers and the report say a sentence or do their work."""
    if name == "dataset.json":
        content = {
            "source": "x",
            "obs": {"a": {"shape": [3], "dtype": "float32", "min": 0.0, "max": 1.0}},
            "action": [{"min": 0.0, "max": 1.0, "mean": 0.5, "std": 0.1, "histogram": [1, 2]}],
        }
        (run / name).write_text(json.dumps(content))
    original = json.loads((run / name).read_text())
    (run / "metrics.csv").unlink()  # drawing the curves takes longest
    changes = [(path, new) for path in places(original) for new in (*ODD, places) if path or new is not places]
    said: list[str] = []
    for i, (path, new) in enumerate(changes):
        (run / name).write_text(json.dumps(changed(original, path, new)))
        try:
            read_config(run), read_results(run), read_summary(run)
            if i % 10 == 0:
                write_run_report(run, [], ["dtql-robot", "eval"])
        except InputError as error:
            said.append(str(error))
    assert all(name in sentence for sentence in said)
    assert (len(said) == 0) == (name == "dataset.json")


@pytest.mark.slow
def test_a_tampered_result_without_success_is_refused_or_harmless(tmp_path):
    """What reads returns and scores takes whatever `read_results` lets through."""
    done = tuple(EpisodeResult(i, None, float(i), 50, None) for i in range(3))
    scale = Reference(0.0, 10.0, "D4RL")
    path = EvalResult("Hopper-v5", 0, done, "any", 50, 1, 2000.0, 500.0, reference=scale).save(tmp_path / "r.json")
    original = json.loads(path.read_text())
    changes = [(place, new) for place in places(original) for new in (*ODD, places) if place or new is not places]
    refused = 0
    for i, (place, new) in enumerate(changes):
        path.write_text(json.dumps(changed(original, place, new)))
        try:
            found = read_results(path)
        except InputError:
            refused += 1
            continue
        if i % 5:
            continue  # drawing and resampling take longest
        write_report(tmp_path / "r.html", title="t", results=found, config={})
        with contextlib.suppress(InputError):  # another environment
            str(compare({"a": found, "b": original}))
        seeds = SeedsResult({0: found, 1: original})
        assert str(seeds)
        assert seeds.to_dict()
    assert refused > 100


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe{}", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"])
@pytest.mark.parametrize("name", ["config.json", "results.json"])
def test_bytes_that_are_no_json_of_ours_are_refused(run, name, content):
    (run / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        read_config(run), read_results(run)


def test_files_that_are_folders_are_refused(run):
    for name, reader in (("config.json", read_config), ("results.json", read_results), ("checkpoint.pt", load_policy)):
        (run / name).unlink()
        (run / name).mkdir()
        with pytest.raises(InputError, match=r"contains no|lacks"):
            reader(run)


def test_a_checkpoint_of_another_training_is_refused(run, demos, tmp_path, capsys):
    other = train(demos, tmp_path / "other", small(10, policy_activation="silu"), progress=False)
    (run / "checkpoint.pt").write_bytes((other / "checkpoint.pt").read_bytes())
    with pytest.raises(InputError, match=r"from different training runs \(they differ in .*policy"):
        load_policy(run)
    assert main(["export", str(run), "--format", "torchscript", "--out", str(tmp_path / "p.ts")]) == 2
    assert "from different training runs" in capsys.readouterr().err


def test_a_curve_costs_no_report(run):
    for content in (None, b"", b"step,seconds", b"\0\xff" * 50, b"step,nll\n1,abc\n"):
        (run / "metrics.csv").unlink(missing_ok=True)
        if content is not None:
            (run / "metrics.csv").write_bytes(content)
        assert write_run_report(run, [], ["dtql-robot", "eval"]).exists()
        assert read_metrics(run / "metrics.csv") == []
    (run / "metrics.csv").unlink(missing_ok=True)
    (run / "metrics.csv").mkdir()
    assert write_run_report(run, [], ["dtql-robot", "eval"]).exists()


def test_half_rows_are_left_out(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,seconds,nll\n1,0.1,0.5\n2,0.2\n33,0.3,0.4\n4,0.4,0.3\n44,0.5,0.2,0.1\n50,0.6,x\n60,0.7,0.1")
    assert [r["step"] for r in read_metrics(path)] == [1, 33]


def test_rows_are_appended_and_columns_may_join(tmp_path):
    path = tmp_path / "metrics.csv"
    table = MetricsFile(path, 0)
    table.write(1, {"q_loss": 0.5})
    table.write(1_234_567, {"q_loss": 0.25, "nll": 3.0})
    assert [(r["step"], r["q_loss"]) for r in read_metrics(path)] == [(1, 0.5), (1_234_567, 0.25)]
    assert [r["nll"] == 3.0 for r in read_metrics(path)] == [False, True]
    table.close()
    with open(path, "a") as file:
        file.write("1234999,7")  # cut off
    again = MetricsFile(path, 1_234_567)
    again.write(1_300_000, {"q_loss": 0.1, "nll": 2.0})
    again.close()
    assert [r["step"] for r in read_metrics(path)] == [1, 1_234_567, 1_300_000]


def test_a_row_that_does_not_fit_is_taken_back(tmp_path):
    """A real limit of the size of files, within one row."""
    import resource
    import signal

    path = tmp_path / "metrics.csv"
    table = MetricsFile(path, 0)
    table.write(1, {"q_loss": 0.5})
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, before[1]))
        table.write(2, {"q_loss": 0.25})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    table.write(3, {"q_loss": 0.125})
    table.close()
    assert [r["step"] for r in read_metrics(path)] == [1, 3]
    assert path.read_text().count("\n") == 3
    assert table.lost == 1


def test_folders_of_seeds_are_told_by_their_names(tmp_path):
    for name in ("seed0", "seed10", "seed2", "seedx", "seed-1", "seed²", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert list(seed_runs(tmp_path)) == [0, 2, 10]
