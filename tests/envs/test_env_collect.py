import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.envs import make_env
from dtql_robot.envs.collection.collect import Recording, collect
from dtql_robot.envs.collection.fetch_expert import expert
from dtql_robot.envs.seeding import check_run, collection_seed, evaluation_seed
from dtql_robot.errors import InputError


@pytest.fixture(scope="module")
def push():
    return collect("FetchPush-v4", 6, seed=4, noise=0.3, workers=2, progress=False)


@pytest.mark.slow
def test_demonstrations_do_not_depend_on_the_number_of_workers(push):
    alone = collect("FetchPush-v4", 6, seed=4, noise=0.3, workers=1, progress=False)
    for a, b in zip(alone.episodes, push.episodes, strict=True):
        assert (a.name, a.attrs, a.truncated) == (b.name, b.attrs, b.truncated)
        for x, y in ((a.actions, b.actions), (a.rewards, b.rewards), (a.success, b.success)):
            assert np.array_equal(x, y)
        for key in a.obs:
            assert np.array_equal(a.obs[key], b.obs[key])
            assert np.array_equal(a.final_obs[key], b.final_obs[key])


def test_what_an_episode_holds(push):
    assert push.env_spec == "FetchPush-v4"
    assert push.env_args["env_name"] == "FetchPush-v4"
    assert push.env_args["type"] == 2
    for i, episode in enumerate(push.episodes):
        assert len(episode) == 50
        assert (episode.terminated, episode.truncated) == (False, True)
        assert episode.attrs["seed"] == 400_000 + i
        assert 0 <= episode.attrs["noise"] <= 0.3
        assert episode.actions.dtype == np.float32
        assert np.abs(episode.actions).max() <= 1
        assert episode.obs["observation"].shape == (50, 25)
        assert episode.obs["observation"].dtype == np.float32
        assert np.array_equal(episode.success, episode.rewards == 0)
    assert len({e.attrs["noise"] for e in push.episodes}) == 6


def test_a_recording_plays_back(push):
    """The recorded seed and the recorded float32 actions give the recorded observations again."""
    episode = push.episodes[2]
    env = make_env(push.env_spec)
    obs, _ = env.reset(seed=episode.attrs["seed"])
    for t, action in enumerate(episode.actions):
        assert np.array_equal(obs["observation"], episode.obs["observation"][t])
        obs = env.step(action)[0]
    assert np.array_equal(obs["observation"], episode.final_obs["observation"])
    env.close()


@pytest.mark.slow
def test_intended_actions_are_those_before_the_noise(push):
    """The same episodes, with what the expert wanted written down."""
    intended = collect("FetchPush-v4", 6, seed=4, noise=0.3, record="intended", workers=2, progress=False)
    wanted = expert("FetchPush-v4")
    assert "disturbance 0.3" in intended.source
    for found, noisy in zip(intended.episodes, push.episodes, strict=True):
        assert found.attrs == {"seed": noisy.attrs["seed"], "disturbance": noisy.attrs["noise"]}
        assert np.array_equal(found.obs["observation"], noisy.obs["observation"])
        assert np.array_equal(found.success, noisy.success)
        for t, action in enumerate(found.actions):
            seen = {key: value[t] for key, value in found.obs.items()}
            np.testing.assert_allclose(action, np.clip(wanted(seen), -1, 1), atol=1e-4)
        spread = (noisy.actions - found.actions)[np.abs(found.actions) < 0.5].std()
        assert spread == pytest.approx(noisy.attrs["noise"], rel=0.25, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["FetchReach-v4", "FetchPush-v4", "FetchPickAndPlace-v4"])
def test_the_experts_succeed_without_noise(task):
    """Over 200 episodes: 100%, 99.5% and 100%; 15 keep the test short."""
    demos = collect(task, 15, seed=77, noise=0.0, workers=1, progress=False)
    assert sum(e.ends_in_success for e in demos.episodes) >= 14


