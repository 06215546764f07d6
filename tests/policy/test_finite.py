"""NaN never leaves by any exit: act, predict, the portable policy, checkpoints, exported files."""

import numpy as np
import pytest
import torch

from dtql_robot import checkpoint
from dtql_robot.checkpoint import load_policy
from dtql_robot.config import Config, DataConfig, PolicyConfig
from dtql_robot.errors import InputError
from dtql_robot.policy.export import METADATA, export_policy
from dtql_robot.policy.interface import Interface
from dtql_robot.policy.normalize import Affine, identity
from dtql_robot.policy.one_step import OneStepPolicy
from dtql_robot.training.chunk_weights import even_weights

CPU = torch.device("cpu")


def agent_and_face(keys=("pose", "goal"), **policy):
    cfg = Config(data=DataConfig(horizon=4, n_action_steps=2), policy=PolicyConfig(policy_hidden=(16,), **policy))
    face = Interface(keys, ((2, 2), (3,)), identity(7), identity(2), 2, 0.5, chunk_weights=even_weights(4))
    return checkpoint.make_agent(cfg, face, CPU), face


def obs(bad=None, key="pose"):
    found = {"pose": np.zeros((2, 2)), "goal": np.ones(3)}
    if bad is not None:
        found[key].flat[-1] = bad
    return found


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.filterwarnings("ignore:overflow")
def test_each_observation_is_checked_and_named(bad, late):
    policy = OneStepPolicy(*agent_and_face())
    if late:
        policy.act(obs())  # the next action is in the queue
    with pytest.raises(InputError, match=r"observation 'pose' entry \(1, 1\) is .*; expected a finite float32 number"):
        policy.act(obs(bad))
    assert np.isfinite(policy.act(obs())).all()


def test_a_robot_of_several_is_named_and_so_it_is_without_torch():
    policy = OneStepPolicy(*agent_and_face())
    batch = {"pose": np.zeros((3, 2, 2)), "goal": np.ones((3, 3))}
    batch["goal"][1, 0] = np.nan
    for each in (policy, policy.portable()):
        with pytest.raises(InputError, match="observation 'goal' entry 0 of robot 1 is nan"):
            each.predict(batch, [np.random.default_rng(i) for i in range(3)])


def test_observations_that_are_no_numbers_are_a_sentence():
    with pytest.raises(InputError, match="observations must be numbers"):
        OneStepPolicy(*agent_and_face()).act({"pose": np.full((2, 2), "x"), "goal": np.ones(3)})


def test_weights_that_diverged_are_blamed_themselves():
    agent, face = agent_and_face()
    with torch.no_grad():
        agent.ema_policy.net[-1].bias[0] = float("nan")
    policy = OneStepPolicy(agent, face)
    for call in (policy.act, lambda o: policy.portable().predict({k: v[None] for k, v in o.items()}, [])):
        with pytest.raises(FloatingPointError, match="weights have diverged"):
            call(obs())


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.filterwarnings("ignore:invalid value")
def test_far_observations_are_blamed_themselves():
    agent, face = agent_and_face()
    face = Interface(
        face.obs_keys,
        face.obs_shapes,
        Affine(np.zeros(7), np.full(7, 1e-30)),
        face.action_norm,
        2,
        0.5,
        chunk_weights=face.chunk_weights,
    )
    with pytest.raises(FloatingPointError, match="deviations away"):
        OneStepPolicy(agent, face).act({"pose": np.full((2, 2), 1e9), "goal": np.ones(3)})


def test_a_good_checkpoint_is_not_replaced_by_nan_and_a_nan_one_says_so(tmp_path):
    agent, face = agent_and_face()
    checkpoint.save(tmp_path, agent, face)
    good = (tmp_path / "checkpoint.pt").read_bytes()
    with torch.no_grad():
        agent.q.net[0].weight[0, 0, 0] = float("inf")
    with pytest.raises(FloatingPointError, match=r"NaN or infinite by step 0 \(in q\): .* keeps the last good ones"):
        checkpoint.save(tmp_path, agent, face)
    assert (tmp_path / "checkpoint.pt").read_bytes() == good
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    state["agent"]["networks"]["ema_policy"]["net.0.weight"][0, 0] = float("nan")
    torch.save(state, tmp_path / "checkpoint.pt")
    for read in (load_policy, lambda run: checkpoint.read(run, CPU)):
        with pytest.raises(InputError, match=r"NaN or infinite weights \(in ema_policy\): the training diverged"):
            read(tmp_path)


def test_a_checkpoint_of_something_else_is_a_sentence(tmp_path):
    agent, face = agent_and_face()
    checkpoint.save(tmp_path, agent, face)
    whole = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    for change in ({"config": "{"}, {"config": "[]"}, {"interface": {}}, {"agent": {}}, {"agent": {"networks": {}}}):
        torch.save({**whole, **change}, tmp_path / "checkpoint.pt")
        with pytest.raises(InputError):
            load_policy(tmp_path)


def test_a_run_whose_noise_was_never_trained_acts_by_its_mean(tmp_path):
    import json

    agent, face = agent_and_face()
    checkpoint.save(tmp_path, agent, face)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    config = json.loads(state["config"])
    config["policy"]["act"] = "sample"  # as version 0.1.0 wrote it
    torch.save({**state, "config": json.dumps(config)}, tmp_path / "checkpoint.pt")
    with pytest.warns(UserWarning, match="nothing in its loss trains the policy's noise"):
        policy = load_policy(tmp_path)
    assert policy.choice.cfg.act == "mean"


@pytest.mark.parametrize("kind", ["torchscript", "onnx"])
def test_nan_weights_are_not_exported_and_no_file_is_replaced_unasked(kind, tmp_path):
    if kind == "onnx":
        pytest.importorskip("onnxscript", reason="onnx is not installed (pip install 'dtql-robot[onnx]')")
    agent, face = agent_and_face()
    out = tmp_path / "policy"
    out.write_text("mine")
    with pytest.raises(InputError, match="exists already; choose another --out or add --overwrite"):
        export_policy(OneStepPolicy(agent, face), out, kind)
    with torch.no_grad():
        agent.ema_policy.net[0].weight[0, 0] = float("nan")
    with pytest.raises(InputError, match="NaN or infinite"):
        export_policy(OneStepPolicy(agent, face), out, kind, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["policy"]
    assert out.read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("keys", [("actions", "noise"), ("obs_actions", "actions"), ("in0", "network.net.0.weight")])
def test_observations_may_have_the_names_of_the_files_own_parts(keys, tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (pip install 'dtql-robot[onnx]')")
    runtime = pytest.importorskip("onnxruntime", reason="onnx is not installed (pip install 'dtql-robot[onnx]')")
    policy = OneStepPolicy(*agent_and_face(keys, nll="tanh", act="sample"))
    path = export_policy(policy, tmp_path / "p.onnx", "onnx")
    import json

    about = json.loads({p.key: p.value for p in onnx.load(str(path)).metadata_props}[METADATA])
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    assert names == about["inputs"]
    assert len(set(names)) == 3
    assert names[2] == "noise"
    assert list(about["observations"].values()) == list(keys)
    values = {keys[0]: np.full((1, 2, 2), 0.3, np.float32), keys[1]: np.ones((1, 3), np.float32)}
    noise = np.random.default_rng(4).standard_normal((1, 4, 2), dtype=np.float32)
    found = session.run(["actions"], {names[0]: values[keys[0]], names[1]: values[keys[1]], "noise": noise})[0]
    np.testing.assert_allclose(found, policy.predict(values, [np.random.default_rng(4)]), atol=1e-5)
