"""Entry points of other packages: found where they are installed, run when they are asked for, and only then."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import dtql_robot
from dtql_robot.algorithm.encoders import CameraEncoder
from dtql_robot.algorithm.model import make_denoiser
from dtql_robot.cli import main
from dtql_robot.config import Config, DiffusionConfig, EncoderConfig
from dtql_robot.datasets import inspect, load
from dtql_robot.env_record import choose_env
from dtql_robot.envs import env_info, make_env
from dtql_robot.errors import InputError
from dtql_robot.eval.evaluation import evaluate
from dtql_robot.system import plugins
from tests.helpers.packages import add_package

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "point_arm"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv(plugins.CONSENT, raising=False)
    monkeypatch.setattr(plugins, "_asked_for", set())
    plugins._found.cache_clear()
    yield folder
    plugins._found.cache_clear()


@pytest.fixture
def example(site):
    """The example package, put there without pip."""
    shutil.copytree(EXAMPLE / "point_arm", site / "point_arm")
    text = (EXAMPLE / "pyproject.toml").read_text()
    found = re.findall(r'^\[project.entry-points."([\w.]+)"\]\n([\w-]+) = "(.+)"$', text, re.MULTILINE)
    assert {group for group, *_ in found} == set(plugins.GROUPS)
    add_package(site, "point-arm", {group: {name: value} for group, name, value in found}, "0.1.0")
    yield site
    for name in [name for name in sys.modules if name.startswith("point_arm")]:
        del sys.modules[name]


def test_nothing_is_imported_before_it_is_asked_for(example):
    assert plugins.installed(plugins.ENVS) == ["point"]
    assert plugins.is_installed(plugins.DATASETS, "point-csv", ())
    EncoderConfig(encoder="point-pool")
    assert "point_arm" not in sys.modules


def test_a_format(example, tmp_path):
    from point_arm.record import main as record

    record(tmp_path / "demos", 3)
    demos = load(f"point-csv:{tmp_path / 'demos'}")
    assert (len(demos), demos.format, demos.env_spec) == (3, "point-csv", "point:reach")
    assert demos.obs_shapes == {"position": (2,), "goal": (2,)}
    both = load(f"point-csv:{tmp_path / 'demos'},point-csv:{tmp_path / 'demos'}", obs_keys=["goal"])
    assert (len(both), list(both.obs_shapes)) == (6, ["goal"])
    assert inspect(f"point-csv:{tmp_path / 'demos'}")["episodes"] == 3
    with pytest.raises(InputError, match="contains no CSV files"):
        load(f"point-csv:{tmp_path}")
    with pytest.raises(InputError, match="plugin, which has no --filter-key"):
        load(f"point-csv:{tmp_path / 'demos'}", filter_key="train")
    with pytest.raises(InputError, match="no observation 'nothing'"):
        load(f"point-csv:{tmp_path / 'demos'}", obs_keys=["nothing"])
    (tmp_path / "demos/demo_01.csv").write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match=r"demo_01\.csv has no number"):
        load(f"point-csv:{tmp_path / 'demos'}")


def test_an_environment_family(example):
    facts = env_info("point:reach")
    assert (facts.horizon, facts.success_rule, facts.fps, facts.action_dim) == (25, "last", 10, 2)
    env = make_env("point:reach-far+state=position,goal[0:1]", render=True, max_episode_steps=5, width=32, height=48)
    obs, _ = env.reset(seed=0)
    assert obs["state"].shape == (3,)
    frame = env.render()
    assert (frame.shape, frame.dtype) == ((48, 32, 3), np.uint8)
    assert frame.max() > 100
    ends = [env.step(np.ones(2))[3] for _ in range(5)]
    assert ends == [False] * 4 + [True]
    with pytest.raises(
        InputError,
        match=r"point:push: the environment cannot be made of point-arm 0.1.0: ValueError: "
        r"there is no task 'push'",
    ):
        make_env("point:push")
    with pytest.raises(InputError, match=r"with arguments \{'gravity': 3\}"):
        make_env("point:reach", env_args={"gravity": 3})


def to_goal(obs):
    return np.clip(10 * (obs["goal"] - obs["position"]), -1, 1)


@pytest.mark.slow
def test_evaluation_in_the_family_and_by_a_function(example, monkeypatch):
    from point_arm.env import make_far

    monkeypatch.setattr("dtql_robot.eval.evaluation.LATENCY_SECONDS", 0.1)
    processes = {"episodes": 4, "num_envs": 2, "where": "processes", "progress": False}
    family = evaluate(to_goal, "point:reach-far", **processes)
    assert family.success_rate == 1.0
    given = evaluate(to_goal, make_far, **processes)
    here = evaluate(to_goal, "point_arm.env:make_far", episodes=4, num_envs=1, where="in-process", progress=False)
    returns = [[e.episode_return for e in result.per_episode] for result in (family, given, here)]
    assert returns[0] == returns[1] == returns[2]


def test_functions_that_make_no_environment(example, tmp_path):
    with pytest.raises(InputError, match=r"at the top of a module that worker processes can import"):
        make_env(lambda: None)
    (example / "odd_module.py").write_text("def make():\n    return int\n")
    (example / "broken_module.py").write_text("1 / 0\n")
    with pytest.raises(InputError, match=r"made by that function is type; expected a gymnasium\.Env"):
        make_env("odd_module:make")
    with pytest.raises(InputError, match="package 'no_such_module' is missing"):
        make_env("no_such_module:make")
    with pytest.raises(InputError, match=r"odd_module:nothing"):
        make_env("odd_module:nothing")
    with pytest.raises(InputError, match="the module cannot be imported: ZeroDivisionError"):
        make_env("broken_module:make")


def test_an_encoder(example):
    encoder = CameraEncoder(EncoderConfig(encoder="point-pool", image_features=7), (32, 40, 3))
    assert encoder(torch.zeros(5, 3, 24, 32)).shape == (5, 7)
    with pytest.raises(InputError, match="fails on images of 2x2"):
        CameraEncoder(EncoderConfig(encoder="point-pool", augment="none"), (2, 2, 3))


def test_a_network(example):
    net = make_denoiser(Config(diffusion=DiffusionConfig(denoiser_net="point-linear")), 5, 2, 0.5).net
    assert type(net).__name__ == "LinearDenoiser"


PACKAGE = {
    "raises.py": "raise RuntimeError('old\\nlibrary')",
    "exits.py": "import sys; sys.exit(3)",
    "number.py": "value = 3",
    "odd.py": "def read(path):\n    return [path]\n"
    "def fail(*args, **kwargs):\n    return 1 / 0\n"
    "def module(*args):\n    return 5\n",
}


@pytest.fixture
def faulty(site):
    """A package all of whose entry points are wrong in some way."""
    for name, text in PACKAGE.items():
        (site / f"faulty_{name}").write_text(text)
    each = {
        "raises": "faulty_raises:make",
        "exits": "faulty_exits:make",
        "gone": "faulty_nowhere:make",
        "missing": "faulty_odd:nothing",
        "number": "faulty_number:value",
        "fails": "faulty_odd:fail",
        "other": "faulty_odd:module",
        "lists": "faulty_odd:read",
    }
    add_package(site, "faulty", dict.fromkeys(plugins.GROUPS, each), "2.0")
    return site


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises", r"cannot be imported: RuntimeError: old library. Fix or uninstall that package"),
        ("exits", r"cannot be imported: SystemExit: 3"),
        ("gone", r"cannot be imported: ModuleNotFoundError"),
        ("missing", r"cannot be imported: AttributeError"),
        ("number", r"is faulty_number:value; expected a function"),
        ("fails", r"ZeroDivisionError"),
        ("other", r"int|cannot be made"),
    ],
)
def test_a_faulty_plugin_is_one_sentence_when_it_is_asked_for(faulty, name, words, capsys):
    for ask in (
        lambda: load(f"{name}:x"),
        lambda: make_env(f"{name}:x"),
        lambda: CameraEncoder(EncoderConfig(encoder=name), (32, 32, 3)),
        lambda: make_denoiser(Config(diffusion=DiffusionConfig(denoiser_net=name)), 5, 2, 0.5),
    ):
        with pytest.raises(InputError, match=words) as refused:
            ask()
        assert "faulty 2.0" in str(refused.value)
        assert "\n" not in str(refused.value)
    assert main(["inspect", f"{name}:x"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_faulty_plugin_disturbs_nothing_else(faulty):
    assert env_info("FetchReach-v4").action_dim == 4
    with pytest.raises(InputError, match=r"returned list; expected Demonstrations"):
        load("lists:x")
    with pytest.raises(InputError, match=r"encoder is 'cnnn'; expected cnn, impala, .* did you mean cnn"):
        EncoderConfig(encoder="cnnn")


def test_names_that_clash(site):
    for name in ("one", "two"):
        add_package(site, name, {plugins.ENVS: {"arm": "m:f"}, plugins.ENCODERS: {"net": "m:f"}})
    add_package(site, "three", {plugins.ENVS: {"robosuite": "m:f"}, plugins.ENCODERS: {"cnn": "m:f"},
                                plugins.DATASETS: {"d4rl": "m:f"}, plugins.NETWORKS: {"mlp": "m:f"}})  # fmt: skip
    for ask in (lambda: make_env("arm:x"), lambda: EncoderConfig(encoder="net")):
        with pytest.raises(InputError, match=r"is added to dtql_robot.\w+ by one 1.0 and two 1.0; uninstall one"):
            ask()
    for ask in (
        lambda: make_env("robosuite:Lift"),
        lambda: EncoderConfig(encoder="cnn"),
        lambda: DiffusionConfig(denoiser_net="mlp"),
        lambda: load("d4rl:door-human-v1"),
    ):
        with pytest.raises(InputError, match=r"is a name of this package, and three 1.0 adds it"):
            ask()


def test_the_working_folder_is_not_looked_at(site, tmp_path, monkeypatch):
    here = tmp_path / "here"
    add_package(here, "planted", {plugins.ENVS: {"planted": "planted:make"}})
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(here)
    monkeypatch.syspath_prepend("")
    plugins._found.cache_clear()
    assert plugins.installed(plugins.ENVS) == []


def test_what_a_file_names_does_not_run_by_itself(example, monkeypatch):
    recorded = choose_env(None, "point:reach", {}, source="demos.hdf5")
    with pytest.raises(InputError, match="only an --env that you type may import a module"):
        recorded.require()
    assert choose_env("point:reach", "point:reach", {"max_episode_steps": 3}).require() == "point:reach"
    monkeypatch.setenv(plugins.CONSENT, "other, point")
    assert choose_env(None, "point:reach", {}).require() == "point:reach"
    monkeypatch.setenv(plugins.CONSENT, "all")
    assert choose_env(None, "point:reach", {}).require() == "point:reach"
    with pytest.raises(InputError, match="may import a module"):
        choose_env(None, "os:system", {}).require()


SMALL = ["--steps=4", "--batch-size=8", "--policy-hidden=16", "--critic-hidden=16", "--device=cpu"]
SMALL += ["--denoiser-width=16", "--horizon=4", "--n-action-steps=4", "--threads=1"]


@pytest.mark.slow
def test_the_example_installed_by_pip_and_run(site, tmp_path, monkeypatch, capsys):
    """As a user does: pip, a second process that trains, a third that evaluates in worker processes."""
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(EXAMPLE, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(target), str(source)], check=True)
    path = os.pathsep.join([str(target), str(Path(dtql_robot.__file__).parents[1])])
    env = {k: v for k, v in os.environ.items() if k != plugins.CONSENT} | {"PYTHONPATH": path}

    def call(*words, **more):
        options = {"env": env | more, "cwd": tmp_path, "capture_output": True, "text": True}
        return subprocess.run([sys.executable, "-m", *words], **options)

    assert call("point_arm.record", "demos").returncode == 0
    trained = call("dtql_robot", "train", "--data", "point-csv:demos", "--env", "point:reach", "--out", "run",
                   "--denoiser-net", "point-linear", *SMALL)  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert "DTQL_PLUGINS=point-linear" in trained.stdout
    judge = ("dtql_robot", "eval", "run", "--env", "point:reach", "--episodes", "4", "--num-envs", "2", "--quiet")
    refused = call(*judge)
    assert refused.returncode == 2
    assert refused.stderr.strip().endswith("If you trust run, allow it with DTQL_PLUGINS=point-linear.")
    assert "Traceback" not in refused.stderr
    judged = call(*judge, DTQL_PLUGINS="point-linear")
    assert judged.returncode == 0, judged.stderr
    assert "/4, 95% interval" in judged.stdout
    monkeypatch.syspath_prepend(target)
    plugins._found.cache_clear()
    assert main(["train", "--resume", "--out", str(tmp_path / "run"), "--steps", "8"]) == 2
    assert "names the plugin 'point-linear' (point-arm 0.1.0), and does not run it by itself" in capsys.readouterr().err
    monkeypatch.setenv(plugins.CONSENT, "point-linear")
    assert main(["train", "--resume", "--out", str(tmp_path / "run"), "--steps", "8"]) == 2
    assert "names the plugin 'point-csv'" in capsys.readouterr().err
