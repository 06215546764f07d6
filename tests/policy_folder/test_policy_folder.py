"""A folder of safetensors gives the run's actions, bit for bit, or a sentence."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dtql_robot import InputError, load_policy
from dtql_robot.cli import main
from dtql_robot.config import PolicyConfig
from dtql_robot.policy_folder.files import CARD, SETTINGS, WEIGHTS, load_numpy_policy
from dtql_robot.policy_folder.save import save_policy_folder
from tests.helpers.saved_policy import observation, save_policy, small_policy

KINDS = {
    "mean": {},
    "one network": {"policy": PolicyConfig(policy_members=1)},
    "sample": {"policy": PolicyConfig(act="sample", tr_at="sample")},
    "best": {"policy": PolicyConfig(act="best", candidates=4, tr_at="sample")},
    "diffusion": {"policy": PolicyConfig(act="diffusion")},
    "implicit": {"policy": PolicyConfig(policy="implicit", tr_at="sample")},
    "best of diffusion": {"policy": PolicyConfig(act="diffusion-best", candidates=4)},
    "images": {"images": True, "frames": 2},
}


def actions(policy, images=False):
    policy.reset(seed=5)
    return np.array([policy.act(observation(step, images)) for step in range(5)])


@pytest.mark.parametrize("kind", KINDS)
def test_it_acts_as_the_run_does(kind, tmp_path):
    policy = small_policy(**KINDS[kind])
    folder = save_policy_folder(policy, tmp_path / "policy")
    loaded, images = load_policy(folder), "images" in KINDS[kind]
    np.testing.assert_array_equal(actions(loaded, images), actions(policy, images))
    if kind in ("mean", "one network"):
        obs = {k: v[None] for k, v in observation(0).items()}
        np.testing.assert_array_equal(load_numpy_policy(folder).predict(obs, []), policy.predict(obs, [None]))
        assert load_numpy_policy(folder).chunk_weights == policy.chunk_weights
    else:
        with pytest.raises(InputError, match="more than the mean of an MLP"):
            load_numpy_policy(folder)


@pytest.mark.slow
def test_it_holds_what_acts_and_no_more(tmp_path):
    run = save_policy(tmp_path / "run", policy=PolicyConfig(tr_at="sample"))
    assert main(["export", str(run), "--format", "safetensors", "--out", str(tmp_path / "mean")]) == 0
    size = sum(file.stat().st_size for file in (tmp_path / "mean").iterdir())
    assert size < 0.7e6 < (run / "checkpoint.pt").stat().st_size / 5
    with pytest.raises(InputError, match=r"act=best needs the network target_q, .* export it again with --act best"):
        load_policy(tmp_path / "mean").set_act("best")
    best = ["export", str(run), "--format", "safetensors", "--out", str(tmp_path / "best"), "--act", "best"]
    assert main(best) == 0
    loaded = load_policy(tmp_path / "best")
    assert loaded.choice.cfg.act == "best"
    policy = load_policy(run)
    policy.set_act("best")
    np.testing.assert_array_equal(actions(loaded), actions(policy))


def test_a_folder_is_replaced_only_where_asked_and_only_a_policys(tmp_path, capsys):
    run, out = save_policy(tmp_path / "run"), tmp_path / "policy"
    export = ["export", str(run), "--format", "safetensors", "--out", str(out)]
    assert main(export) == 0
    assert main(export) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*export, "--overwrite"]) == 0
    (out / SETTINGS).unlink()
    assert main([*export, "--overwrite"]) == 2
    assert "contains no policy.json" in capsys.readouterr().err


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    return save_policy_folder(small_policy(), folder / "policy")


def change(settings):
    def edit(folder):
        found = json.loads((folder / SETTINGS).read_text())
        settings(found)
        (folder / SETTINGS).write_text(json.dumps(found))

    return edit


def change_weights(edit):
    """Other weights, with the checksum that belongs to them: what somebody who means harm would write."""

    def write(folder):
        import hashlib

        weights = load_file(folder / WEIGHTS)
        edit(weights)
        save_file(weights, folder / WEIGHTS)
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        change(lambda found: found.update(weights_sha256=digest))(folder)

    return write


FIRST = "ema_policy/net.0.weight"
DAMAGE = {
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "policy.safetensors: No such file"),
    "cut weights": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:1000]), "is not the file"),
    "one bit": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-1] + b"\x7f"), "is not the file"),
    "no JSON": (lambda f: (f / SETTINGS).write_text("{"), "is not JSON"),
    "deep JSON": (lambda f: (f / SETTINGS).write_text("[" * 100_000), "is not JSON"),
    "a list": (lambda f: (f / SETTINGS).write_text("[]"), "an object"),
    "newer": (change(lambda s: s.update(format=2)), "has format 2; this version reads 1"),
    "no config": (change(lambda s: s.pop("config")), "lacks config"),
    "odd setting": (change(lambda s: s["config"]["policy"].update(act="guess")), "guess"),
    "wrong type": (change(lambda s: s["config"].update(policy=3)), "damaged|policy"),
    "short norm": (
        change(lambda s: s["interface"]["obs_norm"].update(shift=[0.0])),
        "has 1 entries, expected 7",
    ),
    "other shapes": (change(lambda s: s["interface"].update(obs_shapes=[[2, 2], [4]])), "obs_norm has 7 entries, exp"),
    "no shapes": (change(lambda s: s["interface"].update(obs_shapes=[[2, 2]])), "do not belong together"),
    "ghost image": (change(lambda s: s["interface"].update(image_keys=["x"])), "do not belong together"),
    "no chunk weights": (change(lambda s: s["interface"].update(chunk_weights=[[]])), "chunk weights"),
    "fewer chunk weights": (change(lambda s: s["interface"]["chunk_weights"].pop()), "chunk weights"),
    "NaN": (change_weights(lambda w: w[FIRST].__setitem__((0, 0, 0), np.nan)), "net.0.weight is NaN or infinite"),
    "lost array": (change_weights(lambda w: w.pop(FIRST)), "its settings"),
    "wider": (change_weights(lambda w: w.update({FIRST: np.zeros((4, 9, 128), np.float32)})), "its settings"),
    "other names": (change_weights(lambda w: w.update(x=w.pop(FIRST))), "its settings"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_one_sentence(kind, saved, tmp_path):
    damage, words = DAMAGE[kind]
    folder = tmp_path / "policy"
    shutil.copytree(saved, folder)
    damage(folder)
    for load in (load_policy, load_numpy_policy):
        with pytest.raises(InputError, match=words):
            load(folder)


def test_a_folder_of_something_else_is_told(tmp_path):
    with pytest.raises(InputError, match=r"contains no policy\.json"):
        load_numpy_policy(tmp_path)


def test_weights_that_have_diverged_are_not_written(tmp_path):
    policy = small_policy()
    next(policy.network.parameters()).data[0, 0, 0] = np.inf
    with pytest.raises(InputError, match="NaN or infinite"):
        save_policy_folder(policy, tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


def test_the_card_tells_task_data_success_with_interval_and_how_to_load(tmp_path):
    from dtql_robot.run_folder import CONFIG, DATASET, RESULTS

    run = save_policy(tmp_path / "run")
    policy = load_policy(run)
    assert "Not evaluated yet" in (save_policy_folder(policy, tmp_path / "a", run=run) / CARD).read_text()
    episode = {"seed": 1, "success": True, "return": 1.0, "length": 9, "time_to_success": 8}
    results = {"env": "FetchPush-v4", "success_rate": 0.9, "ci95": [0.8, 0.95], "episodes": 1, "seed": 10000,
               "mean_return": 1.0, "mean_length": 9.0, "policy_hz": 1e4, "env_steps_per_s": 1e3,
               "per_episode": [episode]}  # fmt: skip
    settings = {
        "data": "demos|`<script>.hdf5",
        "env": "FetchPush-v4",
        "env_args": {},
        "decisions": ["Reward: it is."],
        "config": policy.model.cfg.to_dict(),
        "versions": {"torch": "2.13"},
    }
    (run / RESULTS).write_text(json.dumps(results))
    (run / CONFIG).write_text(json.dumps(settings))
    (run / DATASET).write_text(json.dumps({"episodes": 200, "transitions": 9000}))
    card = (save_policy_folder(load_policy(run), tmp_path / "pick", run=run) / CARD).read_text()
    for words in ("# pick", "`FetchPush-v4`", "**90.0%** (95% interval 80.0% to 95.0%), 1 episodes in", "200 episodes",
                  "9000 transitions", "- Reward: it is.", "| `pose` | (2, 2) | float32 |", "torch 2.13",
                  'load_policy("pick")', "load_numpy_policy", "serve pick"):  # fmt: skip
        assert words in card, words
    assert "<script>" not in card
    recorded = load_policy(tmp_path / "pick").recorded_env
    assert (recorded.spec, recorded.env_args) == ("FetchPush-v4", {})
