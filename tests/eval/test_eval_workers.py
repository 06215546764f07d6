"""What does not change an evaluation's results: how many simulators run, where, and whether one of them dies."""

import contextlib
import dataclasses
import os
import signal

import numpy as np
import pytest

from dtql_robot.envs.make import env_info, make_env
from dtql_robot.envs.seeding import evaluation_seed
from dtql_robot.eval import evaluate
from dtql_robot.eval.evaluation import LATENCY_CALLS
from dtql_robot.eval.pools.chunked_env import ChunkResult
from dtql_robot.eval.pools.env_pool import in_full_rounds, make_pool, suitable_envs
from dtql_robot.eval.pools.process_pool import ProcessPool, pack, unpack
from dtql_robot.eval.rollout import run_episodes
from tests.helpers.eval_policies import ConstantPolicy, RecordingPolicy, ScriptedPolicy, TravellingPolicy

TASK = "FetchPush-v4"
TIMED = 3 + LATENCY_CALLS  # calls that measure how fast a policy is


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "action_dim", "steps"), [("AdroitHandDoor-v1", 28, 40), ("FrankaKitchen-v1", 9, 8)])
def test_results_do_not_depend_on_the_number_of_environments(spec, action_dim, steps):
    def run(num_envs):
        policy = RecordingPolicy(action_dim)
        result = evaluate(policy, spec, episodes=9, num_envs=num_envs, max_episode_steps=steps, progress=False)
        return result, policy.seen

    alone, seen = run(1)
    assert alone.where == "in-process"
    assert len(seen) >= 9 * steps // RecordingPolicy(action_dim).n_action_steps  # no two observations are the same
    for num_envs in (2, 8):
        together, seen_together = run(num_envs)
        assert seen_together == seen
        assert together.where == "processes"
        assert together.per_episode == alone.per_episode


@pytest.mark.slow
def test_environments_in_this_process_give_the_same_results():
    runs = [
        evaluate(ScriptedPolicy(), TASK, episodes=5, num_envs=n, where=where, progress=False)
        for n, where in ((3, "in-process"), (1, "processes"))
    ]
    assert runs[0].per_episode == runs[1].per_episode
    assert [run.where for run in runs] == ["in-process", "processes"]


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "in_process"), [("MountainCarContinuous-v0", True), (TASK, False)])
def test_processes_are_used_where_simulation_is_the_cost(spec, in_process):
    with contextlib.closing(make_pool(2, spec, None, None, episodes=2)) as pool:
        assert pool.in_process == in_process


class Sabotaged(ProcessPool):
    """Sends a signal to the first worker just before the chunks of environment 0 that are numbered in `at`.

    (Counting environment 0's own chunks, not the policy's calls: how these are batched depends on the machine's load.)
    """

    def __init__(self, at, which, num_envs, **kwargs):
        super().__init__(num_envs, TASK, processes=2, **kwargs)
        self._at, self._signal, self._chunks = at, which, 0

    def _go_on(self, env, method, value):
        if env == 0:
            self._chunks += 1
            if self._chunks in self._at:
                os.kill(self.workers[0].pid, self._signal)
        super()._go_on(env, method, value)


def sabotaged(at, which, num_envs=2, policy=None, **kwargs):
    """policy: one that acts in the workers."""
    seeds = [evaluation_seed(3, i) for i in range(6)]
    with contextlib.closing(Sabotaged(at, which, num_envs, policy=policy, **kwargs)) as pool:
        facts = pool.facts()
        return run_episodes(policy or ScriptedPolicy(TASK), pool, num_envs, seeds, facts)


@pytest.fixture(scope="module")
def undisturbed():
    return evaluate(ScriptedPolicy(), TASK, episodes=6, seed=3, num_envs=1, progress=False)


