"""The product's update equals Algorithm 1 written out line by line, and its gradients equal finite differences."""

import shutil
from dataclasses import replace

import pytest
import torch

from dtql_robot.algorithm.agent import frozen
from dtql_robot.algorithm.objectives import Noise
from dtql_robot.config import DiffusionConfig
from tests.algorithm.test_agent import SIZE, make_agent, random_batch, small_config
from tests.helpers.plain_dtql import PlainDTQL

SIGMA_DATA = 0.5


def config():
    weights = {"trust_region_weight": 1.5, "nll_weight": 0.3, "q_weight": 0.7}
    cfg = small_config(nll="tanh", tr_at="sample", q_unit="value", policy_members=1, **weights)
    optim = replace(cfg.optim, denoiser_lr_scale=1.0)
    return replace(cfg, diffusion=DiffusionConfig(denoiser_width=16, denoiser_blocks=1), optim=optim)


def to(dtype, agent, batch):
    for network in agent.networks.values():
        network.to(dtype)
    return type(batch)(*(t.to(dtype) for t in batch))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 2e-3)])
def test_ten_updates_equal_the_plain_rendering(dtype, tolerance):
    agent = make_agent(config())
    doubles = {k: {n: t.double() for n, t in net.state_dict().items()} for k, net in agent.networks.items()}
    generator = torch.Generator()
    plain = PlainDTQL(doubles, agent.cfg, SIGMA_DATA, generator)
    noise = torch.Generator().manual_seed(5)
    if dtype == torch.float32:
        replay_noise_in_double(agent, noise)
    else:
        agent.generator = noise
    generator.manual_seed(5)
    for i in range(10):
        batch = random_batch(i)
        batch = batch._replace(td_valid=(torch.arange(SIZE) % 5 > 0).float())
        agent.update(to(dtype, agent, batch))
        plain.iterate(type(batch)(*(t.double() for t in batch)))
    for name, network in agent.networks.items():
        for key, value in network.state_dict().items():
            torch.testing.assert_close(
                value.double(),
                plain.w[name][key],
                rtol=tolerance,
                atol=tolerance,
                msg=lambda m, n=name, k=key: f"{n}.{k}: {m}",
            )


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_updates_equal_eager_ones():
    """To 1e-4 in float32 after ten updates.  Compiling takes half a minute to minutes on a CPU."""
    cfg = config()
    eager, compiled = make_agent(cfg), make_agent(cfg)
    compiled.compile_losses()
    for i in range(10):
        eager.update(random_batch(i))
        compiled.update(random_batch(i))
    for name, network in eager.networks.items():
        for key, value in network.state_dict().items():
            torch.testing.assert_close(compiled.networks[name].state_dict()[key], value, rtol=1e-4, atol=1e-4)


def replay_noise_in_double(agent, generator):
    """Let the float32 agent see the float64 agent's noise, rounded."""
    agent._normal = lambda like: torch.randn(like.shape, dtype=torch.float64, generator=generator).to(like.dtype)
    agent._uniform = lambda like: torch.rand(like.shape, dtype=torch.float64, generator=generator)
    draw = agent._noise
    agent._noise = lambda *args, **kwargs: Noise(*(t.float() for t in draw(*args, **kwargs)))


def finite_difference(loss, parameter, index, step=1e-6):
    values = []
    with torch.no_grad():
        for sign in (1, -1):
            parameter.view(-1)[index] += sign * step
            values.append(loss().item())
            parameter.view(-1)[index] -= sign * step
    return (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize("network", ["q", "v", "denoiser", "policy"])
def test_gradients_equal_finite_differences(network):
    agent = make_agent(config())
    batch = to(torch.float64, agent, random_batch(1))
    noise = agent._noise(batch, 0.1, 10.0, policy=True)

    def loss():
        if network == "policy":
            return agent.policy_loss(batch, torch.ones((), dtype=torch.float64), noise)[0]
        if network == "denoiser":
            return agent.denoiser_loss(batch, noise)[0]
        return agent.critic_loss(batch)[1][f"{network}_loss"]  # the targets are constants, also where V makes them

    with frozen(agent.denoiser, agent.q) if network == "policy" else frozen():
        loss().backward()
    checked = 0
    for parameter in agent.networks[network].parameters():
        for index in range(0, parameter.numel(), max(1, parameter.numel() // 3)):
            expected = finite_difference(loss, parameter.data, index)
            assert parameter.grad.view(-1)[index].item() == pytest.approx(expected, rel=1e-4, abs=1e-7)
            checked += 1
    assert checked >= 15
