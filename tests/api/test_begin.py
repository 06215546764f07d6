"""What a training starts from: a settings file, the weights of a run, a folder that is replaced."""

import dataclasses
import json
import os

import numpy as np
import pytest
import torch

from dtql_robot import curves, evaluate, load_policy, report
from dtql_robot.api.comparing import compare
from dtql_robot.api.settings import read_settings, with_settings
from dtql_robot.api.training import train
from dtql_robot.config import Config
from dtql_robot.errors import InputError
from dtql_robot.run_folder import read_config
from dtql_robot.training.init_from import inherited
from tests.training.test_train import load_state

SMALL = {"steps": 10, "log_every": 5, "policy_hidden": (16,), "critic_hidden": (16,), "denoiser_width": 16,
         "batch_size": 16, "threads": 1, "device": "cpu", "progress": False}  # fmt: skip


def same(a, b):
    return all(torch.equal(a["networks"][n][k], b["networks"][n][k]) for n in a["networks"] for k in a["networks"][n])


def test_a_run_repeats_from_its_own_config_json_bit_for_bit(demos, tmp_path):
    first = train(demos, tmp_path / "first", **SMALL, eval_episodes=3)
    read = read_settings(first / "config.json", Config())
    assert read.data == "synthetic"
    again = train(demos, tmp_path / "again", read.config, progress=False)
    assert same(load_state(first), load_state(again))
    assert read_config(first)["config"] == read_config(again)["config"]


def test_yaml_has_numbers_and_words_as_people_write_them(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("steps: 500\nlr: 3e-4\ncompile: off\npolicy: {q_weight: .5}\ncritic.expectile: 0.8\ndata: a.hdf5\n")
    read = read_settings(file, Config())
    cfg = read.config
    assert (cfg.steps, cfg.optim.lr, cfg.optim.compile, cfg.policy.q_weight) == (500, 3e-4, "off", 0.5)
    assert (cfg.critic.expectile, read.data) == (0.8, "a.hdf5")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.yaml", "stepps: 5", "there is no setting 'stepps'. Did you mean steps"),
        ("a.yaml", "policy: {q_wait: 1}", "there is no setting 'q_wait'. Did you mean q_weight"),
        ("a.yaml", "steps: many", "steps is 'many'; expected a whole number"),
        ("a.yaml", "- 1", "contains no settings by name"),
        ("a.yaml", "a: [", "is not valid YAML"),
        ("a.yaml", "a: !!python/object/apply:os.system [ls]", "is not valid YAML"),
        ("a.json", "{", "is not valid JSON"),
        ("a.json", '{"config": {}, "dat": 1}', "there is no setting 'dat'. Did you mean data"),
        ("a.json", '{"data": 5}', "data is 5, expected text"),
        ("a.toml", "", "settings are read from .yaml, .yml and .json files"),
    ],
)
def test_files_that_are_no_settings_are_one_sentence(tmp_path, name, text, sentence):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(InputError, match=sentence) as error:
        read_settings(file, Config())
    assert str(file) in str(error.value)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(InputError, match="not a regular file"):
        read_settings(tmp_path / "a.yaml", Config())


def test_settings_go_by_name(demos):
    cfg = with_settings(Config(), {"q_weight": 0.5, "policy.nll_weight": 2.0, "steps": 7, "data": {"horizon": 4}})
    assert (cfg.policy.q_weight, cfg.policy.nll_weight, cfg.steps, cfg.data.horizon) == (0.5, 2.0, 7, 4)
    with pytest.raises(InputError, match="no setting 'q_wait'"):
        with_settings(Config(), {"q_wait": 0.5})


