"""What several tests share: small synthetic demonstrations and where the real files are."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch

from dtql_robot.types import Demonstrations, Episode
from tests.helpers.skips import fail_wrong_skip, skip_without_gl

torch.set_num_threads(1)

for name in ("ROBOMIMIC", "D4RL", "OGBENCH", "MINARI", "LEROBOT"):  # no test reaches for the network
    os.environ[f"DTQL_{name}_URL"] = "http://127.0.0.1:9"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

SIMULATED = ("tests/envs/", "tests/eval/", "tests/replay/")
"""Where every test counts as one that needs a simulator."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(SIMULATED) or item.get_closest_marker("gl"):
            item.add_marker(pytest.mark.simulator)


def pytest_runtest_setup(item: pytest.Item) -> None:
    skip_without_gl(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fail_wrong_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    fail_wrong_skip(report)
    return report


def make_episode(
    name: str, steps: int, seed: int, *, obs_dim: int = 5, action_dim: int = 2, final: bool = True, success: bool = True
) -> Episode:
    """A linear expert: action = tanh(W obs), success at the last step if asked for."""
    rng = np.random.default_rng(seed)
    weights = np.random.default_rng(0).standard_normal((obs_dim, action_dim)).astype(np.float32)
    obs = rng.standard_normal((steps + 1, obs_dim)).astype(np.float32)
    succeeded = np.zeros(steps, bool)
    succeeded[-1] = success
    return Episode(
        name=name,
        obs={"state": obs[:-1]},
        final_obs={"state": obs[-1]} if final else None,
        actions=np.tanh(obs[:-1] @ weights),
        rewards=succeeded.astype(np.float32),
        terminated=False,
        truncated=True,
        success=succeeded,
    )


@pytest.fixture
def demos() -> Demonstrations:
    episodes = tuple(make_episode(f"demo_{i}", 10 + i, seed=i, success=i % 2 == 0) for i in range(6))
    return Demonstrations(episodes, "synthetic", "robomimic")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real demonstration files; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("DTQL_ROBOT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real demonstration files not found in {folder} (set DTQL_ROBOT_DATA)")
    return folder
