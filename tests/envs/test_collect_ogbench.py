"""Recordings of OGBench's oracles: as its authors recorded, seeded.  Skipped where the package is not installed."""

from pathlib import Path

import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load
from dtql_robot.envs.collection import oracle_collector
from dtql_robot.envs.collection.collect import OraclePlan, Recording
from dtql_robot.envs.collection.oracle_collector import OracleCollector
from dtql_robot.errors import InputError
from tests.helpers.plain_ogbench import record_cubes
from tests.helpers.sample_demos import assert_same_episode

pytest.importorskip("ogbench", reason="ogbench is not installed (pip install 'dtql-robot[ogbench]')")


def record(task, kind="play", episodes=1, steps=60, first=0, **changes):
    collector = OracleCollector(OraclePlan(f"ogbench:{task}", kind, episodes + first, steps=steps, **changes))
    found = [collector.episode(first + i) for i in range(episodes)]
    collector.close()
    return found


@pytest.mark.slow
@pytest.mark.simulator
@pytest.mark.parametrize(
    ("task", "kind", "shapes"),
    [
        ("cube-single-v0", "play", (28, 21, 20, None)),
        ("cube-double-v0", "noisy", (37, 28, 26, None)),
        ("scene-v0", "noisy", (40, 25, 24, 2)),
        ("puzzle-3x3-v0", "play", (55, 23, 23, 9)),
    ],
)
def test_an_episode_depends_on_its_number_alone(task, kind, shapes):
    first, second = record(task, kind, episodes=2)
    (again,) = record(task, kind, first=1)
    assert_same_episode(second, again)
    assert not np.array_equal(first.actions, second.actions)
    obs, qpos, qvel, buttons = shapes
    assert (first.obs["observation"].shape, first.actions.shape) == ((60, obs), (60, 5))
    assert (first.extras["infos/qpos"].shape, first.extras["infos/qvel"].shape) == ((60, qpos), (60, qvel))
    assert (first.extras.get("infos/button_states", np.empty((60, 0))).shape[1] or None) == buttons
    assert (first.terminated, first.truncated, first.success) == (False, True, None)
    assert np.abs(first.actions).max() <= 1
    assert ("noise" in first.attrs) == (kind == "noisy")
    assert ("stacking" in first.attrs) == (task == "cube-double-v0" or task.startswith(("scene", "puzzle")))


@pytest.mark.slow
@pytest.mark.simulator
@pytest.mark.parametrize(("size", "kind", "steps"), [("single", "play", 130), ("double", "noisy", 70)])
def test_a_recording_is_that_of_the_authors_loop(size, kind, steps):
    """With the same draws, but for the rounding of actions to what is written down, which tells in the long run."""
    (episode,) = record(f"cube-{size}-v0", kind, steps=steps)
    plain = record_cubes(size, kind, steps + 1, seed=0)
    assert episode.attrs["targets"] == plain.targets
    for ours, theirs in (
        (episode.obs["observation"], plain.obs[:-1]),
        (episode.final_obs["observation"], plain.obs[-1]),
        (episode.extras["infos/qpos"], plain.qpos[:-1]),
        (episode.attrs["final_infos"]["qpos"], plain.qpos[-1]),
        (episode.actions, plain.actions[:-1]),
    ):
        near = np.isclose(ours, theirs, atol=0.02)
        assert near.mean() > 0.99
        assert near[:50].all()
    if kind == "play":
        assert np.abs(episode.actions[:, 4]).max() < 1  # the plan's gripper moves slowly
    else:
        assert 1 <= episode.attrs["random_actions"] <= 20


@pytest.mark.slow
@pytest.mark.simulator
def test_recorded_states_belong_to_their_observations():
    """Set in the simulator they give the observation, and the actions lead from one to the next."""
    import gymnasium

    (episode,) = record("cube-single-v0", steps=30)
    env = gymnasium.make("cube-single-v0", disable_env_checker=True, mode="data_collection", terminate_at_goal=False)
    sim = env.unwrapped
    obs, _ = env.reset(seed=episode.attrs["seed"])
    rows = np.vstack([episode.obs["observation"], episode.final_obs["observation"]])
    for step, action in enumerate(episode.actions):
        np.testing.assert_array_equal(obs.astype(np.float32), rows[step])
        obs = env.step(action)[0]
    np.testing.assert_array_equal(obs.astype(np.float32), rows[-1])
    for step in (0, 11, 30):
        final = episode.attrs["final_infos"]
        qpos, qvel = (
            np.asarray(final[k] if step == 30 else episode.extras[f"infos/{k}"][step], float) for k in ("qpos", "qvel")
        )
        sim.set_state(qpos, qvel)
        found = sim.compute_observation()
        np.testing.assert_allclose(found[:12], rows[step][:12], rtol=1e-5, atol=1e-5)  # joints
        np.testing.assert_allclose(found[12:17], rows[step][12:17], atol=0.02)  # sites, of the last substep but one
        np.testing.assert_allclose(found[19:], rows[step][19:], rtol=1e-4, atol=1e-4)  # the cube
    env.close()


