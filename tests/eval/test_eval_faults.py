"""Simulators that die, hang, raise or answer nonsense: what fails is reported, what was played stands."""

import json

import numpy as np
import pytest

from dtql_robot.envs.seeding import evaluation_seed
from dtql_robot.errors import InputError
from dtql_robot.eval import evaluate
from tests.helpers.faulty_env import SPEC, SeekingPolicy, TravellingSeeker, is_bad

EPISODES = 7
BAD = [0, 5]  # of evaluation_seed(0, i)


def run(where, policy=None, **options):
    envs = 1 if where == "in-process" else 4
    settings = {"episodes": EPISODES, "num_envs": envs, "where": where, "worker_timeout": 60.0, "progress": False}
    return evaluate(policy or SeekingPolicy(), SPEC, **(settings | options))


@pytest.fixture(scope="module")
def sound():
    result = run("in-process")
    assert [i for i in range(EPISODES) if is_bad(evaluation_seed(0, i))] == BAD
    assert 0 < result.successes < EPISODES
    return result


def agree(result, sound, apart):
    """All episodes but those numbered in `apart` are as in the sound evaluation."""
    pairs = zip(result.per_episode, sound.per_episode, strict=True)
    return all(a == b for i, (a, b) in enumerate(pairs) if i not in apart)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise_reset", "Faulty-v0 failed in reset: RuntimeError: boom"),
        ("raise_step", "Faulty-v0 failed in step: RuntimeError: boom in step"),
        ("exit", "failed in step: SystemExit: 5"),
        ("memory", "failed in step: MemoryError: no room"),
        ("nan_reset", "observation 'place' holds NaN or infinite numbers"),
        ("nan_obs", "observation 'place' holds NaN or infinite numbers"),
        ("inf_obs", "observation 'goal' holds NaN or infinite numbers"),
        ("nan_reward", "failed in step: ValueError: the reward of step 8 is nan"),
        ("inf_reward", "the reward of step 8 is -inf"),
        ("no_reward", "failed in step: TypeError"),
        ("words", "failed in step: ValueError"),
        ("shape", "observation 'place' has shape (3,), at the first reset (2,)"),
        ("missing", "observation 'place' of the first reset is missing"),
    ],
)
def test_an_episode_whose_environment_fails_is_reported_and_the_others_stand(sound, monkeypatch, fault, reason):
    monkeypatch.setenv("FAULT", fault)
    ways = [("in-process", SeekingPolicy())]
    if fault in ("raise_step", "nan_obs", "nan_reset"):
        ways += [("processes", SeekingPolicy()), ("processes", TravellingSeeker())]
    for where, policy in ways:
        result = run(where, policy)
        assert [i for i, e in enumerate(result.per_episode) if e.error] == BAD
        assert agree(result, sound, BAD)
        for episode in result.failed:
            assert reason in episode.error
            assert "\n" not in episode.error
            assert (episode.success, episode.episode_return, episode.length) == (False, 0.0, 0)
        found = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert found["success_rate"] == sum(e.success for e in result.per_episode) / EPISODES
        assert [e["seed"] for e in found["per_episode"] if "error" in e] == [evaluation_seed(0, i) for i in BAD]
        played = [e.episode_return for i, e in enumerate(sound.per_episode) if i not in BAD]
        assert found["mean_return"] == pytest.approx(np.mean(played))
        assert "2 of 7 episodes could not be played to their end" in str(result)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["die", "interrupt"])
def test_an_episode_that_always_kills_its_process_is_a_failed_one(sound, monkeypatch, fault):
    monkeypatch.setenv("FAULT", fault)
    result = run("processes", TravellingSeeker())
    errors = {i: e.error for i, e in enumerate(result.per_episode) if e.error}
    assert set(BAD) <= set(errors)
    assert set(errors) != set(range(EPISODES))
    assert agree(result, sound, errors)
    assert all(("exit status 3" in e) or ("KeyboardInterrupt" in e) for e in errors.values())


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["once:die", "once:segv", "once:hang", "once:raise_step", "once:nan_reward"])
@pytest.mark.parametrize("policy", [SeekingPolicy, TravellingSeeker])
def test_what_fails_once_changes_nothing(sound, monkeypatch, tmp_path, fault, policy):
    monkeypatch.setenv("FAULT", fault)
    monkeypatch.setenv("FAULT_FILE", str(tmp_path / "once"))
    result = run("processes", policy(), worker_timeout=2.0 if "hang" in fault else 60.0)
    assert (tmp_path / "once").exists()
    assert result.per_episode == sound.per_episode
    assert result.restarts