def test_a_training_begins_with_the_weights_of_a_run(demos, tmp_path):
    first = train(demos, tmp_path / "first", **SMALL)
    # The same learning rate of 0 in effect: after one update with a tiny one, the weights are still the run's.
    tuned = train(demos, tmp_path / "tuned", init_from=first, steps=1, lr=1e-12, progress=False)
    before, after = load_state(first), load_state(tuned)
    assert after["step"] == 1
    for key, value in before["networks"]["policy"].items():
        torch.testing.assert_close(after["networks"]["policy"][key], value, rtol=0, atol=1e-9)
    settings = read_config(tuned)
    assert (settings["init_from"], settings["init_norm"]) == (str(first), "keep")
    assert any("starts from the weights of" in sentence for sentence in settings["decisions"])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, None), ({"q_weight": 0.0}, 0.0), ({"q_weight": 0.5}, 0.5), ({"q_weight": 0.08, "q_unit": "value"}, 0.08)],
)
def test_what_the_data_decided_of_q_is_decided_again_and_what_was_chosen_stays(settings, expected, demos, tmp_path):
    assert inherited(train(demos, tmp_path, **SMALL | settings)).policy.q_weight == expected


def test_scalings_are_kept_or_refitted(demos, tmp_path):
    from dtql_robot.checkpoint import load_policy

    first = train(demos, tmp_path / "first", **SMALL)
    wider = dataclasses.replace(
        demos,
        episodes=tuple(
            dataclasses.replace(e, actions=2 * e.actions, obs={"state": 3 * e.obs["state"]}) for e in demos.episodes
        ),
    )
    faces = {
        norm: load_policy(train(wider, tmp_path / norm, init_from=first, init_norm=norm, progress=False)).interface
        for norm in ("keep", "refit")
    }
    old = load_policy(first).interface
    np.testing.assert_array_equal(faces["keep"].obs_norm.scale, old.obs_norm.scale)
    assert not np.array_equal(faces["refit"].obs_norm.scale, old.obs_norm.scale)
    assert "leave the range of" in " ".join(read_config(tmp_path / "keep")["decisions"])
    train(wider, tmp_path / "keep", resume=True, init_from=first, steps=12, progress=False)  # scaled as it was begun
    assert load_state(tmp_path / "keep")["step"] == 12


def test_data_or_networks_of_another_form_are_refused(demos, tmp_path):
    first = train(demos, tmp_path / "first", **SMALL)
    other = dataclasses.replace(
        demos, episodes=tuple(dataclasses.replace(e, actions=e.actions[:, :1]) for e in demos.episodes)
    )
    with pytest.raises(InputError, match="actions with 2 entries, synthetic with 1"):
        train(other, tmp_path / "x", init_from=first, progress=False)
    renamed = dataclasses.replace(
        demos,
        episodes=tuple(
            dataclasses.replace(e, obs={"x": e.obs["state"]}, final_obs={"x": e.obs["state"][0]})
            for e in demos.episodes
        ),
    )
    with pytest.raises(InputError, match="state"):
        train(renamed, tmp_path / "x", init_from=first, progress=False)
    with pytest.raises(InputError, match=r"has different networks: .* leave out the settings that change"):
        train(demos, tmp_path / "x", init_from=first, policy_hidden=(8,), progress=False)
    with pytest.raises(InputError, match="contains no checkpoint"):
        train(demos, tmp_path / "x", Config(), init_from=tmp_path, progress=False)
    assert not (tmp_path / "x").exists()


def test_overwrite_replaces_the_run_and_nothing_else(demos, tmp_path):
    run = train(demos, tmp_path / "run", **SMALL, keep="every:5")
    for name in ("results.json", "results-best.json", "report.html", "mine.txt", "rollouts.mp4"):
        (run / name).write_text("old")
    with pytest.raises(InputError, match="replace it with --overwrite"):
        train(demos, run, **SMALL)
    with pytest.raises(InputError, match="no observation"):
        train(demos, run, **SMALL, overwrite=True, obs_keys=("none",))
    assert load_state(run)["step"] == 10
    train(demos, run, **{**SMALL, "steps": 4}, overwrite=True)
    assert load_state(run)["step"] == 4
    assert sorted(p.name for p in run.iterdir()) == [
        *("checkpoint.pt", "config.json", "dataset.json", "metrics.csv", "mine.txt", "rollouts.mp4")
    ]
    with pytest.raises(InputError, match="use only one of them"):
        train(demos, run, **SMALL, overwrite=True, resume=True)


