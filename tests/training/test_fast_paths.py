"""Every fast way to compute an update is tied to the plain one."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from dtql_robot.algorithm import denoiser_networks
from dtql_robot.algorithm.agent import DTQL, frozen
from dtql_robot.algorithm.networks import Mish, linear_of_parts
from dtql_robot.algorithm.policy_networks import GaussianPolicy
from dtql_robot.algorithm.streams import InTurn
from dtql_robot.config import CriticConfig
from dtql_robot.presets import override, preset
from dtql_robot.training.cuda_graph import GraphedUpdate
from dtql_robot.training.ensemble import Ensemble
from dtql_robot.types import Batch
from tests.algorithm.test_agent import ACT, HORIZON, OBS, SIZE, make_agent, random_batch, small_config

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PAPER = {
    "optim.pretrain_steps": 0,
    "optim.batch_size": SIZE,
    "diffusion.denoiser_width": 16,
    "policy.policy_hidden": (16, 16),
    "critic.critic_hidden": (16, 16),
}
SAMPLED = {"nll": "tanh", "tr_at": "sample"}
IMPLICIT = {"policy": "implicit", "regularizer": "kl", "nll_weight": 0.0}


def stacked(batches):
    return Batch(*(torch.stack(t) for t in zip(*batches, strict=True)))


def assert_same_weights(a: DTQL, b: DTQL, tolerance: float):
    assert a.networks.keys() == b.networks.keys() >= {"policy", "ema_policy"}
    for name, network in a.networks.items():
        for key, value in network.state_dict().items():
            other = b.networks[name].state_dict()[key]
            torch.testing.assert_close(
                other.cpu(), value.cpu(), rtol=tolerance, atol=tolerance, msg=lambda m, n=name, k=key: f"{n}.{k}: {m}"
            )


# The baseline of the benchmark


def load_benchmark(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copy_into_plain(plain, agent):
    """The product's initial weights in the baseline's modules, all in float64."""
    for modules, network in (((plain.q1, plain.q2), agent.q), ((plain.target_q1, plain.target_q2), agent.target_q)):
        for i, module in enumerate(modules):
            weights = {k.removeprefix("net."): v[i] for k, v in network.state_dict().items()}
            shapes = {k: v.shape for k, v in module.double().state_dict().items()}
            module.load_state_dict({k: v.mT if len(shapes[k]) == 2 else v.flatten() for k, v in weights.items()})
    plain.v.double().load_state_dict({k.removeprefix("net."): v for k, v in agent.v.state_dict().items()})
    named = {k.removeprefix("net.").replace("embed", "time"): v for k, v in agent.denoiser.state_dict().items()}
    plain.denoiser.double().load_state_dict(named)
    for actor in (plain.actor, plain.ema_actor):
        actor.double().load_state_dict(agent.policy.state_dict())


def test_the_benchmarks_baseline_computes_the_same():
    cfg = override(preset("paper"), PAPER)
    rng = np.random.default_rng(0)
    data = {"obs": rng.standard_normal((64, 5)), "next_obs": rng.standard_normal((64, 5))}
    data |= {"action": rng.uniform(-0.9, 0.9, (64, 2)), "reward": rng.standard_normal(64), "discount": np.full(64, 0.9)}
    plain = load_benchmark("plain_update").PlainDTQL(cfg, data, 0.5)
    agent = DTQL(cfg, 5, 2, 0.5, torch.device("cpu"))
    for network in agent.networks.values():
        network.double()
    copy_into_plain(plain, agent)
    noises = []
    draw = agent._noise
    agent._noise = lambda *args, **kwargs: noises.append(draw(*args, **kwargs)) or noises[-1]
    one = torch.ones(SIZE, dtype=torch.float64)
    for _ in range(10):
        noises.clear()
        b = plain.sample()
        chunk, target = b["action"][:, None], (b["reward"], b["discount"], b["next_obs"], one)
        agent.update(Batch(b["obs"], chunk, one[:, None], *target))
        denoiser, policy = ((n.sigma, n.normal[:, 0]) for n in noises)
        metrics = plain.iterate(b, denoiser, noises[1].policy[:, 0], policy)
    assert len(metrics) == 6
    for mine, theirs in zip(agent.policy.parameters(), plain.actor.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)
    for mine, theirs in zip(agent.denoiser.parameters(), plain.denoiser.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)
    for i, q in enumerate((plain.target_q1, plain.target_q2)):
        torch.testing.assert_close(agent.target_q.net[0].weight[i].mT, q[0].weight, rtol=1e-6, atol=1e-6)


def test_mish_is_mish():
    x = torch.cat([torch.linspace(-60, 60, 1001), torch.tensor([-1e4, -200.0, 200.0, 1e4])]).double().requires_grad_()
    mine, theirs = Mish()(x), torch.nn.functional.mish(x)
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-15)
    grads = [torch.autograd.grad(y.sum(), x)[0] for y in (mine, theirs)]
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-14)
    wide = torch.linspace(-100, 100, 2001, requires_grad=True)
    (grad,) = torch.autograd.grad(Mish()(wide).sum(), wide)
    assert torch.isfinite(grad).all()


# What is left out of a product, because nothing reads it


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("chunk", [(3, 2), (1, 1)])
def test_means_are_members_without_noise(members, chunk):
    torch.manual_seed(0)
    policy = GaussianPolicy(5, chunk, (16, 8), "relu", (-5.0, 2.0), members).double()
    obs = torch.randn(7, 5, dtype=torch.float64)
    found = []
    for means in (policy.means(obs), policy.members(obs, torch.zeros(7, *chunk, dtype=torch.float64))):
        grads = torch.autograd.grad(means.sin().sum(), list(policy.parameters()))
        found.append((means.detach(), *grads))
    for fast, plain in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)


def test_a_linear_layer_of_parts_is_that_of_the_joined_parts():
    torch.manual_seed(0)
    layer = torch.nn.Linear(9, 4).double()
    parts = [torch.randn(6, size, dtype=torch.float64, requires_grad=size != 2) for size in (4, 2, 3)]
    found = []
    for out in (linear_of_parts(layer, *parts), layer(torch.cat(parts, dim=-1))):
        found.append((out, *torch.autograd.grad(out.sin().sum(), [parts[0], parts[2], *layer.parameters()])))
    for fast, plain in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("members", [1, 4])
@pytest.mark.parametrize("behaviour", ["all", "successes"])
def test_the_policys_gradient_equals_that_of_whole_products(members, behaviour, monkeypatch):
    cfg = override(small_config(policy_members=members), {"data.behaviour": behaviour})
    agent = make_agent(cfg)
    for network in agent.networks.values():
        network.double()
    b = Batch(*(t.double() for t in random_batch()))
    noise = agent._noise(b, 0.5, 3.0, policy=True)

    def gradients():
        with frozen(agent.denoiser, agent.q):
            loss, _ = agent.policy_loss(b, torch.ones(()), noise)
        return [loss.detach(), *torch.autograd.grad(loss, list(agent.policy.parameters()))]

    fast = gradients()
    monkeypatch.setattr(denoiser_networks, "linear_of_parts", lambda layer, *parts: layer(torch.cat(parts, dim=-1)))
    monkeypatch.setattr(agent.policy, "means", lambda obs: agent.policy.members(obs, torch.zeros_like(b.action)))
    for mine, whole in zip(fast, gradients(), strict=True):
        torch.testing.assert_close(mine, whole, rtol=1e-10, atol=1e-12)


class Products(TorchDispatchMode):
    """Counts the multiplications of matrix products."""

    def __init__(self):
        super().__init__()
        self.multiplications = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func.overloadpacket):
            self.multiplications += count(*args, **(kwargs or {}), out_val=out) // 2
        return out


def test_the_policys_step_computes_no_product_that_nothing_reads():
    """Not the deviations of a policy whose mean alone is trained, not the gradients of frozen weights, and not those of
    the denoiser's states and noise levels."""
    agent = make_agent(small_config(policy_members=3))
    b, noise = random_batch(), agent._noise(random_batch(), 0.5, 3.0, policy=True)
    with Products() as counted, frozen(agent.denoiser, agent.q):
        agent.policy_loss(b, torch.ones(()), noise)[0].backward()
    chunk, hidden, width, blocks = HORIZON * ACT, 16, 256, 2
    policy = 3 * (2 * (OBS * hidden + hidden**2 + hidden * chunk) + hidden**2 + hidden * chunk)  # and of two inputs
    block = width * chunk + blocks * 2 * width**2 + width * chunk  # of the noisy chunk alone
    levels, states = 16 * 32 + 32 * width + 32, OBS * width + width**2 + blocks * width**2 + width * chunk
    critic = 2 * 2 * ((OBS + chunk) * hidden + hidden**2)
    assert counted.multiplications == SIZE * (policy + 2 * block + levels + states + critic)