@pytest.mark.slow
def test_a_process_that_dies_while_it_starts_is_replaced(sound, monkeypatch, tmp_path):
    monkeypatch.setenv("FAULT", "once:die_init")
    monkeypatch.setenv("FAULT_FILE", str(tmp_path / "once"))
    result = run("processes")
    assert (tmp_path / "once").exists()
    assert result.per_episode == sound.per_episode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "where", "sentence"),
    [
        ("raise_init", "in-process", "cannot be made: RuntimeError: boom in init"),
        ("raise_init", "processes", "cannot be made: RuntimeError: boom in init"),
        ("die_init", "processes", "failed to start 3 times in a row: .*exit status 7"),
        ("always_raise", "in-process", "cannot start an episode. .*failed in reset: RuntimeError: boom"),
        ("always_raise", "processes", "cannot start an episode. .*failed in reset: RuntimeError: boom"),
    ],
)
def test_an_environment_that_never_works_is_one_sentence_with_the_cause(monkeypatch, fault, where, sentence):
    monkeypatch.setenv("FAULT", fault)
    with pytest.raises(InputError, match=sentence) as caught:
        run(where)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("episodes", "failed"), [(1, 1), (2, 2), (50, 3)])
def test_an_evaluation_of_failing_episodes_alone_is_given_up(monkeypatch, episodes, failed):
    """After three of them at most; no rate comes of it."""
    monkeypatch.setenv("FAULT", "raise_step")
    monkeypatch.setattr("dtql_robot.eval.settings.evaluation_seed", lambda seed, i: 5 * i)
    with pytest.raises(InputError, match=f"{failed} of {failed} episodes cannot be played .*boom in step"):
        run("in-process", episodes=episodes)


@pytest.mark.slow
def test_what_fails_when_it_is_closed_changes_nothing(sound, monkeypatch):
    monkeypatch.setenv("FAULT", "raise_close")
    for where in ("in-process", "processes"):
        assert run(where).per_episode == sound.per_episode


class Diverged(SeekingPolicy):
    def predict(self, obs, rngs):
        return super().predict(obs, rngs) * np.nan


class Refusing(SeekingPolicy):
    """One that raises where it is shown NaN, as trained policies may."""

    def predict(self, obs, rngs):
        if not all(np.isfinite(value).all() for value in obs.values()):
            raise InputError("NaN in an observation")
        return super().predict(obs, rngs)


@pytest.mark.parametrize("fault", ["", "nan_obs"])
def test_a_policy_that_has_diverged_is_told_apart_from_an_environment_that_has(monkeypatch, fault):
    monkeypatch.setenv("FAULT", fault)
    with pytest.raises(InputError, match="weights have probably diverged"):
        run("in-process", Diverged())


def test_a_policy_that_refuses_nan_is_asked_for_the_other_robots(sound, monkeypatch):
    monkeypatch.setenv("FAULT", "nan_obs")
    result = run("in-process", Refusing(), num_envs=4)
    assert [i for i, e in enumerate(result.per_episode) if e.error] == BAD
    assert agree(result, sound, BAD)


def test_a_function_from_observation_to_action_is_a_policy():
    result = evaluate(lambda obs: obs["goal"] - obs["place"], env=SPEC, episodes=3, num_envs=1, progress=False)
    assert result.success_rate == 1.0


@pytest.mark.parametrize(
    ("policy", "env", "sentence"),
    [
        (lambda obs: np.zeros(3), SPEC, r"returned an array of shape \(3,\); expected an action, 2 numbers"),
        (lambda obs: obs, SPEC, r"returned \{.*expected an action, 2 numbers"),
        (lambda obs: None, SPEC, r"returned .*expected an action, 2 numbers"),
        (lambda obs: np.zeros(2), None, "records no environment; name the one"),
        (7, SPEC, "Expected a run folder, a policy or a function to evaluate, found 7"),
    ],
)
def test_what_is_no_policy_for_the_environment_is_refused(policy, env, sentence):
    with pytest.raises(InputError, match=sentence):
        evaluate(policy, env, episodes=1, progress=False)