@pytest.mark.slow
def test_the_episode_of_a_worker_that_is_killed_is_run_again_and_reported(undisturbed):
    """Two chunks of three steps in."""
    results, restarts = sabotaged([3], signal.SIGKILL)
    assert tuple(results) == undisturbed.per_episode
    assert [(r.seed, r.steps) for r in restarts] == [(evaluation_seed(3, 0), 6)]
    assert "exit status -9" in restarts[0].reason


@pytest.mark.slow
def test_every_episode_in_a_killed_worker_is_run_again(undisturbed):
    """Also one whose next actions the policy was just deciding."""
    results, restarts = sabotaged([3], signal.SIGKILL, num_envs=6)
    assert tuple(results) == undisturbed.per_episode
    assert sorted(r.seed for r in restarts) == [evaluation_seed(3, i) for i in (0, 2, 4)]


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced_after_the_timeout(undisturbed):
    results, restarts = sabotaged([2], signal.SIGSTOP, timeout=3.0)
    assert tuple(results) == undisturbed.per_episode
    assert evaluation_seed(3, 0) in [r.seed for r in restarts]  # on a busy machine the other may be late too
    assert {r.reason for r in restarts} == {"A simulator process stopped answering."}


@pytest.mark.slow
def test_an_episode_that_kills_every_worker_is_a_failed_one_and_the_others_stand(undisturbed):
    """Those of environment 0; the other process plays what is left."""
    results, restarts = sabotaged(range(1, 100), signal.SIGKILL)
    failed = [i for i, result in enumerate(results) if result.error]
    assert failed[0] == 0
    assert len(failed) < len(results)
    for result, whole in zip(results, undisturbed.per_episode, strict=True):
        assert (not result.success and "exit status -9" in result.error) if result.error else result == whole
    assert {r.seed for r in restarts} >= {results[i].seed for i in failed}


def test_arrays_of_any_kind_travel_whole():
    obs = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.full((2, 2, 3), 7, np.uint8), "c": np.zeros(0)}
    for key, value in unpack(pack(obs)).items():
        assert (value.dtype, value.shape) == (obs[key].dtype, obs[key].shape)
        assert np.array_equal(value, obs[key])


@pytest.mark.slow
@pytest.mark.parametrize("num_envs", [1, 2, 6])
def test_a_policy_in_the_workers_gives_the_same_results(undisturbed, num_envs):
    """With noise of its own, and with episodes that are left and taken up again."""
    policy = TravellingPolicy(TASK, pause=0.03)
    result = evaluate(policy, TASK, episodes=6, seed=3, num_envs=num_envs, where="processes", progress=False)
    assert not policy.batch_sizes[TIMED:]  # nothing was decided here
    assert result.per_episode == undisturbed.per_episode


@pytest.mark.slow
def test_an_episode_whose_policy_dies_with_the_worker_is_run_again(undisturbed):
    results, restarts = sabotaged([2], signal.SIGKILL, num_envs=4, policy=TravellingPolicy(TASK, pause=0.03))
    assert tuple(results) == undisturbed.per_episode
    assert {r.seed for r in restarts} == {evaluation_seed(3, i) for i in (0, 2)}
    assert 0 < max(r.steps for r in restarts) < 50


@pytest.mark.slow
def test_a_policy_of_low_dimensional_observations_acts_in_the_workers():
    torch = pytest.importorskip("torch")
    from dtql_robot.algorithm.agent import DTQL
    from dtql_robot.config import Config
    from dtql_robot.policy.interface import Interface
    from dtql_robot.policy.normalize import identity
    from dtql_robot.policy.one_step import OneStepPolicy
    from dtql_robot.training.chunk_weights import even_weights

    facts = env_info(TASK)
    keys, size = tuple(facts.obs_shapes), sum(int(np.prod(shape)) for shape in facts.obs_shapes.values())
    face = Interface(
        keys,
        tuple(facts.obs_shapes.values()),
        identity(size),
        identity(4),
        4,
        0.5,
        chunk_weights=even_weights(Config().data.horizon),
    )
    policy = OneStepPolicy(DTQL(Config(), size, 4, 0.5, torch.device("cpu")), face)
    runs = [evaluate(policy, TASK, episodes=7, num_envs=n, progress=False) for n in (1, 2, 8)]
    assert [run.where for run in runs] == ["in-process", "processes", "processes"]
    assert runs[0].per_episode == runs[1].per_episode == runs[2].per_episode
    assert policy.portable() is not None
    policy.set_act("diffusion")
    assert policy.portable() is None


