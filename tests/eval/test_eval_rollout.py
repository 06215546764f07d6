import json

import gymnasium
import numpy as np
import pytest

from dtql_robot.envs import make_env
from dtql_robot.envs.seeding import episode_rng, evaluation_seed
from dtql_robot.errors import InputError
from dtql_robot.eval import EpisodeResult, EvalResult, evaluate
from dtql_robot.result_shape import evaluation
from dtql_robot.types import Policy
from tests.helpers.eval_policies import ConstantPolicy, ScriptedPolicy


@pytest.fixture(scope="module")
def alone():
    return evaluate(ScriptedPolicy(), "FetchPush-v4", episodes=9, seed=3, num_envs=1, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("num_envs", [2, 8])
def test_results_do_not_depend_on_the_number_of_environments(alone, num_envs):
    together = evaluate(ScriptedPolicy(), "FetchPush-v4", episodes=9, seed=3, num_envs=num_envs, progress=False)
    assert together.per_episode == alone.per_episode


def test_policy_calls_are_batched_over_the_environments():
    policy = ScriptedPolicy(n_action_steps=25)
    evaluate(policy, "FetchPush-v4", episodes=5, num_envs=2, where="in-process", progress=False)
    rollout = policy.batch_sizes[-6:]
    assert rollout == [2, 2, 2, 2, 1, 1]


def test_an_evaluation_is_what_a_hand_written_loop_gives(alone):
    """Actions chosen every third step, noise from the episode's own generator, the last chunk cut by the horizon."""
    policy, env = ScriptedPolicy(), make_env("FetchPush-v4")
    for i in (0, 4):
        seed = evaluation_seed(3, i)
        rng, rewards, queue = episode_rng(seed), [], []
        obs, _ = env.reset(seed=seed)
        truncated = False
        while not truncated:
            if not queue:
                queue = list(policy.predict({k: v[None] for k, v in obs.items()}, [rng])[0])
            obs, reward, _, truncated, info = env.step(queue.pop(0))
            rewards.append(reward)
        recorded = alone.per_episode[i]
        assert (recorded.seed, recorded.length, recorded.episode_return) == (seed, 50, sum(rewards))
        assert recorded.success == info["success"]
        first = next((t + 1 for t, r in enumerate(rewards) if r == 0), None)
        assert recorded.time_to_success == first
    env.close()


class Foreseeing(ScriptedPolicy):
    """Chunks of 6 of which 3 are executed, averaged with the chunk before."""

    chunk_weights = (0.4, 0.6)

    def predict(self, obs, rngs):
        chunks = super().predict(obs, rngs)
        return np.concatenate([chunks, chunks[:, ::-1]], axis=1)


@pytest.mark.slow
def test_what_earlier_chunks_foresaw_is_averaged_for_each_robot_alone():
    alone, together = (
        evaluate(Foreseeing(), "FetchPush-v4", episodes=5, seed=3, num_envs=n, where="in-process", progress=False)
        for n in (1, 3)
    )
    assert alone.per_episode == together.per_episode
    policy, env, seed = Foreseeing(), make_env("FetchPush-v4"), evaluation_seed(3, 1)
    rng, total, (obs, _) = episode_rng(seed), 0.0, env.reset(seed=seed)
    foreseen = None
    for step in range(50):
        if step % 3 == 0:
            chunk = policy.predict({k: v[None] for k, v in obs.items()}, [rng])[0]
            now = chunk[:3] if foreseen is None else 0.6 * foreseen[3:] + 0.4 * chunk[:3]
            foreseen = chunk
        obs, reward, _, _, _ = env.step(now[step % 3].astype(np.float32))
        total += reward
    env.close()
    assert alone.per_episode[1].episode_return == total
    plain = evaluate(ScriptedPolicy(), "FetchPush-v4", episodes=5, seed=3, num_envs=1, progress=False)
    assert plain.per_episode != alone.per_episode


def test_another_seed_plays_other_episodes(alone):
    other = evaluate(ScriptedPolicy(), "FetchPush-v4", episodes=2, seed=4, num_envs=1, progress=False)
    assert not {e.seed for e in other.per_episode} & {e.seed for e in alone.per_episode}


def test_results_json_holds_the_promised_keys(alone, tmp_path):
    path = alone.save(tmp_path / "deep" / "results.json")
    data = json.loads(path.read_text())
    for key in ("env", "success_rate", "ci95", "episodes", "seed", "mean_return", "mean_length", "policy_hz"):
        assert key in data
    assert data["env"] == "FetchPush-v4"
    assert data["episodes"] == len(data["per_episode"]) == 9
    assert data["success_rate"] == sum(e["success"] for e in data["per_episode"]) / 9
    low, high = data["ci95"]
    assert 0 <= low < data["success_rate"] <= high <= 1
    assert data["mean_length"] == 50
    assert data["mean_return"] == pytest.approx(np.mean([e["return"] for e in data["per_episode"]]))
    assert data["env_steps_per_s"] > 0
    assert data["policy_hz"] > 0
    assert set(data["per_episode"][0]) >= {"seed", "success", "return", "length", "time_to_success"}
    assert data["per_episode"][0]["seed"] == evaluation_seed(3, 0)
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]


