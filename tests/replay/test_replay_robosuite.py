"""Observations drawn from the states of real robosuite 1.4 recordings, in the installed robosuite."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

pytest.importorskip("robosuite", reason='needs pip install "dtql-robot[robosuite]"')

from dtql_robot.cli import main
from dtql_robot.datasets import load
from dtql_robot.datasets.formats.robosuite_recording import open_recording, read_raw, read_state_demo
from dtql_robot.envs import env_info
from dtql_robot.envs.rendering.gl import gl_missing
from dtql_robot.errors import InputError
from dtql_robot.replay.extract import extract_observations
from dtql_robot.replay.playback import play_back
from dtql_robot.replay.robosuite_states import StateSimulation, episode_from_states

LIFT, HANDOVER = "robosuite_lift_v140/demo.hdf5", "robosuite_handover_2021/demo.hdf5"


def real(real_data: Path, name: str) -> Path:
    if not (real_data / name).is_file():
        pytest.skip(f"{real_data / name} is not there")
    return real_data / name


@pytest.mark.slow
@pytest.mark.parametrize(("name", "at_end"), [(LIFT, 3), (HANDOVER, 4)])
def test_success_from_states(real_data: Path, tmp_path: Path, name: str, at_end: int) -> None:
    """3 of 3 and 4 of 7 end in success; one more hand-over succeeds on the way."""
    source = real(real_data, name)
    outcomes = extract_observations(source, tmp_path / "out.hdf5", workers=1, progress=False)
    assert sum(o["ends_in_success"] for o in outcomes) == at_end
    demos, recording = load(tmp_path / "out.hdf5"), open_recording(source)
    assert [e.attrs["source_demo"] for e in demos.episodes] == list(recording.names)
    assert (demos.env_args, demos.attrs) == (recording.env_args, recording.attrs)
    for episode, name in zip(demos.episodes, recording.names, strict=True):
        original = read_state_demo(recording.path, name)
        np.testing.assert_array_equal(episode.extras["states"], original.states)
        np.testing.assert_array_equal(episode.actions, original.actions)
        for key, values in original.extras.items():
            np.testing.assert_array_equal(episode.extras[key], values)
        assert original.attrs.items() <= episode.attrs.items()
        arm = original.states[:, 1:8]
        np.testing.assert_allclose(episode.obs["robot0_joint_pos"], arm, atol=1e-6)
    facts = env_info(recording.env_spec, env_args=recording.env_args)
    assert demos.obs_shapes == dict(facts.obs_shapes)


@pytest.mark.slow
def test_one_simulated_step_is_the_recorded_one(real_data: Path) -> None:
    """The controllers' memory is restored: a step from a recorded state ends in the next recorded state."""
    recording = open_recording(real(real_data, LIFT))
    demo = read_state_demo(recording.path, recording.names[0])
    simulation = StateSimulation(recording.env_spec, recording.env_args)
    errors = []
    for t in range(20, len(demo.states) - 1, 40):
        simulation.start(demo)
        simulation.put(demo.states[t])
        simulation.ready_to_step(demo.actions[:t])
        simulation.env.step(demo.actions[t])
        simulated = simulation.observe()["robot0_eef_pos"]
        simulation.put(demo.states[t + 1])
        errors.append(np.linalg.norm(simulated - simulation.observe()["robot0_eef_pos"]))
    assert np.median(errors) < 2e-4  # metres; without the controllers' memory it is 0.011
    simulation.close()


@pytest.mark.slow
def test_object_sizes_are_the_recorded_ones(real_data: Path) -> None:
    recording = open_recording(real(real_data, LIFT))
    demo = read_state_demo(recording.path, recording.names[0])
    simulation = StateSimulation(recording.env_spec, recording.env_args)
    model = simulation.sim_env.sim.model._model
    simulation.start(demo)
    assert demo.model is not None
    text = demo.model.split('name="cube_g0"')[1].split('size="')[1].split('"')[0]
    np.testing.assert_allclose(model.geom("cube_g0").size, [float(v) for v in text.split()])
    simulation.close()