# Captured updates


class NoHostReads(TorchDispatchMode):
    """Fails where a value or a shape is read back from the device."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in self.FORBIDDEN, f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("policy", [{}, SAMPLED, IMPLICIT, {"awr_temperature": 1.0}])
def test_an_update_reads_nothing_back(policy):
    """What a CUDA graph demands, and what keeps a GPU busy."""
    agent = make_agent(small_config(**policy))
    agent.schedule_on_device()
    agent.schedule()
    agent.iterate(random_batch())
    with NoHostReads():
        agent.iterate(random_batch())
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NoHostReads():
        torch.ones(()).item()


class Touched(TorchDispatchMode):
    """The storages that operations read and write, with all tensors kept, so that no memory is used twice."""

    def __init__(self):
        super().__init__()
        self.read, self.written, self.kept = set(), set(), []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for i, argument in enumerate(func._schema.arguments):
            value = kwargs.get(argument.name, args[i] if i < len(args) else None)
            write = argument.alias_info is not None and argument.alias_info.is_write
            for tensor in value if isinstance(value, list | tuple) else [value]:
                if isinstance(tensor, torch.Tensor):
                    (self.written if write else self.read).add(tensor.untyped_storage().data_ptr())
        made = func(*args, **kwargs)
        self.kept.append((args, kwargs, made))
        return made


class Watched(InTurn):
    """What is touched beside and, until the join, in front."""

    def __init__(self):
        self.beside, self.front = Touched(), Touched()
        self.joined = False

    def __enter__(self):
        self.beside.__enter__()

    def __exit__(self, *fault):
        self.beside.__exit__(*fault)
        self.front.__enter__()

    def join(self):
        self.front.__exit__(None, None, None)
        self.joined = True


@pytest.mark.parametrize("policy", [{}, SAMPLED, {"awr_temperature": 1.0}])
def test_critics_and_denoiser_can_learn_side_by_side(policy):
    """On a GPU they do, in any order: neither may write what the other touches."""
    agent = make_agent(small_config(**policy))
    agent.update(random_batch())
    agent.side = side = Watched()
    agent.update(random_batch(1))
    assert side.joined
    weights = {name: {p.data_ptr() for p in network.parameters()} for name, network in agent.networks.items()}
    assert side.beside.written >= weights["q"] | weights["v"]
    assert side.front.written >= weights["denoiser"]
    assert not side.beside.written & (side.front.read | side.front.written)
    assert not side.front.written & side.beside.read


def test_rates_on_the_device_are_the_same_rates():
    cfg = small_config()
    plain, on_device = make_agent(cfg), make_agent(cfg)
    on_device.schedule_on_device()
    for i in range(10):
        plain.update(random_batch(i))
        on_device.update(random_batch(i))
        assert on_device.optimizers["policy"].param_groups[0]["lr"].item() == pytest.approx(plain.lr)
    assert_same_weights(plain, on_device, 1e-5)


def test_graphs_need_a_gpu():
    agent = make_agent(small_config())
    with pytest.raises(ValueError, match="on a GPU, got one on cpu"):
        GraphedUpdate(agent, random_batch)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
@pytest.mark.parametrize("pretrain", [0, 6])
def test_graphed_updates_equal_eager_ones(seeds, pretrain):
    """Drawn numbers, rates, gradients and averages, across the start of the policy."""
    cfg = small_config()
    cfg = dataclasses.replace(cfg, optim=dataclasses.replace(cfg.optim, pretrain_steps=pretrain, obs_noise=0.1))
    device = torch.device("cuda")

    def learner():
        agents = [DTQL(dataclasses.replace(cfg, seed=s), 5, 2, 0.5, device) for s in seeds]
        return agents[0] if len(agents) == 1 else Ensemble(agents)

    batch = random_batch() if len(seeds) == 1 else stacked([random_batch(s) for s in seeds])
    batch = Batch(*(t.to(device) for t in batch))
    eager, graphed = learner(), learner()
    update = GraphedUpdate(graphed, lambda: batch)
    for _ in range(20):
        log, other = eager.update(batch), update()
        for key in log:
            torch.testing.assert_close(other[key], log[key], rtol=1e-3, atol=1e-4)
    assert graphed.step == 20
    assert set(update.graphs) == ({True} if pretrain == 0 else {False, True})
    assert_same_weights(eager, graphed, 1e-4)


# Precision


def test_bf16_products_with_float32_weights():
    cfg = small_config()
    exact = make_agent(cfg)
    rough = make_agent(dataclasses.replace(cfg, optim=dataclasses.replace(cfg.optim, precision="bf16")))
    ensemble = Ensemble([make_agent(rough.cfg)])
    for i in range(5):
        logs = [agent.update(random_batch(i)) for agent in (exact, rough)]
        together = ensemble.update(stacked([random_batch(i)]))
    for key, value in logs[0].items():
        assert logs[1][key].dtype == torch.float32
        torch.testing.assert_close(logs[1][key], value, rtol=0.1, atol=0.05)
        torch.testing.assert_close(together[key].squeeze(), logs[1][key], rtol=0.05, atol=0.02)
    assert any(not torch.equal(logs[0][k], logs[1][k]) for k in logs[0])
    assert all(p.dtype == torch.float32 for n in rough.networks.values() for p in n.parameters())


def test_critic_config_of_the_paper_is_what_the_benchmark_uses():
    norms = {"v_layer_norm": False, "q_layer_norm": "own"}
    expected = CriticConfig(critic_hidden=(256, 256, 256), q_networks=2, expectile=0.7, discount=0.99, **norms)
    assert preset("paper").critic == expected
