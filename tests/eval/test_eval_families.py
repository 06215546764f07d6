"""Evaluation in the optional simulators: the same results whatever runs at once."""

import importlib.util

import pytest

from dtql_robot.eval import evaluate
from tests.helpers.eval_policies import RandomPolicy


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "action_dim"),
    [("robosuite:Lift", 7), ("metaworld:pick-place-v3", 4), ("ogbench:cube-single-v0", 5)],
)
def test_results_do_not_depend_on_the_number_of_environments(spec, action_dim):
    package = spec.partition(":")[0]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed (pip install 'dtql-robot[{package}]')")

    def run(num_envs):
        policy = RandomPolicy(action_dim)
        return evaluate(policy, spec, episodes=8, num_envs=num_envs, max_episode_steps=10, progress=False)

    alone = run(1)
    for num_envs in (2, 8):
        assert run(num_envs).per_episode == alone.per_episode
