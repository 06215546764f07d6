"""Presets are complete, valid and hold the published hyperparameters."""

from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import pytest
import torch

from dtql_robot import paper
from dtql_robot.algorithm.agent import DTQL, lr_factor
from dtql_robot.config import Config
from dtql_robot.errors import InputError
from dtql_robot.presets import PRESETS, changes, override, preset
from dtql_robot.types import Batch


@pytest.mark.parametrize("name", PRESETS)
def test_every_setting_of_a_preset_is_in_its_config(name):
    config = preset(name)
    assert config != Config()
    for path, value in PRESETS[name].items():
        assert attrgetter(path)(config) == value, path


@pytest.mark.parametrize(
    ("name", "lr", "alpha", "nll", "decay", "steps", "batch", "expectile"),
    [
        ("hopper-medium-v2", 1e-4, 5, 0, True, 1_000_000, 256, 0.7),
        ("antmaze-umaze-diverse-v0", 3e-5, 1, 1, True, 500_000, 2048, 0.9),
        ("antmaze-large-diverse-v2", 3e-4, 0.5, 1, False, 300_000, 2048, 0.9),
        ("pen-human-v1", 3e-5, 1500, 0, True, 300_000, 256, 0.9),
        ("pen-cloned-v1", 1e-5, 1500, 0, False, 200_000, 256, 0.7),
        ("kitchen-partial-v0", 1e-4, 100, 0, True, 1_000_000, 256, 0.7),
    ],
)
def test_official_hyperparameters(name, lr, alpha, nll, decay, steps, batch, expectile):
    for prefix in ("", "paper:"):
        c = preset(prefix + name)
        found = (c.optim.lr, c.policy.trust_region_weight, c.policy.nll_weight, c.optim.lr_decay, c.steps)
        assert found == (lr, alpha, nll, decay, steps)
        assert (c.optim.batch_size, c.critic.expectile) == (batch, expectile)
        assert (c.data.horizon, c.policy.act, c.policy.candidates) == (1, "softmax", 1024)
        assert (c.optim.critic_lr, c.optim.pretrain_steps, c.updates) == (3e-4, 50_000, steps + 50_000)
        assert (c.optim.ema_decay, c.data.obs_norm, c.policy.nll_reduction) == (0.0, "none", "sum")
    partner = preset(f"paper-kl:{name}")
    assert (partner.policy.policy, partner.policy.regularizer, partner.policy.nll_weight) == ("denoiser", "kl", 0)
    assert replace(partner, policy=c.policy) == c


def test_each_of_the_twenty_rows_has_an_environment_and_a_protocol():
    names = {row.dataset for row in paper.ROWS}
    assert len(names - {name for name in names if name.startswith("antmaze") and name.endswith("v0")}) == 20
    for row in paper.ROWS:
        assert paper.row_of(f"paper:{row.dataset}") is paper.row_of(f"paper-kl:{row.dataset}") is row
        assert row.episodes == (10 if row.env.split("-")[0] in ("HalfCheetah", "Hopper", "Walker2d") else 100)
    assert paper.row_of("mse-bc") is None


def test_the_page_on_the_paper_has_every_row():
    page = (Path(__file__).parents[1] / "docs" / "paper.md").read_text()
    for row in paper.ROWS:
        name, version = row.dataset.rsplit("-v", 1)
        assert f"`paper:{name}-v{'2' if 'antmaze' in name else version}`" in page


def test_changes_say_what_a_preset_does():
    assert changes("no-q") == ("--q-weight 0.0",)
    said = changes("paper:hopper-medium-v2")
    assert "--lr 0.0001" in said
    assert "--steps 1000000" in said
    assert "--policy-hidden 256 256 256" in said


def test_unknown_names_are_input_errors():
    with pytest.raises(InputError, match="Did you mean pen-human-v1"):
        preset("pen-human-v0")
    with pytest.raises(InputError, match=r"no setting 'policy\.size'"):
        override(Config(), {"policy.size": 3})


def shrunk(name: str, **optim) -> Config:
    """A preset with small networks."""
    cfg = override(preset(name), {"critic.critic_hidden": (8,), "policy.policy_hidden": (8,), "steps": 4})
    cfg = override(cfg, {"diffusion.denoiser_width": 8, "optim.batch_size": 16})
    return replace(cfg, optim=replace(cfg.optim, **optim))


def batch(generator: torch.Generator, size: int = 16) -> Batch:
    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    ones = torch.ones(size)
    return Batch(draw(size, 3), draw(size, 1, 2) - 0.5, ones[:, None], draw(size), 0.99 * ones, draw(size, 3), ones)


def test_the_learning_rate_is_whole_in_pretraining_and_falls_after_it():
    cfg = shrunk("hopper-medium-v2", pretrain_steps=3)
    assert [lr_factor(cfg, step) for step in (0, 2, 3)] == [1, 1, 1]
    assert [lr_factor(cfg, step) for step in (5, 7)] == pytest.approx([0.5, 0])


def test_critics_have_their_own_learning_rate():
    agent = DTQL(shrunk("pen-cloned-v1", pretrain_steps=0), 3, 2, 0.5, torch.device("cpu"))
    agent.update(batch(torch.Generator().manual_seed(0)))
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in agent.optimizers.items()}
    assert rates == {"critic": 3e-4, "denoiser": 1e-5, "policy": 1e-5}


def test_distillation_starts_at_the_pretrained_denoiser():
    cfg = shrunk("paper-kl:hopper-medium-v2", pretrain_steps=2)
    agent, generator = DTQL(cfg, 3, 2, 0.5, torch.device("cpu")), torch.Generator().manual_seed(0)
    for _ in range(2):
        agent.update(batch(generator))
    learned = {k: v.clone() for k, v in agent.denoiser.state_dict().items()}
    assert any(not torch.equal(v, agent.policy.denoiser.state_dict()[k]) for k, v in learned.items())
    agent.schedule()
    for network in (agent.policy.denoiser, agent.ema_policy.denoiser, agent.fake):
        for key, value in network.state_dict().items():
            torch.testing.assert_close(value, learned[key])
    log = agent.update(batch(generator))
    assert {"kl", "fake_loss"} <= log.keys()
    assert any(not torch.equal(v, agent.policy.denoiser.state_dict()[k]) for k, v in learned.items())
    action = agent.ema_policy(torch.zeros(5, 3), 100 * torch.randn(5, 1, 2, generator=generator))
    assert action.abs().max() <= 1
