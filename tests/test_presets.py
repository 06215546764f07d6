"""Presets are complete, valid and hold the published hyperparameters."""

from operator import attrgetter

import pytest

from dtql_robot.config import Config
from dtql_robot.errors import InputError
from dtql_robot.presets import PRESETS, override, preset


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
        ("antmaze-large-diverse-v0", 3e-4, 0.5, 1, False, 300_000, 2048, 0.9),
        ("pen-human-v1", 3e-5, 1500, 0, True, 300_000, 256, 0.9),
        ("pen-cloned-v1", 1e-5, 1500, 0, False, 200_000, 256, 0.7),
        ("kitchen-partial-v0", 1e-4, 100, 0, True, 1_000_000, 256, 0.7),
    ],
)
def test_official_hyperparameters(name, lr, alpha, nll, decay, steps, batch, expectile):
    c = preset(name)
    found = (c.optim.lr, c.policy.trust_region_weight, c.policy.nll_weight, c.optim.lr_decay, c.steps)
    assert found == (lr, alpha, nll, decay, steps)
    assert (c.optim.batch_size, c.critic.expectile) == (batch, expectile)
    assert (c.data.horizon, c.policy.act, c.policy.candidates) == (1, "softmax", 1024)


def test_unknown_names_are_input_errors():
    with pytest.raises(InputError, match="Did you mean pen-human-v1"):
        preset("pen-human-v0")
    with pytest.raises(InputError, match=r"no setting 'policy\.size'"):
        override(Config(), {"policy.size": 3})
