import re
import shlex

import numpy as np
import pytest

from dtql_robot.cli import parse
from dtql_robot.config import Config, DataConfig, DiffusionConfig, OptimConfig
from dtql_robot.datasets import inspect
from dtql_robot.errors import InputError
from dtql_robot.eval.episode_result import EpisodeResult
from dtql_robot.eval.result import EvalResult
from dtql_robot.metrics import panels
from dtql_robot.reports.curves import plot_curves, series, smooth
from dtql_robot.reports.page import write_report
from dtql_robot.reports.reproduce import training_command
from dtql_robot.reports.run_report import judged


@pytest.fixture
def results():
    episodes = tuple(EpisodeResult(1000 + i, i % 4 > 0, -10.0 - i, 50, 7 if i % 4 else None) for i in range(8))
    return EvalResult("FetchPush-v4", 0, episodes, "last", 50, 1, 2000.0, 500.0, {"mujoco": "3.8.1"}).to_dict()


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return [{"step": str(i), "q_loss": str(1 / (i + 1)), "nll": rng.normal(), "note": "text"} for i in range(100)]


def test_the_report_holds_everything_and_needs_nothing_beside_it(tmp_path, results, rows):
    video = tmp_path / "v.mp4"
    video.write_bytes(b"mp4 bytes")
    html = write_report(
        tmp_path / "report.html",
        title="Push & <run>",
        results=results,
        config={"train": {"lr": 3e-4, "hidden": [256, 256]}, "compile": False},
        dataset={"source": "push.hdf5", "episodes": 200},
        decisions=["behaviour is learned from <92> of 300"],
        curves_png=plot_curves(rows, tmp_path / "curves.png"),
        videos=[video],
        command=["dtql-robot train --data push.hdf5", "dtql-robot eval"],
        versions={"torch": "2.13.0"},
    ).read_text()
    assert "<p>behaviour is learned from &lt;92&gt; of 300</p>" in html
    assert "75.0%" in html
    assert "6 of 8" in html
    assert "Push &amp; &lt;run&gt;" in html
    assert "data:video/mp4;base64,bXA0IGJ5dGVz" in html
    assert "data:image/png;base64," in html
    for text in ("train.lr", "0.0003", "256, 256", "push.hdf5", "2.13.0", "dtql-robot train --data push.hdf5"):
        assert text in html
    assert html.count('class="ok-text"') == 6
    assert html.count('class="bad-text"') == 2
    assert not re.search(r"""(src|href)=["'](?!data:)|https?://|@import|url\(""", html)


def test_the_report_says_what_is_missing(tmp_path, results):
    results["video_note"] = "No video. Run `sudo apt-get install -y libegl1 libgl1`."
    html = write_report(tmp_path / "r.html", title="t", results=results, config={}).read_text()
    assert "libegl1" in html
    assert "No learning curves" in html
    assert "does not say which data" in html
    assert "3.8.1" in html


def test_only_numbers_become_curves(rows):
    rows[3]["nll"] = ""
    found = series(rows)
    assert list(found) == ["q_loss", "nll"]
    assert len(found["nll"][0]) == 99


def test_smoothing_keeps_constants_and_averages_neighbours():
    assert np.allclose(smooth(np.full(9, 2.0), 5), 2.0)
    assert smooth(np.array([0.0, 3.0, 6.0, 0.0]), 3).tolist() == [1.5, 3.0, 3.0, 3.0]


def test_curves_are_written_as_png(tmp_path, rows):
    assert plot_curves(rows, tmp_path / "a" / "c.png").read_bytes()[:4] == b"\x89PNG"
    assert plot_curves(rows[:1], tmp_path / "one.png").is_file()


def test_a_dataset_is_shown_with_its_statistics(tmp_path, results, demos):
    html = write_report(tmp_path / "r.html", title="t", results=results, config={}, dataset=inspect(demos)).read_text()
    assert "<td>episodes</td><td>6</td>" in html
    assert "<td>success, at end</td><td>3</td>" in html
    assert '<tr><td>state</td><td class="nb">5</td><td>float32</td>' in html
    assert html.count('<svg class="bars"') == demos.action_dim
    assert "histogram" in html
    assert "[{" not in html
    assert "{&#39;" not in html


def test_several_videos_are_named(tmp_path, results):
    videos = [tmp_path / name for name in ("front.mp4", "side.mp4")]
    for video in videos:
        video.write_bytes(b"mp4 bytes")
    html = write_report(tmp_path / "r.html", title="t", results=results, config={}, videos=videos).read_text()
    assert html.count('src="data:video/mp4') == 2
    assert "front.mp4" in html
    assert "side.mp4" in html


SETTINGS = Config(
    steps=9,
    data=DataConfig(obs_keys=("a b", "c"), filter_key="train", horizon=3, n_action_steps=2),
    diffusion=DiffusionConfig(sigma_data=0.1234567890123),
    optim=OptimConfig(lr_decay=False, compile=True),
)


@pytest.mark.parametrize("config", [Config(), SETTINGS], ids=["default", "changed"])
def test_the_training_command_gives_the_same_settings(config, tmp_path):
    settings = {"data": "my demos.hdf5", "env": "robosuite:Lift+state=a,b", "config": config.to_dict()}
    line = shlex.join(training_command(tmp_path / "run", settings))
    program, command, *words = shlex.split(line)
    assert (program, command) == ("dtql-robot", "train")
    _, options = parse(command, words)
    assert options.settings == config
    assert (options.data, options.env, options.out) == ("my demos.hdf5", settings["env"], tmp_path / "run")


@pytest.mark.parametrize("empty", [[], [{"step": 1, "note": "x"}]])
def test_a_log_without_numbers_is_refused(tmp_path, empty):
    with pytest.raises(InputError, match="no curve to draw"):
        plot_curves(empty, tmp_path / "c.png")


def test_the_report_says_which_checkpoint_it_judges_and_why_best_is_optimistic():
    rows = [{"step": 10.0 * i, "eval_episodes": 20.0, "eval_success": i / 10, "eval_return": 0.0} for i in (1, 2, 3)]
    config = {"watch": {"eval_episodes": 20}}
    assert judged({}, config, rows) == []
    (last,) = judged({"checkpoint_name": "last", "checkpoint_step": 6000}, config, rows)
    assert "last checkpoint, after update 6,000; it was not chosen by its result" in last
    (best,) = judged({"checkpoint_name": "best", "checkpoint_step": 30}, config, rows)
    assert "the best of 3 checkpoints, after update 30, chosen by 20 episodes each" in best
    assert "rate there (30.0%) is optimistic" in best


def test_curves_are_called_what_they_are():
    squared, likelihood = (
        {p.title for p in panels(["nll", "q_loss"], {"policy": {"nll": nll}})} for nll in ("mse", "tanh")
    )
    assert squared == {"Squared error to recorded actions", "Bellman error of Q"}
    assert "Negative log-likelihood" in likelihood
    both = panels(["step", "train_action_error", "eval_success_high", "valid_action_error", "eval_success_low", "new",
                   "eval_success"], {})  # fmt: skip
    assert [(p.title, list(p.lines), p.band) for p in both] == [
        ("Success while training", ["eval_success"], ("eval_success_low", "eval_success_high")),
        ("Squared error of the acting policy", ["valid_action_error", "train_action_error"], None),
        ("new", ["new"], None),
    ]
