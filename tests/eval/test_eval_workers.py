"""What does not change an evaluation's results: how many simulators run, where, and whether one of them dies."""

import contextlib
import os
import signal

import numpy as np
import pytest
from eval_policies import ConstantPolicy, RandomPolicy, ScriptedPolicy

from dtql_robot.envs.seeding import evaluation_seed
from dtql_robot.envs.workers import WorkerError
from dtql_robot.eval import evaluate
from dtql_robot.eval.env_pool import ProcessPool, make_pool
from dtql_robot.eval.rollout import run_episodes

TASK = "FetchPush-v4"


@pytest.mark.parametrize(("spec", "action_dim", "steps"), [("AdroitHandDoor-v1", 28, 40), ("FrankaKitchen-v1", 9, 8)])
def test_results_do_not_depend_on_the_number_of_environments(spec, action_dim, steps):
    def run(num_envs):
        policy = RandomPolicy(action_dim)
        return evaluate(policy, spec, episodes=9, num_envs=num_envs, max_episode_steps=steps, progress=False)

    alone = run(1)
    assert alone.where == "in-process"
    assert len({e.episode_return for e in alone.per_episode}) > 1 or spec.startswith("Franka")
    for num_envs in (2, 8):
        together = run(num_envs)
        assert together.where == "processes"
        assert together.per_episode == alone.per_episode


def test_environments_in_this_process_give_the_same_results():
    runs = [
        evaluate(ScriptedPolicy(), TASK, episodes=5, num_envs=n, where=where, progress=False)
        for n, where in ((3, "in-process"), (1, "processes"))
    ]
    assert runs[0].per_episode == runs[1].per_episode
    assert [run.where for run in runs] == ["in-process", "processes"]


@pytest.mark.parametrize(("spec", "in_process"), [("MountainCarContinuous-v0", True), (TASK, False)])
def test_processes_are_used_where_simulation_is_the_cost(spec, in_process):
    with contextlib.closing(make_pool(2, spec, None, None)) as pool:
        assert pool.in_process == in_process


class Saboteur(ScriptedPolicy):
    """Sends a signal to the first worker at its `at`-th decisions."""

    def __init__(self, pool, at, which):
        super().__init__(TASK)
        self._pool, self._at, self._signal, self._calls = pool, set(at), which, 0

    def predict(self, obs, rngs):
        self._calls += 1
        if self._calls in self._at:
            os.kill(self._pool.workers[0].pid, self._signal)
        return super().predict(obs, rngs)


def sabotaged(at, which, timeout=60.0, num_envs=2):
    seeds = [evaluation_seed(3, i) for i in range(6)]
    with contextlib.closing(ProcessPool(num_envs, TASK, processes=2, timeout=timeout)) as pool:
        facts = pool.facts()
        return run_episodes(Saboteur(pool, at, which), pool, num_envs, seeds, facts)


@pytest.fixture(scope="module")
def undisturbed():
    return evaluate(ScriptedPolicy(), TASK, episodes=6, seed=3, num_envs=1, progress=False)


def test_the_episode_of_a_worker_that_is_killed_is_run_again_and_reported(undisturbed):
    results, restarts = sabotaged([7], signal.SIGKILL)
    assert tuple(results) == undisturbed.per_episode
    assert len(restarts) == 1
    assert restarts[0].steps > 0
    assert "exit status -9" in restarts[0].reason


def test_every_episode_in_a_killed_worker_is_run_again(undisturbed):
    """Also one whose next actions the policy was just deciding."""
    results, restarts = sabotaged([9], signal.SIGKILL, num_envs=6)
    assert tuple(results) == undisturbed.per_episode
    assert len({r.seed for r in restarts}) == len(restarts) == 3


def test_a_worker_that_hangs_is_replaced_after_the_timeout(undisturbed, monkeypatch):
    results, restarts = sabotaged([5], signal.SIGSTOP, timeout=2.0)
    assert tuple(results) == undisturbed.per_episode
    assert [r.reason for r in restarts] == ["A simulator process stopped answering."]


def test_an_episode_that_kills_every_worker_is_an_error():
    with pytest.raises(WorkerError, match="was lost 3 times"):
        sabotaged(range(1, 100), signal.SIGKILL)


def test_restarts_are_in_the_results(undisturbed):
    from dataclasses import replace

    from dtql_robot.eval.result import Restart

    result = replace(undisturbed, restarts=(Restart(5, 12, "It died."),))
    assert result.to_dict()["restarts"] == [{"seed": 5, "steps": 12, "reason": "It died."}]
    assert "seed 5 was run again" in str(result)


def test_kitchen_reports_each_part_of_its_task():
    """The kettle of a policy that does nothing stays where it is."""
    policy = ConstantPolicy(np.zeros(9))
    result = evaluate(policy, "FrankaKitchen-v1", episodes=2, num_envs=1, max_episode_steps=5, progress=False)
    assert set(result.subtask_success) >= {"kettle", "microwave"}
    assert result.to_dict()["subtask_success"]["kettle"] == 0.0
    assert result.to_dict()["per_episode"][0]["subtasks"]["kettle"] is False
    assert "kettle 0%" in str(result)


def test_the_mean_time_to_success_is_over_the_successes(undisturbed):
    times = [e.time_to_success for e in undisturbed.per_episode if e.success]
    assert undisturbed.to_dict()["mean_time_to_success"] == pytest.approx(np.mean(times))
