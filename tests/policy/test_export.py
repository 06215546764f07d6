"""The exported file computes what the loaded policy does."""

import json
import resource
import sys

import numpy as np
import pytest
import torch

from dtql_robot import checkpoint
from dtql_robot.algorithm.agent import DTQL
from dtql_robot.checkpoint import load_policy
from dtql_robot.cli import main
from dtql_robot.config import Config, DataConfig, PolicyConfig
from dtql_robot.errors import InputError
from dtql_robot.policy.export import METADATA, draw_inputs, export_policy
from dtql_robot.policy.interface import Interface
from dtql_robot.policy.normalize import Affine

TOLERANCE = 1e-5
ACTS = ("mean", "sample", "best", "softmax")
POLICIES = {
    "gaussian": PolicyConfig(nll="tanh"),
    "ensemble": PolicyConfig(policy_members=3, nll="tanh"),
    "implicit": PolicyConfig(policy="implicit", tr_at="sample"),
}


@pytest.fixture(params=["gaussian", "ensemble", "implicit"])
def run(request, tmp_path):
    """A run folder with two observations, units far from the networks' own, and weights that disagree."""
    cfg = Config(
        data=DataConfig(horizon=4, n_action_steps=3),
        policy=POLICIES[request.param],
    )
    rng = np.random.default_rng(0)
    shift, scale = rng.normal(size=7).astype(np.float32), rng.uniform(0.01, 5, 7).astype(np.float32)
    face = Interface(
        obs_keys=("pose", "goal"),
        obs_shapes=((2, 2), (3,)),
        obs_norm=Affine(shift, scale),
        action_norm=Affine(np.array([0.1, -0.2], np.float32), np.array([0.5, 2.0], np.float32)),
        action_dim=2,
        sigma_data=0.5,
        chunk_weights=((0.4, 0.3, 0.2, 0.1), (0.6, 0.4), (0.75, 0.25), (1.0,)),
    )
    agent = DTQL(cfg, 7, 2, 0.5, torch.device("cpu"))
    with torch.no_grad():
        for network in (agent.ema_policy, agent.target_q):
            for p in network.parameters():
                p.mul_(1.5).add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    checkpoint.save(tmp_path, agent, face)
    return tmp_path


def observations(count=1, seed=3):
    rng = np.random.default_rng(seed)
    return {
        "pose": rng.normal(size=(count, 2, 2)).astype(np.float32),
        "goal": rng.normal(size=(count, 3)).astype(np.float32),
    }


def acting(run, act):
    """The run's policy, acting so."""
    policy = load_policy(run)
    policy.set_act(act)
    return policy


def run_torchscript(path, inputs):
    return torch.jit.load(str(path))(*(torch.from_numpy(x) for x in inputs)).numpy()


def run_onnx(path, inputs):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'dtql-robot[onnx]')")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))[0]


RUNNERS = {"torchscript": run_torchscript, "onnx": run_onnx}


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUNNERS)
@pytest.mark.parametrize("act", ACTS)
def test_the_file_computes_what_the_policy_does(run, tmp_path, kind, act):
    if kind == "onnx":
        pytest.importorskip("onnxscript", reason="onnx is not installed (pip install 'dtql-robot[onnx]')")
    policy = acting(run, act)
    path = export_policy(policy, tmp_path / f"policy.{kind}", kind)
    assert not list(tmp_path.glob(".*part"))
    chosen = set()
    for seed in range(5):
        obs = observations(seed=seed)
        expected = policy.predict(obs, [np.random.default_rng(seed)])
        inputs = draw_inputs(policy, obs, np.random.default_rng(seed))
        found = RUNNERS[kind](path, inputs)
        assert found.shape == expected.shape == (1, 4, 2)
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() <= TOLERANCE
        chosen.add(float(expected[0, 0, 0]))
    assert len(chosen) == 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUNNERS)
def test_a_batch_of_robots(run, tmp_path, kind):
    if kind == "onnx":
        pytest.importorskip("onnxscript", reason="onnx is not installed (pip install 'dtql-robot[onnx]')")
    policy = acting(run, "mean")
    path = export_policy(policy, tmp_path / "p", kind)
    obs = observations(5)
    expected = policy.predict(obs, [np.random.default_rng(i) for i in range(5)])
    assert np.abs(RUNNERS[kind](path, [obs["pose"], obs["goal"]]) - expected).max() <= TOLERANCE


@pytest.mark.filterwarnings("error::torch.jit.TracerWarning")
def test_the_command_writes_a_file_that_says_what_it_takes(run, tmp_path, capsys):
    out = tmp_path / "deep" / "policy.pt"
    assert main(["export", str(run), "--format", "torchscript", "--out", str(out), "--act", "softmax"]) == 0
    assert "pose, goal, noise, draw -> actions (batch, 4, 2)" in capsys.readouterr().out
    extra = {METADATA: ""}
    torch.jit.load(str(out), _extra_files=extra)
    about = json.loads(extra[METADATA])
    assert about["inputs"] == ["pose", "goal", "noise", "draw"]
    assert (about["candidates"], about["horizon"], about["n_action_steps"]) == (32, 4, 3)
    assert about["chunk_weights"] == [0.75, 0.25]


@pytest.mark.slow
def test_onnx_says_the_same_of_itself(run, tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (pip install 'dtql-robot[onnx]')")
    pytest.importorskip("onnxscript", reason="onnx is not installed (pip install 'dtql-robot[onnx]')")
    model = onnx.load(str(export_policy(acting(run, "best"), tmp_path / "p.onnx", "onnx")))
    about = json.loads({p.key: p.value for p in model.metadata_props}[METADATA])
    assert about["act"] == "best"
    assert [i.name for i in model.graph.input] == about["inputs"] == ["pose", "goal", "noise"]


def test_the_many_step_baseline_is_not_exported(run, tmp_path):
    with pytest.raises(InputError, match="many sampling steps"):
        export_policy(load_policy(run), tmp_path / "p", "torchscript", act="diffusion")


def test_a_missing_package_is_a_sentence(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install 'dtql-robot\[onnx\]'"):
        export_policy(load_policy(run), tmp_path / "p.onnx", "onnx")
    assert not (tmp_path / "p.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torchscript", "onnx"])
def test_a_full_disk_is_a_sentence(run, tmp_path, kind):
    if kind == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(InputError, match="cannot be written: File too large"):
            export_policy(load_policy(run), tmp_path / "out", kind)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "out").exists()