@pytest.mark.slow
@pytest.mark.simulator
def test_a_cube_that_leaves_the_scene_is_recorded_again(monkeypatch):
    lost = iter([False, True])
    monkeypatch.setattr(oracle_collector, "_cube_in_reach", lambda qpos: next(lost))
    (episode,) = record("scene-v0", steps=20)
    monkeypatch.setattr(oracle_collector, "_cube_in_reach", lambda qpos: True)
    (other,) = record("scene-v0", steps=20)
    assert not np.array_equal(episode.actions, other.actions)


def test_the_cube_must_stay_on_the_table_or_in_the_drawer():
    def at(*places):
        rows = np.zeros((len(places), 25))
        rows[:, 14:17] = places
        return oracle_collector._cube_in_reach(rows)

    assert at((0.4, 0.1, 0.02), (0.4, 0.28, 0.1), (0.33, -0.35, 0.066))
    assert not at((0.4, 0.1, 0.02), (0.4, 0.29, 0.02))
    assert not at((0.4, -0.3, 0.02))
    assert not at((0.4, -0.31, 0.081))


@pytest.mark.slow
@pytest.mark.simulator
def test_in_worker_processes_continued_and_as_a_file(tmp_path: Path):
    """The same whatever the number of workers; continued from a file; with a task's rewards under its name."""
    together = Recording(OraclePlan("ogbench:cube-single-v0", "play", 3, seed=5, steps=50))
    together.run(workers=2, progress=False)
    out, command = tmp_path / "cube-single-play-v0.npz", ["collect", "ogbench:cube-single-v0", "--seed", "5"]
    assert main([*command, "--episodes", "1", "--steps", "50", "--out", str(out), "--workers", "1"]) == 0
    assert main([*command, "--episodes", "3", "--steps", "50", "--out", str(out), "--resume", "--workers", "1"]) == 0
    found = load(out)
    assert found.env_args["env_name"] == "ogbench:cube-single-v0"
    for a, b in zip(together.episodes, found.episodes, strict=True):
        assert_same_episode(a, b)
    assert main([*command, "--kind", "noisy", "--episodes", "4", "--out", str(out), "--resume"]) == 2
    task = load(tmp_path / "cube-single-play-singletask-task1-v0.npz")
    assert set(np.concatenate([e.rewards for e in task.episodes]).tolist()) <= {-1.0, 0.0}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["ogbench:cube-singel-v0"], "Did you mean ogbench:cube-single-v0"),
        (["ogbench:antmaze-medium-v0"], "no scripted oracle for 'ogbench:antmaze-medium-v0'"),
        (["ogbench:cube-single-v0", "--noise", "0.1"], "--noise does not apply to OGBench's oracles"),
        (["ogbench:cube-single-v0", "--successes-only"], "--successes-only does not apply"),
        (["ogbench:cube-single-v0", "--transitions", "9"], "--transitions does not apply"),
        (["FetchReach-v4", "--kind", "play"], "--kind is for OGBench's scenes"),
        (["FetchReach-v4", "--steps", "9"], "--steps is for OGBench's scenes"),
        (["ogbench:cube-single-v0", "--format", "ogbench", "--out", "x.hdf5"], "must end in .npz"),
        (["ogbench:cube-single-v0", "--steps", "1"], "between 2 and 100000, found 1"),
    ],
)
def test_what_cannot_be_recorded(arguments, sentence, tmp_path, capsys):
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "x.npz")]
    assert main(["collect", *arguments, *out]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_a_plan_of_another_kind_is_refused():
    with pytest.raises(InputError, match="episodes must be between 1"):
        OraclePlan("ogbench:cube-single-v0", "play", 0)


@pytest.mark.slow
@pytest.mark.simulator
def test_recordings_have_the_distribution_of_the_authors_loop():
    """Four short recordings against three; and one with another noise is told apart."""
    from benchmarks import ogbench_distribution as distribution

    episodes = record("cube-single-v0", episodes=4, steps=100)
    theirs = distribution.reference("single", "play", 100, 3)
    ours = [distribution.statistics(e.actions, e.attrs["targets"], e.attrs["targets_reached"]) for e in episodes]
    rows = distribution.compare(ours, theirs)
    assert {name.split()[0] for name, *_ in rows} == {"mean", "std", "at", "targets", "share"}
    assert max(abs(off) for *_, off in rows) < 12  # of so few, standard errors are rough
    wild = [found | {"std gripper": found["std gripper"] + 0.3} for found in ours]
    assert max(abs(off) for *_, off in distribution.compare(wild, theirs)) > 4
