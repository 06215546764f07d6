"""Trainings in TensorBoard, Weights & Biases (offline) and MLflow (its files), read back by their own readers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dtql_robot.api.training import train
from dtql_robot.errors import InputError
from dtql_robot.run_folder import read_metrics
from dtql_robot.tracking.tracking import log_evaluation, tracked

SMALL = {"steps": 20, "log_every": 5, "policy_hidden": (16,), "critic_hidden": (16,), "denoiser_width": 16,
         "batch_size": 16, "threads": 1, "device": "cpu", "progress": False}  # fmt: skip


def write_video(path: Path) -> Path:
    from dtql_robot.eval.video.clips import mp4_writer

    with mp4_writer(path, 10) as writer:
        for i in range(12):
            writer.append_data(np.full((160, 160, 3), 20 * i, np.uint8))
    return path


@pytest.mark.slow
def test_tensorboards_own_reader_finds_numbers_figures_and_videos(demos, tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = train(demos, tmp_path / "run", log="tensorboard", **SMALL)
    train(demos, run, resume=True, log="tensorboard", **{**SMALL, "steps": 30})
    results = {"success_rate": 0.5, "mean_return": 2.0, "episodes": 10}
    assert log_evaluation(run, results, [write_video(run / "rollouts.mp4")], 30) == ["tensorboard"]
    found = accumulators.EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    found.Reload()
    rows = read_metrics(run / "metrics.csv")
    logged = [(e.step, e.value) for e in found.Scalars("train/q_loss")]
    np.testing.assert_allclose(logged, [(r["step"], r["q_loss"]) for r in rows], rtol=1e-5)
    assert [e.value for e in found.Scalars("final/success_rate")] == [0.5]
    assert found.Images("curves")[-1].encoded_image_string.startswith(b"\x89PNG")
    assert found.Images("final/rollouts")[0].encoded_image_string.startswith(b"GIF8")


@pytest.mark.slow
def test_mlflows_files_hold_the_run(demos, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    run = train(demos, tmp_path / "run", log="mlflow", **SMALL)
    client = mlflow.MlflowClient((tmp_path / "store").as_uri())
    kept = client.get_run(tracked(run)["mlflow"])
    assert kept.data.params["policy.policy_hidden"] == "[16]"
    assert kept.info.status == "FINISHED"
    logged = [(m.step, m.value) for m in client.get_metric_history(kept.info.run_id, "train/q_loss")]
    np.testing.assert_allclose(logged, [(r["step"], r["q_loss"]) for r in read_metrics(run / "metrics.csv")], rtol=1e-5)
    assert [a.path for a in client.list_artifacts(kept.info.run_id, "curves")] == ["curves/curves.png"]


@pytest.mark.slow
def test_wandb_keeps_an_offline_run(demos, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = train(demos, tmp_path / "run", log="wandb", **SMALL)
    (kept,) = (run / "wandb").glob(f"offline-run-*/run-{tracked(run)['wandb']}.wandb")
    content = kept.read_bytes()
    assert b"train/q_loss" in content
    assert b"policy_hidden" in content
    assert list((run / "wandb").glob("offline-run-*/files/media/images/curves_*.png"))


@pytest.mark.slow
def test_a_tracker_that_fails_costs_no_training(demos, tmp_path, monkeypatch, capsys):
    from dtql_robot.tracking import trackers

    class Broken:
        def __init__(self, *args):
            raise ConnectionError("no network")

    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", Broken)
    run = train(demos, tmp_path / "run", log="tensorboard", **SMALL)
    assert read_metrics(run / "metrics.csv")[-1]["step"] == 20
    assert "tensorboard failed and is not used from here on: ConnectionError: no network" in capsys.readouterr().err


def test_a_missing_package_is_one_sentence_before_the_work(demos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"--log wandb needs wandb: pip install 'dtql-robot\[track\]'"):
        train(demos, tmp_path / "run", log="wandb", **SMALL)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_no_tracker_is_imported_where_none_is_asked_for():
    names = "('wandb', 'mlflow', 'tensorboard')"
    code = f"import sys, dtql_robot.api.training; print([m for m in {names} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
