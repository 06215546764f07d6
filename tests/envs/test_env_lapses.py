import numpy as np
import pytest

from dtql_robot.envs.collection.collect import collect
from dtql_robot.envs.collection.lapses import LAPSES, draw_lapse
from dtql_robot.errors import InputError

WANTED = np.array([0.5, -0.2, 0.1, -1.0])


@pytest.fixture(scope="module")
def mixed():
    return collect("FetchPickAndPlace-v4", 24, seed=3, noise=0.1, lapses=0.7, workers=1, progress=False)


@pytest.mark.slow
def test_lapses_make_failures_and_are_named(mixed):
    kinds = [e.attrs["lapse"] for e in mixed.episodes]
    assert set(kinds) == {"none", *LAPSES}
    clean = [e.ends_in_success for e in mixed.episodes if e.attrs["lapse"] == "none"]
    lapsed = [e.ends_in_success for e in mixed.episodes if e.attrs["lapse"] != "none"]
    assert np.mean(clean) > 0.8
    assert np.mean(lapsed) < 0.3
    assert "lapses 0.7" in mixed.source


def test_start_states_do_not_depend_on_lapses(mixed):
    plain = collect("FetchPickAndPlace-v4", 2, seed=3, noise=0.1, workers=1, progress=False)
    assert "lapse" not in plain.episodes[0].attrs
    for a, b in zip(plain.episodes, mixed.episodes[:2], strict=True):
        np.testing.assert_array_equal(a.obs["observation"][0], b.obs["observation"][0])


def test_a_hesitating_hand_stops_and_keeps_its_gripper():
    act = LAPSES["hesitate"](np.random.default_rng(0), 50)
    actions = np.stack([act(t, WANTED) for t in range(50)])
    begin = int(np.flatnonzero((actions != WANTED).any(axis=1))[0])
    assert 1 <= begin <= 25
    np.testing.assert_array_equal(actions[:begin], np.tile(WANTED, (begin, 1)))
    np.testing.assert_array_equal(actions[:, -1], -1.0)
    assert np.abs(actions[begin:, :-1].mean(axis=0)).max() < 0.4


def test_a_fumbling_hand_never_closes():
    act = LAPSES["fumble"](np.random.default_rng(0), 50)
    np.testing.assert_array_equal(act(0, WANTED), [0.5, -0.2, 0.1, 1.0])


def test_a_dithering_hand_goes_back_and_forth():
    act = LAPSES["dither"](np.random.default_rng(0), 50)
    forward = [bool(act(t, WANTED)[0] > 0) for t in range(50)]
    assert forward[:4] == [True] * 4
    assert 15 <= sum(forward) <= 35
    assert act(50, WANTED)[-1] == -1.0


def test_no_share_no_lapse():
    rng = np.random.default_rng(0)
    assert {draw_lapse(rng, 0.0, 50)[0] for _ in range(50)} == {"none"}
    assert "none" not in {draw_lapse(rng, 1.0, 50)[0] for _ in range(50)}


def test_a_share_outside_0_to_1_is_refused():
    with pytest.raises(InputError, match=r"between 0 and 1, a share of the episodes, found 1\.5"):
        collect("FetchReach-v4", 1, lapses=1.5)
