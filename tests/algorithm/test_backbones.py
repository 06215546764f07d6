"""Pretrained backbones: ResNets that equal torchvision's, and frozen weights from a file."""

import copy
import dataclasses
import importlib.util
import sys

import pytest
import torch

from dtql_robot.algorithm.backbones import RESNETS, ResNet
from dtql_robot.algorithm.encoders import Encoders
from dtql_robot.errors import InputError
from tests.algorithm.test_encoders import LOW, SHAPES, config, make_agent, pixel_batch


def torchvision_models():
    """torchvision's models, or the error of an installation that does not fit this torch."""
    try:
        from torchvision import models
    except Exception as error:  # whatever a build for another torch raises
        return error
    return models


@pytest.fixture
def resnets_of_torchvision():
    """torchvision's ResNets, which are plain torch: also of a build for another torch, whose operators are missing."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    fits = not isinstance(torchvision_models(), Exception)
    with pytest.MonkeyPatch.context() as patch:
        if not fits:
            patch.setattr(torch.library, "register_fake", lambda *_, **__: lambda function: function)
        models = importlib.import_module("torchvision.models")
    yield models
    if not fits:  # the next import fails again
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]


@pytest.mark.slow
def test_the_own_resnets_are_torchvisions(resnets_of_torchvision):
    for name in ("resnet18", "resnet34"):
        theirs = resnets_of_torchvision.get_model(name, weights=None).eval()
        mine = ResNet(RESNETS[name]).eval()
        state = theirs.state_dict()
        assert set(state) - set(mine.state_dict()) == {"fc.weight", "fc.bias"}
        mine.load_state_dict({k: state[k] for k in mine.state_dict()})
        theirs.fc = torch.nn.Identity()
        x = torch.randn(2, 3, 64, 64)
        torch.testing.assert_close(mine(x), theirs(x))


def test_a_torchvision_that_does_not_fit_is_a_sentence():
    """The real one: on CPUs, the index's torchvision is built for another torch."""
    if not isinstance(torchvision_models(), Exception):
        pytest.skip("torchvision fits this torch")
    with pytest.raises(InputError, match=r"backbone='resnet50' needs torchvision.*pip install .*/whl/\w+`"):
        make_agent(config(encoder="frozen", backbone="resnet50"))


@pytest.mark.slow
def test_frozen_backbone_comes_from_a_local_file_and_stays_as_it_is(tmp_path):
    weights = tmp_path / "resnet18.pth"
    torch.manual_seed(1)
    net = ResNet(RESNETS["resnet18"])
    head = {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    older = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save({**older, **head}, weights)  # as torchvision's files are
    cfg = config(encoder="frozen", backbone_weights=str(weights), share_cameras=True)
    agent = make_agent(cfg)
    agent.encoder.load_backbone()
    backbone = agent.encoder.camera("all", 0).maps
    torch.testing.assert_close(backbone.net.conv1.weight, net.conv1.weight)
    before = copy.deepcopy(backbone.state_dict())
    head = agent.encoder.camera("all", 0).leave[0].weight.clone()
    agent.update(pixel_batch())
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())
    assert not torch.equal(head, agent.encoder.camera("all", 0).leave[0].weight)
    for file, sentence in ((None, "--backbone-weights FILE"), (tmp_path / "none.pth", "cannot be read as weights")):
        other = dataclasses.replace(cfg.encoder, backbone_weights=file and str(file))
        with pytest.raises(InputError, match=sentence):
            Encoders(other, LOW, SHAPES).load_backbone()
    torch.save({"conv1.weight": torch.zeros(2)}, weights)
    with pytest.raises(InputError, match="torchvision"):
        make_agent(config(encoder="frozen", backbone="resnet"))
    with pytest.raises(InputError, match=r"does not fit backbone='resnet18': 100 of 100 arrays"):
        agent.encoder.load_backbone()