def test_restarts_are_in_the_results(undisturbed):
    from dataclasses import replace

    from dtql_robot.eval.episode_result import Restart

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


class SpeedyPool:
    """Two processes without simulators, each with `num_envs` / 2 environments; the first takes `pace` times as long.

    Episodes last 10 steps.  A process does what was asked of it in turn; `wait` gives the answers of whichever is done
    first.
    """

    in_process = acts = False

    def __init__(self, num_envs, pace):
        self.num_envs, self.cost = num_envs, (pace, 1.0)
        self.asked, self.clock, self.done, self.steps = ([], []), [0.0, 0.0], [0, 0], {}

    def process(self, env):
        return env % 2

    def reset(self, env, seed):
        self.steps[env] = 0
        self.asked[env % 2].append(env)

    def run_chunk(self, env, actions):
        self.steps[env] += len(actions)
        self.asked[env % 2].append(env)

    def wait(self):
        process = min((p for p in (0, 1) if self.asked[p]), key=lambda p: self.clock[p])
        answers = []
        for env in self.asked[process]:
            ended = self.steps[env] == 10
            self.clock[process] += self.cost[process] * (self.steps[env] > 0)
            self.done[process] += ended
            obs = {"x": np.zeros(1)}
            answers.append((env, ChunkResult(obs, [0.0], [False], ended, {}, {}) if self.steps[env] else obs))
        self.asked[process].clear()
        return answers


@pytest.mark.parametrize("pace", [1.0, 1.25])
def test_processes_end_their_work_together(pace):
    """24 episodes in 16 environments: without care the process that ends a round first takes the whole second one."""
    pool = SpeedyPool(16, pace)
    policy = ConstantPolicy(np.zeros(2))
    facts = dataclasses.replace(env_info("FetchReach-v4"), horizon=10)
    results, _ = run_episodes(policy, pool, 16, range(24), facts)
    assert [r.seed for r in results] == list(range(24))
    assert sum(pool.done) == 24
    assert max(pool.clock) <= 1.2 * min(pool.clock)


def test_dear_simulators_get_few_environments():
    assert [suitable_envs(400, seconds, 2, acts=False) for seconds in (0.1, 0.01, 0.0025, 1e-6)] == [4, 4, 16, 40]
    assert [suitable_envs(400, seconds, 2, acts=True) for seconds in (0.1, 0.0025, 1e-6)] == [2, 8, 50]
    assert [suitable_envs(n, 1e-6, 16, acts=False) for n in (3, 64, 128)] == [3, 64, 64]


def test_rounds_of_episodes_are_full():
    assert [in_full_rounds(n, 40) for n in (1, 40, 41, 100, 120, 121)] == [1, 40, 21, 34, 40, 31]


def test_steps_are_those_of_step_by_step():
    one, other = (make_env("FetchPush-v4") for _ in range(2))
    actions = np.random.default_rng(0).uniform(-1.5, 1.5, (60, 4)).astype(np.float32)
    for env in (one, other):
        env.reset(seed=3)
    obs, rewards, successes, ended, info = one.steps(actions)
    stepped = [other.step(action) for action in actions[:50]]
    assert ended
    assert stepped[-1][3]
    assert rewards == [s[1] for s in stepped]
    assert successes == [s[4]["success"] for s in stepped]
    assert info.keys() <= stepped[-1][4].keys()
    for key, value in obs.items():
        np.testing.assert_array_equal(value, stepped[-1][0][key])
    for env in (one, other):
        env.close()