def test_noise_makes_the_data_mixed():
    clean, noisy = (
        collect("FetchReach-v4", 2, noise=noise, workers=1, progress=False).episodes for noise in (0.0, 0.8)
    )
    assert clean[0].attrs["noise"] == 0
    assert not np.array_equal(clean[0].actions, noisy[0].actions)


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"task": "FetchSlide-v4"}, "no scripted expert for 'FetchSlide-v4'.*FetchPush-v4"),
        ({"task": "AdroitHandDoor-v1"}, "no scripted expert"),
        ({"episodes": 0}, "episodes must be between 1"),
        ({"episodes": "3"}, "episodes must be a whole number between 1 and 100000, found '3'"),
        ({"seed": -1}, "seed must be between 0"),
        ({"record": "intend"}, r"record is 'intend'; expected executed or intended. Did you mean intended\?"),
        ({"noise": 9.0}, "noise must be between 0 and 2"),
    ],
)
def test_what_the_user_got_wrong_is_said_in_a_sentence(kwargs, sentence):
    with pytest.raises(InputError, match=sentence):
        collect(**{"task": "FetchReach-v4", "episodes": 1, **kwargs})


def test_collection_and_evaluation_never_share_a_seed():
    check_run(9_999, 100_000)
    assert collection_seed(9_999, 99_999) < evaluation_seed(0, 0)
    assert evaluation_seed(9_999, 99_999) < 2**31
    assert collection_seed(1, 0) == collection_seed(0, 99_999) + 1


def test_the_expert_is_a_function_of_the_observation():
    env = make_env("FetchPickAndPlace-v4")
    obs, _ = env.reset(seed=0)
    policy = expert("FetchPickAndPlace-v4")
    assert np.array_equal(policy(obs), policy(obs))
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_failures_can_be_left_out(push, workers, capfd):
    """Noise makes one in three episodes fail; those that succeed are the same episodes, renumbered."""
    everything = collect("FetchPush-v4", 12, seed=5, noise=1.0, workers=2, progress=False)
    good = [e for e in everything.episodes if e.ends_in_success]
    assert 4 < len(good) < 12
    found = collect("FetchPush-v4", 5, seed=5, noise=1.0, successes_only=True, workers=workers, progress=False)
    assert [e.name for e in found.episodes] == [f"demo_{i}" for i in range(5)]
    for a, b in zip(found.episodes, good, strict=False):
        assert a.attrs == b.attrs
        assert np.array_equal(a.actions, b.actions)
    assert "successes only" in found.source
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_an_expert_that_never_succeeds_is_given_up():
    with pytest.raises(InputError, match="only 0 of 51 episodes succeed"):
        collect("FetchPickAndPlace-v4", 1, noise=2.0, lapses=1.0, successes_only=True, workers=1, progress=False)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"task": 3}, "task is 3; expected the name of an environment."),
        ({"episodes": "3"}, "episodes must be a whole number between 1 and 100000, found '3'."),
        (
            {"episodes": None, "transitions": "5"},
            "transitions must be a whole number between 1 and 100000000, found '5'.",
        ),
        (
            {"episodes": None, "transitions": 5.5},
            "transitions must be a whole number between 1 and 100000000, found 5.5.",
        ),
        ({"transitions": 60}, "transitions and episodes both say how much to record; pass only one of them."),
        ({"noise": "a"}, "noise must be a number between 0 and 2 (actions are in [-1, 1]), found 'a'."),
        ({"noise": float("nan")}, "noise must be between 0 and 2 (actions are in [-1, 1]), found nan."),
        ({"lapses": 3}, "lapses must be between 0 and 1, a share of the episodes, found 3."),
        ({"workers": 0}, "workers must be at least 1, found 0."),
        ({"workers": "2"}, "workers must be a whole number at least 1, found '2'."),
        ({"cameras": 3}, "cameras is 3; expected a list of names."),
        ({"cameras": "front", "size": "84"}, "Images must be at least 8 pixels wide, found '84'."),
    ],
)
def test_what_collect_cannot_do_is_said(asked, sentence):
    with pytest.raises(InputError) as caught:
        collect(**{"task": "FetchReach-v4", "episodes": 1, "progress": False, **asked})
    assert str(caught.value) == sentence


def test_transitions_stand_instead_of_episodes():
    assert len(collect("FetchReach-v4", transitions=60, workers=1, progress=False)) == 2


@pytest.mark.parametrize("words", [["--format", "d4rl", "--out", "a.hdf5"], ["--out", "a.npz"]])
def test_a_format_without_room_is_refused_before_anything_is_recorded(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Recording, "run", lambda *_, **__: pytest.fail("it was recorded"))
    for task in (["FetchReach-v4"], ["FetchReach-v4", "--level", "random"]):
        assert main(["collect", *task, *words]) == 2
        said = "has room for one observation, but FetchReach-v4 has achieved_goal, desired_goal, observation."
        assert said in capsys.readouterr().err