def test_an_interrupted_save_leaves_the_old_file(tmp_path):
    episode = EpisodeResult(seed=1, success=True, episode_return=float("nan"), length=1, time_to_success=1)
    result = EvalResult("e", 0, (episode,), "any", 1, 1, 1.0, 1.0)
    path = tmp_path / "results.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="Out of range float"):
        result.save(path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_adroit_runs_its_full_horizon():
    result = evaluate(ConstantPolicy(np.zeros(28)), "AdroitHandDoor-v1", episodes=1, progress=False)
    assert (result.success_rule, result.horizon, result.per_episode[0].length) == ("any", 200, 200)
    assert (result.per_episode[0].ends_in_success, result.success_at_end) == (False, 0.0)


def test_what_is_held_to_the_end_is_told_beside_what_was_reached():
    ends = [(True, True), (True, False), (False, False), (True, True)]
    episodes = tuple(
        EpisodeResult(i, won, 0.0, 5, 3 if won else None, ends_in_success=held) for i, (won, held) in enumerate(ends)
    )
    result = EvalResult("e", 0, episodes, "any", 5, 1, 1.0, 1.0)
    content = json.loads(json.dumps(result.to_dict()))
    assert (content["success_rate"], content["success_at_end"]) == (0.75, 0.5)
    assert [e["ends_in_success"] for e in content["per_episode"]] == [True, False, False, True]
    assert evaluation(content) is None
    assert EpisodeResult.from_dict(content["per_episode"][1]) == episodes[1]
    assert "50.0% of the episodes end in one" in str(result)
    held = EvalResult("e", 0, episodes[:1] + episodes[2:], "any", 5, 1, 1.0, 1.0)
    assert "end in one" not in str(held)


def test_where_the_last_step_counts_nothing_else_is_told():
    result = EvalResult("e", 0, (EpisodeResult(0, True, 0.0, 5, 3),), "last", 5, 1, 1.0, 1.0)
    assert result.to_dict()["success_at_end"] is None
    assert "ends_in_success" not in result.to_dict()["per_episode"][0]


def test_the_policies_satisfy_the_protocol():
    assert isinstance(ScriptedPolicy(), Policy)


class Bad(ConstantPolicy):
    def __init__(self, chunk):
        super().__init__([0, 0, 0, 0])
        self._chunk = np.asarray(chunk)

    def predict(self, obs, rngs):
        return self._chunk


@pytest.mark.parametrize(
    ("chunk", "sentence"),
    [(np.zeros((1, 4)), r"shape \(1, 4\), expected \(1, 1 or more, 4\)"), (np.full((1, 1, 4), np.nan), "NaN")],
)
def test_a_broken_policy_is_told_apart(chunk, sentence):
    with pytest.raises(ValueError, match=sentence):
        evaluate(Bad(chunk), "FetchReach-v4", episodes=1, num_envs=1, progress=False)


def test_a_policy_for_other_actions_is_refused():
    with pytest.raises(InputError, match="28 entries, but this policy was trained for 4"):
        evaluate(ScriptedPolicy(), "AdroitHandDoor-v1", episodes=1, num_envs=1, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["in-process", "processes"])
def test_where_no_success_is_told_the_return_is_the_result(where):
    found = evaluate(ConstantPolicy([0.0]), "Pendulum-v1", episodes=3, num_envs=2, where=where, progress=False)
    returns = []
    for episode in found.per_episode:
        env = gymnasium.make("Pendulum-v1")
        env.reset(seed=episode.seed)
        returns.append(sum(env.step(np.zeros(1, np.float32))[1] for _ in range(200)))
    assert [e.episode_return for e in found.per_episode] == pytest.approx(returns)
    content = found.to_dict()
    assert (content["success_rate"], content["ci95"], content["mean_time_to_success"]) == (None, None, None)
    assert [e["success"] for e in content["per_episode"]] == [None] * 3
    assert content["mean_return"] == pytest.approx(np.mean(returns))
    assert content["return_ci95"] == pytest.approx(
        [min(returns), max(returns)]
    )  # of three values, 1/27 each: beyond 2.5%
    assert "normalized_score" not in content
    assert str(found).startswith(f"Pendulum-v1: return {np.mean(returns):.2f} (3 episodes, 95% interval ")


def test_success_at_some_steps_only_is_refused():
    class Sometimes(gymnasium.Wrapper):
        def step(self, action):
            *outcome, _ = self.env.step(action)
            self.count = getattr(self, "count", 0) + 1
            return *outcome, {"success": True} if self.count == 5 else {}

    gymnasium.register("Sometimes-v0", lambda: Sometimes(gymnasium.make("Pendulum-v1")), max_episode_steps=200)
    try:
        with pytest.raises(InputError, match="Sometimes-v0 reports success at some steps only"):
            evaluate(ConstantPolicy([0.0]), "Sometimes-v0", episodes=1, num_envs=1, progress=False)
    finally:
        del gymnasium.registry["Sometimes-v0"]


def test_an_environment_without_a_time_limit_needs_one():
    name = "NoLimit-v0"
    gymnasium.register(name, entry_point="gymnasium.envs.classic_control:PendulumEnv")
    try:
        with pytest.raises(InputError, match="no time limit"):
            evaluate(ConstantPolicy([0.0]), name, episodes=1, num_envs=1, progress=False)
    finally:
        del gymnasium.registry[name]


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"episodes": 0}, "episodes must be between 1"),
        ({"episodes": 2.5}, "episodes must be a whole number between 1 and 100000, found 2.5"),
        ({"seed": 10_000}, "seed must be between 0"),
        ({"seed": -1}, "seed must be between 0"),
        ({"num_envs": 0}, "num_envs must be at least 1"),
        ({"num_envs": "2"}, "num_envs must be a whole number at least 1, found '2'"),
        ({"where": "here"}, "where is 'here'; expected auto, processes or in-process"),
        ({"epsiodes": 3}, r"there is no setting 'epsiodes'. Did you mean episodes\?"),
        ({"worker_timeout": 0.0}, "worker_timeout must be above 0"),
    ],
)
def test_numbers_out_of_range_are_refused(kwargs, sentence):
    with pytest.raises(InputError, match=sentence):
        evaluate(ScriptedPolicy(), "FetchPush-v4", **kwargs)