def test_resume_starts_where_there_is_nothing(demos, tmp_path):
    assert load_state(train(demos, tmp_path / "run", **SMALL, resume=True))["step"] == 10


def test_compare_takes_folders_files_and_contents(tmp_path):
    def content(won):
        episodes = [
            {"seed": i, "success": i < won, "return": 0.0, "length": 5, "time_to_success": None} for i in range(20)
        ]
        rate = won / 20
        return {"env": "E-v0", "success_rate": rate, "ci95": [0, 1], "episodes": 20, "seed": 0, "mean_return": 0.0,
                "mean_length": 5.0, "policy_hz": 1.0, "env_steps_per_s": 1.0, "per_episode": episodes}  # fmt: skip

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "results.json").write_text(json.dumps(content(20)))
    (tmp_path / "a" / "results-best.json").write_text(json.dumps(content(10)))
    found = compare([tmp_path / "a", f"{tmp_path}/a@best", content(1)])
    assert [(row.name, row.successes) for row in found.rows] == [("a", 20), ("a@best", 10), ("result 3", 1)]
    assert found.pairs[0].significant
    with pytest.raises(InputError, match="given twice"):
        compare([tmp_path / "a", tmp_path / "a"])


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"cfg": {"steps": 1}},
            "cfg is {'steps': 1}; expected a Config or a preset's name; single settings are keywords.",
        ),
        ({"cfg": "iqll"}, "There is no preset 'iqll'. Did you mean iql or idql?"),
        ({"stpes": 1}, "there is no setting 'stpes'. Did you mean steps or tr_states?"),
        ({"init_norm": "refitt"}, "init_norm is 'refitt'; expected keep or refit. Did you mean refit?"),
        ({"max_episode_steps": 0}, "max_episode_steps is 0; expected a whole number from 1 to 1000000000."),
        ({"max_episode_steps": "9"}, "max_episode_steps is '9'; expected a whole number from 1 to 1000000000."),
        ({"seeds": 3}, "seeds is 3; expected a list of whole numbers."),
        ({"seeds": "0..2"}, "seeds is '0..2'; expected a list of whole numbers."),
        ({"seeds": [0, 1.5]}, "seeds must be a whole number at least 0, found 1.5."),
        ({"seeds": [0, 1, 0]}, "seeds has one twice: 0, 1, 0."),
        ({"env": 3}, "env is 3; expected the name of an environment."),
        ({"init_from": 5}, "init_from is 5; expected the path of a file or folder."),
        ({"callbacks": [len]}, "callbacks has <built-in function len>; expected instances of dtql_robot.Callback."),
    ],
)
def test_what_train_cannot_do_is_said_in_pythons_words(demos, tmp_path, asked, sentence):
    with pytest.raises(InputError) as caught:
        train(demos, tmp_path / "run", **{"steps": 1, "progress": False, **asked})
    assert str(caught.value) == sentence
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_values_of_the_wrong_type_are_told_everywhere(tmp_path):
    for call, sentence in (
        (lambda: train(None, tmp_path / "run"), "data is None; expected the path"),
        (lambda: train([1, 2], tmp_path / "run"), "data is [1, 2]; expected the path"),
        (lambda: train("a.hdf5", None), "out is None; expected the path"),
        (lambda: load_policy(None), "run is None; expected the path"),
        (lambda: curves(3), "run is 3; expected the path"),
        (lambda: report(tmp_path, 5), "result is 5; expected what `evaluate` returned."),
        (lambda: evaluate(len, "FetchReach-v4", video=3), "video is 3; expected a list of VideoSpec, or a path."),
        (lambda: evaluate(len, "FetchReach-v4", workers=2), "there is no setting 'workers'. Did you mean num_envs?"),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value).startswith(sentence)


def test_a_folder_of_several_seeds_says_which_runs_it_holds(demos, tmp_path):
    out = train(demos, tmp_path / "two", seeds=range(3, 5), **SMALL)
    for call in (load_policy, evaluate, curves, report, lambda run: compare([run, tmp_path / "other"])):
        with pytest.raises(InputError, match=f"two holds the runs of 2 seeds; name one of them: {out / 'seed3'}"):
            call(out)
