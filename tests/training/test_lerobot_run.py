"""From a LeRobot folder to a result: trained and evaluated on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import save_lerobot
from dtql_robot.envs.make import make_env
from dtql_robot.types import Demonstrations
from tests.test_cli import SMALL

pytest.importorskip("pyarrow", reason="pyarrow is not installed (pip install 'dtql-robot[lerobot]')")
pytest.importorskip("av", reason="av is not installed (pip install 'dtql-robot[lerobot]')")

ENV = "InvertedPendulum-v5"
pytestmark = pytest.mark.simulator


def balanced(episodes: int = 3) -> Demonstrations:
    """A pole that a simple controller balances for 20 steps."""
    env, rng = make_env(ENV, max_episode_steps=20), np.random.default_rng(0)
    recorded: list[dict[str, Any]] = []
    for i in range(episodes):
        obs, _ = env.reset(seed=i)
        rows: dict[str, list[Any]] = {"observations": [obs["observation"]], "actions": [], "rewards": []}
        done = False
        while not done:
            angle, speed = obs["observation"][[1, 3]]
            action = np.array([8 * angle + speed + 0.1 * rng.standard_normal()], np.float32)
            obs, reward, terminated, truncated, _ = env.step(action)
            rows["observations"].append(obs["observation"])
            rows["actions"].append(action)
            rows["rewards"].append(reward)
            done = terminated or truncated
        recorded.append({key: np.array(values) for key, values in rows.items()})
    env.close()
    return Demonstrations.from_arrays(recorded)


@pytest.mark.slow
def test_a_folder_that_names_no_environment_is_trained_and_evaluated(tmp_path: Path) -> None:
    folder = save_lerobot(balanced(), tmp_path / "pendulum", version="v3.0")
    (folder / "meta" / "dtql_robot.json").unlink(missing_ok=True)  # as lerobot itself writes a folder
    run = tmp_path / "run"
    assert main(["-q", "train", "--data", str(folder), "--env", ENV, "--out", str(run), *SMALL]) == 0
    assert main(["-q", "eval", str(run), "--episodes", "2", "--workers", "1", "--max-episode-steps", "10"]) == 0
    found = json.loads((run / "results.json").read_text())
    assert (found["env"], found["episodes"], found["success_rate"]) == (ENV, 2, None)
    assert all(0 < episode["length"] <= 10 for episode in found["per_episode"])
    assert "pendulum" in (run / "report.html").read_text()
