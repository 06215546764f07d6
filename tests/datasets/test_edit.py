"""`dtql-robot edit`: every condition against what it should leave, and what must not be lost on the way."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load, save_robomimic
from dtql_robot.datasets.episode_choice import Choice, choose_episodes
from dtql_robot.datasets.episode_edits import rename_keys
from dtql_robot.datasets.idle_starts import cut_idle_starts
from dtql_robot.datasets.loader import read_source
from dtql_robot.errors import InputError
from dtql_robot.types import Demonstrations
from tests.helpers.sample_demos import assert_same_episode, make_demos, make_episode


@pytest.fixture
def made():
    """Eight episodes of 5, 6, 7, 5, ... steps; the odd ones fail, number 5 is a copy of number 2."""
    demos = make_demos(8)
    episodes = [
        replace(e, success=e.success if i % 2 == 0 else np.zeros(len(e), bool), rewards=np.full(len(e), i, np.float32))
        for i, e in enumerate(demos.episodes)
    ]
    episodes[5] = replace(episodes[2], name="demo_5")
    return replace(demos, episodes=tuple(episodes))


def kept(made, **conditions):
    return [int(e.name.removeprefix("demo_")) for e in choose_episodes(made, Choice(**conditions))[0].episodes]


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        ({"keep": ("1", "3..4")}, [1, 3, 4]),
        ({"keep": ("4,2", "demo_7")}, [2, 4, 7]),
        ({"drop": ("0", "6..7")}, [1, 2, 3, 4, 5]),
        ({"keep": ("0..5",), "drop": ("demo_3",)}, [0, 1, 2, 4, 5]),
        ({"only": "success"}, [0, 2, 4, 5, 6]),
        ({"only": "failure"}, [1, 3, 7]),
        ({"lengths": (6, None)}, [1, 2, 4, 5, 7]),
        ({"lengths": (None, 5)}, [0, 3, 6]),
        ({"lengths": (6, 6)}, [1, 4, 7]),
        ({"returns": (14.0, 24.0)}, [2, 3, 4, 5]),
        ({"returns": (None, 0.0)}, [0]),
        ({"unique": True}, [0, 1, 2, 3, 4, 6, 7]),
        ({"unique": True, "drop": ("2",)}, [0, 1, 3, 4, 5, 6, 7]),
        ({"only": "success", "lengths": (6, None), "unique": True}, [2, 4]),
    ],
)
def test_conditions(made, conditions, left):
    assert kept(made, **conditions) == left


def test_success_by_any_step(made):
    early = replace(made.episodes[1], success=np.arange(len(made.episodes[1])) == 0)
    made = replace(made, episodes=(made.episodes[0], early))
    assert kept(made, only="success") == [0]
    assert kept(made, only="success", success_rule="any") == [0, 1]


def test_what_is_left_out_is_counted(made):
    unlabelled = replace(made, episodes=(replace(made.episodes[0], success=None), *made.episodes[1:]))
    _, left_out = choose_episodes(unlabelled, Choice(drop=("7",), only="success", lengths=(None, 6), unique=True))
    assert left_out == {"without a success signal": 1, "failures": 2, "too long": 2, "not chosen": 1}


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"keep": ("8",)}, "has episodes 0 to 7, but 8 was requested"),
        ({"drop": ("5..3",)}, "has episodes 0 to 7, but 5..3 was requested"),
        ({"drop": ("demo_9",)}, "has no episode 'demo_9'; expected a number from 0 to 7"),
        ({"drop": ("-1",)}, "has no episode '-1'"),
        ({"keep": ("9" * 30,)}, "has no episode"),
        ({"lengths": (100, None)}, r"No episode of made is left \(8 too short\)"),
    ],
)
def test_slips(made, conditions, words):
    with pytest.raises(InputError, match=words):
        kept(made, **conditions)


def test_conditions_on_what_is_not_known(made):
    unlabelled = replace(made, episodes=tuple(replace(e, success=None) for e in made.episodes))
    with pytest.raises(InputError, match="no success signal to choose by"):
        kept(unlabelled, only="failure")
    arrays = Demonstrations.from_arrays([{"observations": np.ones((3, 2)), "actions": np.ones((3, 1))}])
    with pytest.raises(InputError, match="no rewards to choose by"):
        choose_episodes(arrays, Choice(returns=(0.0, None)))


def test_idle_starts():
    """Values that stand still but for noise far below their range; the step that starts the movement stays."""
    rng = np.random.default_rng(0)
    idle, busy = make_episode(rng, "demo_0", 12), make_episode(rng, "demo_1", 9)
    for value in idle.obs.values():
        value[:6] = value[0]
        value[:6] += rng.uniform(-1e-4, 1e-4, value[:6].shape)
    still = make_episode(rng, "demo_2", 5, obs={k: np.repeat(v[:1], 5, axis=0) for k, v in idle.obs.items()})
    extras = {"states": np.arange(12.0)[:, None]}
    idle = replace(idle, extras=extras, attrs={"seed": 3, "note": "x"}, masks=np.arange(12) < 11)
    demos = replace(make_demos(1), episodes=(idle, busy, still))
    cut, found = cut_idle_starts(demos, 0.01)
    assert found == {"demo_0": 5}  # steps 0 to 4; step 5 leads to the first new state, at 6
    first = cut.episodes[0]
    assert (len(first), first.attrs) == (7, {"note": "x"})
    np.testing.assert_array_equal(first.actions, idle.actions[5:])
    np.testing.assert_array_equal(first.obs["robot"], idle.obs["robot"][5:])
    np.testing.assert_array_equal(first.extras["states"], extras["states"][5:])
    np.testing.assert_array_equal(first.masks, idle.masks[5:])
    np.testing.assert_array_equal(first.success, idle.success[5:])
    assert_same_episode(cut.episodes[1], busy)
    assert_same_episode(cut.episodes[2], still)
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(InputError, match="between 0 and 1"):
            cut_idle_starts(demos, share)


def test_idle_starts_of_a_constant_observation():
    """One that never changes has no range, and so is no reason to keep a step."""
    rng = np.random.default_rng(0)
    moving = make_episode(rng, "demo_0", 6)
    moving.obs["robot"][:3] = moving.obs["robot"][0]
    moving.obs["object/pose"][:] = 1.0
    assert cut_idle_starts(replace(make_demos(1), episodes=(moving,)), 0.01)[1] == {"demo_0": 2}


def test_renaming(made):
    renamed = rename_keys(made, {"robot": "proprio", "object/pose": "robot"})
    assert list(renamed.obs_shapes) == ["proprio", "robot"]
    np.testing.assert_array_equal(renamed.episodes[3].final_obs["robot"], made.episodes[3].final_obs["object/pose"])
    with pytest.raises(InputError, match="would be called 'robot'"):
        rename_keys(made, {"object/pose": "robot"})
    with pytest.raises(InputError, match="has no observation 'arm', only robot, object/pose"):
        rename_keys(made, {"arm": "x"})


def test_the_command(made, tmp_path, capsys):
    source = save_robomimic(
        replace(made, attrs={"collection": {"seed": 1}, "author": "me"}),
        tmp_path / "in.hdf5",
        masks={"train": [0, 1, 2], "valid": [3, 4], "gone": [7]},
    )
    out = tmp_path / "out.hdf5"
    words = ["edit", str(source), str(out), "--drop", "3", "demo_7", "--unique", "--rename", "robot=proprio"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "left out: 2 not chosen" in said
    assert "left out: 1 copies" in said
    assert "(5 of 8 demonstrations" in said
    assert "--env 'robosuite:Lift+proprio=robot'" in said
    reading = read_source(out)
    assert [len(e) for e in reading.demos.episodes] == [len(made.episodes[i]) for i in (0, 1, 2, 4, 6)]
    assert {k: len(v) for k, v in reading.filter_keys.items()} == {"train": 3, "valid": 1}
    assert reading.demos.attrs == {"author": "me"}
    assert_same_episode(reading.demos.episodes[3], rename_keys(made, {"robot": "proprio"}).episodes[4])
    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--keep", "0"]) == 0
    assert len(load(out)) == 1
    folder = tmp_path / "edited-v0"
    assert main(["edit", str(source), str(folder), "--only", "success", "--success-rule", "last"]) == 0
    assert len(load(folder)) == 5
    for bad in (["--rename", "robot"], ["--rename", "=x"], ["--rename", "robot=a", "robot=b"], ["--min-length", "99"]):
        assert main(["edit", str(source), str(tmp_path / "bad.hdf5"), *bad]) == 2
    assert not (tmp_path / "bad.hdf5").exists()
    assert main(["edit", str(source), str(tmp_path), "--keep", "1"]) == 2


def test_real_demonstrations_lose_their_idle_starts(real_file, tmp_path, capsys):
    source = real_file("d4rl_door_human_v0/door-v0_demos_clipped.hdf5")
    out = tmp_path / "short.hdf5"
    assert main(["edit", str(source), str(out), "--cut-idle-start", "--idle-share", "0.05", "--keep", "0..4"]) == 0
    whole, short = load(source), load(out)
    for before, after in zip(whole.episodes[:5], short.episodes, strict=True):
        cut = len(before) - len(after)
        assert 0 <= cut < len(before) // 2
        np.testing.assert_array_equal(before.actions[cut:], after.actions)
        np.testing.assert_array_equal(before.extras["infos/qpos"][cut:], after.extras["infos/qpos"])
    assert "idle steps" in capsys.readouterr().out


def test_raw_recordings_are_refused(real_file, tmp_path, capsys):
    source = real_file("robosuite_lift_v140/demo.hdf5")
    assert main(["edit", str(source), str(tmp_path / "x.hdf5"), "--keep", "0"]) == 2
    assert "`dtql-robot convert` it first" in capsys.readouterr().err


def test_a_full_disk_leaves_nothing(made, tmp_path, capsys):
    source = save_robomimic(made, tmp_path / "in.hdf5")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        assert main(["edit", str(source), str(tmp_path / "out.hdf5"), "--keep", "0..6"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["in.hdf5"]


@pytest.mark.slow
def test_ctrl_c_leaves_nothing(tmp_path):
    source = save_robomimic(make_demos(400), tmp_path / "in.hdf5")
    code = "import sys, dtql_robot.commands.edit, dtql_robot.datasets.loader; from dtql_robot.cli import main; "
    code += "print('on', flush=True); sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "edit", str(source), str(tmp_path / "out.hdf5"), "--unique"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert process.returncode in (0, 1)
    assert "Traceback" not in err
    if process.returncode:
        assert "interrupted. Nothing was written." in err
        assert os.listdir(tmp_path) == ["in.hdf5"]


def test_split_imports_no_module_that_a_file_names(tmp_path, monkeypatch, capsys):
    source = save_robomimic(make_demos(4), tmp_path / "in.hdf5")
    (tmp_path / "planted_env.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with h5py.File(source, "r+") as file:
        file["data"].attrs["env_args"] = json.dumps({"env_name": "planted_env:E-v0", "type": 2, "env_kwargs": {}})
    assert main(["split", str(source), "--only-success", "--train", "1"]) == 0
    assert "planted_env" not in sys.modules
