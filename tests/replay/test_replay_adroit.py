"""Every Adroit task is put back to a recorded state and its actions lead where they led."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest

from dtql_robot.env_record import EnvChoice
from dtql_robot.envs import make_env
from dtql_robot.errors import InputError
from dtql_robot.replay.playback import play_back
from dtql_robot.replay.players import make_player
from dtql_robot.types import Demonstrations, Episode

TASKS = {
    "AdroitHandDoor-v1": {"door_body_pos"},
    "AdroitHandHammer-v1": {"board_pos", "target_pos"},
    "AdroitHandPen-v1": {"desired_orien"},
    "AdroitHandRelocate-v1": {"obj_pos", "target_pos", "hand_qpos", "palm_pos"},
}
STEPS = 12


def record(spec: str, seed: int) -> Episode:
    """As D4RL's files have it: what `get_env_state` says goes to infos/, the seed of the reset is not kept."""
    env = make_env(spec)
    obs, _ = env.reset(seed=seed)
    sim = env.unwrapped
    if "Relocate" in spec:  # the ball rolls
        qvel = sim.data.qvel.copy()
        qvel[30:32] = 0.4, -0.3
        sim.set_state(sim.data.qpos.copy(), qvel)
    rng = np.random.default_rng(seed)
    observations, states, actions = [obs["observation"]], [env.unwrapped.get_env_state()], []
    for _ in range(STEPS):
        actions.append(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))
        observations.append(env.step(actions[-1])[0]["observation"])
        states.append(env.unwrapped.get_env_state())
    env.close()
    extras = {f"infos/{key}": np.stack([s[key] for s in states[:-1]]) for key in states[0]}
    return Episode(
        name=f"demo_{seed}",
        obs={"observation": np.stack(observations[:-1])},
        final_obs={"observation": observations[-1]},
        actions=np.stack(actions),
        rewards=np.zeros(STEPS, np.float32),
        terminated=False,
        truncated=True,
        extras=extras,
    )


@pytest.mark.parametrize("spec", TASKS)
def test_recorded_states_are_played_back(spec: str) -> None:
    episodes = tuple(record(spec, seed) for seed in (3, 4))
    assert TASKS[spec] | {"qpos", "qvel"} == {k.removeprefix("infos/") for k in episodes[0].extras}
    demos = Demonstrations(episodes, "adroit.hdf5", "d4rl")
    found = play_back(demos, env=spec, progress=False)
    assert [e.agrees for e in found.episodes] == [STEPS + 1, STEPS + 1]
    shown = play_back(demos, env=spec, use="states", progress=False)
    assert [e.steps for e in shown.episodes] == [STEPS, STEPS]


def test_an_object_that_moved_is_shown_where_it_was() -> None:
    episode = record("AdroitHandRelocate-v1", 2)
    recorded = episode.extras["infos/obj_pos"]
    assert np.abs(recorded[-1] - recorded[0]).max() > 0.01
    demos = Demonstrations((episode,), "x", "d4rl")
    with contextlib.closing(make_player(demos, EnvChoice("AdroitHandRelocate-v1"))) as player:
        player.start(episode)
        for step in (1, STEPS - 1):
            player.put(episode, step)
            np.testing.assert_allclose(player._sim.get_env_state()["obj_pos"], recorded[step], atol=2e-3)


def test_what_does_not_fit_says_why() -> None:
    episode = record("AdroitHandHammer-v1", 1)
    without = {k: v for k, v in episode.extras.items() if k != "infos/board_pos"}
    crooked = {**episode.extras, "infos/board_pos": np.zeros((STEPS, 2))}
    for spec, extras, reason in (
        ("AdroitHandHammer-v1", without, "'board_pos' was not recorded"),
        ("AdroitHandHammer-v1", crooked, r"infos/board_pos has shape \(2,\), AdroitHandHammer-v1 expects \(3,\)"),
        ("AdroitHandPen-v1", episode.extras, r"does not fit AdroitHandPen-v1: .*\(33,\) and \(33,\).*\(30, 30\)"),
    ):
        demos = Demonstrations((dataclasses.replace(episode, extras=extras),), "x", "d4rl")
        with pytest.raises(InputError, match=reason):
            play_back(demos, env=spec, progress=False)