@pytest.mark.slow
@pytest.mark.gl
def test_interrupted_extraction_goes_on(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = real(real_data, LIFT), tmp_path / "out.hdf5"
    made: list[str] = []

    def short(simulation: StateSimulation, demo: object) -> object:
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(demo.name)  # type: ignore[attr-defined]
        return original(simulation, trimmed(demo))

    def trimmed(demo: object) -> object:
        import dataclasses

        return dataclasses.replace(demo, actions=demo.actions[:5], states=demo.states[:5])  # type: ignore

    original = episode_from_states
    monkeypatch.setattr("dtql_robot.replay.robosuite_states.episode_from_states", short)
    options = {"cameras": ["agentview"], "size": (32, 48), "workers": 1, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        extract_observations(source, out, **options)  # type: ignore[arg-type]
    assert not out.exists()
    with pytest.raises(InputError, match="holds parts of other work"):
        extract_observations(source, out, **{**options, "size": (48, 48)})  # type: ignore[arg-type]
    monkeypatch.setattr(
        "dtql_robot.replay.robosuite_states.episode_from_states",
        lambda simulation, demo: made.append(demo.name) or original(simulation, trimmed(demo)),
    )
    extract_observations(source, out, **options)  # type: ignore[arg-type]
    assert made == ["demo_1", "demo_2", "demo_3"]  # none of them twice
    demos = load(out, obs_keys=["agentview_image"])
    image = demos.episodes[0].obs["agentview_image"]
    assert (image.dtype, image.shape) == (np.uint8, (5, 32, 48, 3))
    assert image.std() > 5
    assert [p.name for p in tmp_path.iterdir()] == ["out.hdf5"]


@pytest.mark.slow
def test_playback(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["playback", str(real(real_data, LIFT)), "--use", "states", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["successes"] == 3
    found = play_back(read_raw(real(real_data, HANDOVER)), use="states", progress=False)
    assert sum(bool(e.at_end) for e in found.episodes) == 4
    assert sum(bool(e.success) for e in found.episodes) == 5


@pytest.mark.slow
def test_workers_do_not_change_the_data(real_data: Path, tmp_path: Path) -> None:
    source = real(real_data, LIFT)
    one, two = (
        load(tmp_path / f"{workers}.hdf5")
        for workers in (1, 2)
        if extract_observations(source, tmp_path / f"{workers}.hdf5", workers=workers, progress=False)
    )
    for a, b in zip(one.episodes, two.episodes, strict=True):
        assert a.final_obs is not None
        assert b.final_obs is not None
        for key, value in a.obs.items():
            np.testing.assert_array_equal(value, b.obs[key])
            np.testing.assert_array_equal(a.final_obs[key], b.final_obs[key])
        np.testing.assert_array_equal(a.rewards, b.rewards)


@pytest.mark.slow
def test_raw_to_minari_and_cameras_for_a_converted_file(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("minari", reason="needs minari to write Minari")
    monkeypatch.chdir(tmp_path)
    source = trimmed(real(real_data, HANDOVER), tmp_path / "raw.hdf5")
    assert main(["convert", source, "hand-v0", "--workers", "1"]) == 0
    assert main(["convert", source, "hand.hdf5", "--workers", "1"]) == 0
    for a, b in zip(load("hand-v0").episodes, load("hand.hdf5").episodes, strict=True):
        np.testing.assert_array_equal(a.obs["object"], b.obs["object"])
    if gl_missing() is None:
        options = ["--cameras", "agentview", "--size", "32", "32", "--workers", "1"]
        assert main(["convert", "hand.hdf5", "seen.hdf5", *options]) == 0
        image = load("seen.hdf5", obs_keys=["agentview_image"]).episodes[1].obs["agentview_image"]
        assert image.shape == (STEPS, 32, 32, 3)
    assert {p.name for p in tmp_path.iterdir()} <= {"raw.hdf5", "hand-v0", "hand.hdf5", "seen.hdf5"}


STEPS = 6


def trimmed(source: Path, out: Path) -> str:
    """The first steps of two demos."""
    with h5py.File(source) as old, h5py.File(out, "w") as new:
        new.create_group("data").attrs.update(old["data"].attrs)
        for name in ("demo_0", "demo_2"):
            for key in ("states", "actions"):
                new[f"data/{name}/{key}"] = old[f"data/{name}/{key}"][:STEPS]
            new[f"data/{name}"].attrs["model_file"] = old[f"data/{name}"].attrs["model_file"]
    return str(out)
