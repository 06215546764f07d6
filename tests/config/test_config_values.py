"""Settings that cannot work together, and settings as JSON."""

import pytest

from dtql_robot.config import Config, CriticConfig, DataConfig, PolicyConfig
from dtql_robot.errors import InputError
from tests.algorithm.test_agent import small_config


def test_config_rejects_what_cannot_work():
    with pytest.raises(InputError, match="nll_weight"):
        Config(policy=PolicyConfig(policy="implicit", nll="tanh"))
    with pytest.raises(InputError, match="n_action_steps"):
        DataConfig(horizon=2, n_action_steps=3)
    with pytest.raises(InputError, match="temporal_ensemble_coeff"):
        DataConfig(temporal_ensemble_coeff=float("nan"))
    with pytest.raises(InputError, match="expectile"):
        CriticConfig(expectile=1.0)
    with pytest.raises(InputError, match="policy_members is 0; expected at least 1"):
        PolicyConfig(policy_members=0)
    with pytest.raises(InputError, match="policy_members is 2; expected 1 with policy=implicit"):
        PolicyConfig(policy="implicit", policy_members=2)


def test_config_survives_json():
    import json

    cfg = small_config(act="best", nll="tanh")
    assert Config.from_dict(json.loads(json.dumps(cfg.to_dict()))) == cfg
    assert Config.from_dict({"steps": 3, "critic": {"tau": 0.1}}) == Config(
        steps=3, critic=CriticConfig(tau=0.1, q_networks=2)
    )
    former = cfg.to_dict()
    del former["data"]["temporal_ensemble_coeff"]  # as written before there was one
    assert Config.from_dict(former).data.temporal_ensemble_coeff is None
    with pytest.raises(InputError, match=r"config.optim has settings that this version does not know \(\['rate'\]\)"):
        Config.from_dict({"optim": {"rate": 1}})
