"""robomimic's own rollout functions drive our policies.  Skipped where robomimic is not installed."""

import sys
import types

import numpy as np
import pytest

from dtql_robot.envs.collection.fetch_expert import expert
from dtql_robot.errors import InputError
from dtql_robot.eval import evaluate
from dtql_robot.eval.robomimic_rollout import rollout_env, rollout_policy

pytest.importorskip("robomimic", reason="robomimic is not installed (scripts/setup.sh robomimic)")


class Anything(types.ModuleType):
    """Stands in for a package whose content is named and never used."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return object


@pytest.fixture(scope="module")
def train_utils():
    """robomimic's rollout module.  It imports torchvision for image models, of which a rollout uses nothing."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional", "torchvision.models")
        for name in names:
            module = sys.modules[name] = Anything(name)
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)
    import robomimic.utils.train_utils

    yield robomimic.utils.train_utils
    for name in [name for name, found in sys.modules.items() if isinstance(found, Anything)]:
        del sys.modules[name]


class Expert:
    """A scripted expert with seeded noise, as both robomimic's rollout and our evaluation ask for actions."""

    n_action_steps = 1

    def __init__(self, task, action_dim, noise):
        self._expert, self.action_dim, self._noise = expert(task), action_dim, noise

    def reset(self, seed=None):
        from dtql_robot.envs.seeding import episode_rng

        self._rng = episode_rng(seed)

    def act(self, obs):
        return self._expert(obs) + self._noise * self._rng.standard_normal(self.action_dim)

    def predict(self, obs, rngs):
        rows = []
        for b, self._rng in enumerate(rngs):
            rows.append([self.act({key: value[b] for key, value in obs.items()})])
        return np.asarray(rows, np.float32)


@pytest.mark.slow
def test_robomimics_rollout_finds_what_our_evaluation_does(train_utils):
    policy, episodes = Expert("FetchPush-v4", 4, noise=0.6), 6
    ours = evaluate(policy, "FetchPush-v4", episodes=episodes, seed=2, num_envs=1, progress=False)
    env, wrapped = rollout_env("FetchPush-v4", seed=2), rollout_policy(policy, seed=2)
    for episode in ours.per_episode:
        result = train_utils.run_rollout(wrapped, env, horizon=50)
        assert result["Horizon"] == episode.length
        assert result["Return"] == pytest.approx(episode.episode_return)
        assert bool(result["Success_Rate"]) == (episode.time_to_success is not None)


def test_statistics_over_episodes(train_utils):
    policy = rollout_policy(Expert("FetchReach-v4", 4, noise=0.1))
    envs = {"reach": rollout_env("FetchReach-v4")}
    logs, _ = train_utils.rollout_with_stats(policy, envs, horizon=50, num_episodes=3, terminate_on_success=True)
    assert logs["reach"]["Success_Rate"] == 1.0
    assert logs["reach"]["Horizon"] < 50


@pytest.mark.slow
def test_lift_in_robosuite(train_utils):
    pytest.importorskip("robosuite", reason="robosuite is not installed (pip install 'dtql-robot[robosuite]')")
    policy = rollout_policy(Expert("robosuite:Lift", 7, noise=0.0))
    result = train_utils.run_rollout(policy, rollout_env("robosuite:Lift"), horizon=100, terminate_on_success=True)
    assert result["Success_Rate"] == 1.0
    assert result["Return"] == 1.0


def test_the_trained_policy_itself_is_driven(train_utils):
    import torch

    from dtql_robot.algorithm.agent import DTQL
    from dtql_robot.config import Config
    from dtql_robot.policy.interface import Interface
    from dtql_robot.policy.normalize import identity
    from dtql_robot.policy.one_step import OneStepPolicy
    from dtql_robot.training.chunk_weights import even_weights

    face = Interface(
        ("observation", "desired_goal"),
        ((10,), (3,)),
        identity(13),
        identity(4),
        4,
        0.5,
        chunk_weights=even_weights(Config().data.horizon),
    )
    policy = OneStepPolicy(DTQL(Config(), 13, 4, 0.5, torch.device("cpu")), face)
    result = train_utils.run_rollout(rollout_policy(policy), rollout_env("FetchReach-v4"), horizon=20)
    assert result["Horizon"] == 20


def test_a_torchvision_of_another_torch_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "robomimic.algo", None)
    with pytest.raises(InputError, match=r"torchvision 0\.28\.0 goes with torch 2\.13\.0"):
        rollout_env("FetchReach-v4")
