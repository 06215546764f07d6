"""Encoders of images: shapes, augmentation, who shares what, and which losses train them."""

import copy
import math

import pytest
import torch

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.algorithm.augment import augment, middle, to_channels, window, window_by_index
from dtql_robot.algorithm.encoders import Encoders
from dtql_robot.algorithm.image_networks import SpatialSoftmax, receptive_centres, small_cnn
from dtql_robot.config import (
    Config,
    CriticConfig,
    DataConfig,
    DiffusionConfig,
    EncoderConfig,
    OptimConfig,
    PolicyConfig,
)
from dtql_robot.errors import InputError
from dtql_robot.types import Batch, PixelBatch

LOW, ACT, HORIZON, SIZE, SIDE = 3, 2, 2, 6, 40
SHAPES = {"front_image": (SIDE, SIDE, 3), "wrist_image": (SIDE, SIDE, 3)}


def random_images(seed: int = 0, frames: int = 1, batch: int = SIZE) -> dict:
    g = torch.Generator().manual_seed(seed)
    shape = (batch, frames, SIDE, SIDE, 3)
    return {key: torch.randint(0, 256, shape, dtype=torch.uint8, generator=g) for key in SHAPES}


def pixel_batch(seed: int = 0, frames: int = 1) -> PixelBatch:
    g = torch.Generator().manual_seed(seed)
    low = Batch(
        obs=torch.randn(SIZE, LOW, generator=g),
        action=torch.rand(SIZE, HORIZON, ACT, generator=g) * 2 - 1,
        valid=torch.ones(SIZE, HORIZON),
        reward=torch.randn(SIZE, generator=g),
        discount=torch.full((SIZE,), 0.9),
        next_obs=torch.randn(SIZE, LOW, generator=g),
        td_valid=torch.ones(SIZE),
    )
    return PixelBatch(low, random_images(seed, frames), random_images(seed + 1, frames))


def config(policy: dict | None = None, optim: dict | None = None, **encoder) -> Config:
    return Config(
        steps=50,
        device="cpu",
        data=DataConfig(horizon=HORIZON, n_action_steps=HORIZON),
        diffusion=DiffusionConfig(denoiser_width=16, denoiser_blocks=1),
        policy=PolicyConfig(policy_hidden=(16,), **(policy or {})),
        critic=CriticConfig(critic_hidden=(16,)),
        optim=OptimConfig(batch_size=SIZE, lr_decay=False, **(optim or {})),
        encoder=EncoderConfig(**{"image_features": 8, "augment_pixels": 2, **encoder}),
    )


def make_agent(cfg: Config) -> DTQL:
    return DTQL(cfg, LOW, ACT, 0.5, torch.device("cpu"), SHAPES)


def snapshot(agent: DTQL, name: str) -> list:
    return [p.clone() for p in agent.networks[name].parameters()]


@pytest.mark.parametrize("kind", ["cnn", "impala", "resnet18"])
@pytest.mark.parametrize("frames", [1, 2])
def test_every_kind_gives_one_vector_a_sample(kind, frames):
    enc = Encoders(config(encoder=kind, frame_stack=frames).encoder, LOW, SHAPES)
    features = enc.encode(torch.zeros(SIZE, LOW), random_images(frames=frames))
    assert features.shape == (SIZE, enc.feature_dim) == (SIZE, LOW + 2 * 8)
    other = enc.encode(torch.zeros(SIZE, LOW), random_images(seed=9, frames=frames))
    assert (features - other).abs().max() > 1e-3


def test_a_shared_camera_encoder_is_one_and_own_ones_are_two():
    own, shared = (Encoders(config(share_cameras=s).encoder, LOW, SHAPES) for s in (False, True))
    count = [sum(p.numel() for p in e.parameters()) for e in (own, shared)]
    assert count[0] == 2 * count[1]
    same = dict.fromkeys(SHAPES, random_images()["front_image"])
    vector = shared.encode(torch.zeros(SIZE, LOW), same)
    assert torch.equal(vector[:, LOW : LOW + 8], vector[:, LOW + 8 :])
    with pytest.raises(InputError, match="one size"):
        Encoders(config(share_cameras=True).encoder, LOW, {**SHAPES, "wrist_image": (48, 48, 3)})


@pytest.mark.parametrize("window", [window, window_by_index])
def test_a_window_is_what_slicing_gives_and_repeats_the_border_outside(window):
    image = random_images(batch=3)["front_image"]
    cut = window(image, torch.tensor([0, 3, -2]), torch.tensor([4, 1, 0]), 20, 24)
    assert cut.shape == (3, 1, 20, 24, 3)
    assert torch.equal(cut[0], image[0, :, 0:20, 4:28])
    assert torch.equal(cut[1], image[1, :, 3:23, 1:25])
    assert torch.equal(cut[2, :, 2:], image[2, :, :18, :24])
    assert torch.equal(cut[2, :, 0], image[2, :, 0, :24])
    beyond = window(image, torch.tensor([1, 2, -2]), torch.tensor([3, -1, 0]), SIDE, SIDE)
    assert torch.equal(beyond[0, :, : SIDE - 1, : SIDE - 3], image[0, :, 1:, 3:])
    assert torch.equal(beyond[0, :, SIDE - 1, : SIDE - 3], image[0, :, SIDE - 1, 3:])


@pytest.mark.parametrize(("how", "side"), [("crop", 36), ("shift", 40), ("none", 40)])
def test_augmentation_is_a_function_of_the_seed_and_acting_takes_the_middle(how, side):
    cfg = config(augment=how).encoder
    images = random_images(frames=2)["front_image"]
    first, again, other = (augment(images, cfg, torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert first.shape == (SIZE, 2, side, side, 3)
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (how == "none")
    assert middle(images, cfg).shape == first.shape
    edge = 2 if how == "crop" else 0
    assert torch.equal(middle(images, cfg), images[:, :, edge : edge + side, edge : edge + side])


def test_frames_of_a_sample_move_together():
    cfg = config(augment="crop").encoder
    still = random_images()["front_image"].expand(-1, 3, -1, -1, -1)
    cut = augment(still, cfg, torch.Generator().manual_seed(0))
    assert torch.equal(cut[:, 0], cut[:, 1])
    assert torch.equal(cut[:, 0], cut[:, 2])


def test_pixels_become_channels_in_order():
    images = random_images(frames=2)["front_image"]
    stacked = to_channels(images)
    assert stacked.shape == (SIZE, 6, SIDE, SIDE)
    torch.testing.assert_close(stacked[1, 4], images[1, 1, :, :, 1].float() / 255 - 0.5)


def test_spatial_softmax_finds_a_peak():
    maps = torch.zeros(1, 2, 5, 9)
    maps[0, 0, 1, 6] = 100.0
    maps[0, 1, 4, 0] = 100.0
    across, down = SpatialSoftmax().points(maps)
    torch.testing.assert_close(across[0], torch.tensor([0.5, -1.0]))
    torch.testing.assert_close(down[0], torch.tensor([-0.5, 1.0]))


def test_a_keypoint_is_at_the_pixel_that_moves_it():
    """The centre of a cell's receptive field, against the gradient of that cell."""
    maps = small_cnn(3)
    first, step = receptive_centres(maps)
    image = torch.rand(1, 3, 44, 44, requires_grad=True)
    out = maps(image)
    out[0, :, 2, 1].sum().backward()
    touched = image.grad[0].abs().sum(dim=0).nonzero().float()
    centre = (touched.min(dim=0).values + touched.max(dim=0).values) / 2
    assert centre.tolist() == [first + 2 * step, first + step]


def test_one_encoding_a_batch_serves_all_networks(monkeypatch):
    agent = make_agent(config())
    calls = []
    plain = Encoders.forward
    monkeypatch.setattr(Encoders, "forward", lambda self, *a: calls.append(self is agent.encoder) or plain(self, *a))
    agent.update(pixel_batch())
    assert calls == [True, True]  # the state with gradients, the state after the chunk without


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize(
    "losses", [("denoiser", "policy"), ("critic",), ("denoiser",), ("policy",), ("critic", "denoiser", "policy")]
)
def test_the_losses_that_are_named_train_the_encoder_and_no_others(losses, share):
    agent = make_agent(config(encoder_losses=losses, share_networks=share))
    readers = agent.encoder.readers
    before = {r: [p.clone() for p in agent.encoder.cameras[r].parameters()] for r in readers}
    for seed in range(2):
        log = agent.update(pixel_batch(seed))
    assert all(math.isfinite(float(v)) for v in log.values())
    moved = {
        r
        for r in readers
        if any(not torch.equal(a, b) for a, b in zip(before[r], agent.encoder.cameras[r].parameters(), strict=True))
    }
    assert moved == ({"all"} if share else set(losses))


def test_gradients_are_the_sum_of_the_named_losses_own_gradients():
    """Against plain backward passes through the encoder, one loss at a time."""
    agent = make_agent(config(encoder_losses=("critic", "denoiser"), augment="none"))
    b = pixel_batch()
    plain = copy.deepcopy(agent)
    received = []
    agent.optimizers["encoder"].step = lambda: received.extend(p.grad.clone() for p in agent.encoder.parameters())
    agent.update(b)
    d = plain.cfg.diffusion
    noise = plain._noise(b.low, d.sigma_min, d.sigma_max)
    for loss in (plain.critic_loss, lambda seen: plain.denoiser_loss(seen, noise)):
        seen = plain.encoder(b.low.obs, b.images)
        after = plain.encoder(b.low.next_obs, b.next_images).detach()
        loss(b.low._replace(obs=seen, next_obs=after))[0].backward()
    for mine, theirs in zip(received, plain.encoder.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.grad, rtol=1e-4, atol=1e-6)


def test_a_judge_is_not_pleased_by_changing_what_it_sees():
    """The policy's loss reaches the encoder through the policy's own input alone."""
    agent = make_agent(config(policy={"nll_weight": 0.0}, encoder_losses=("policy", "critic", "denoiser")))
    for p in agent.policy.parameters():
        torch.nn.init.zeros_(p)  # an action that does not depend on the features
    b, _ = agent._encode(pixel_batch())
    noise = agent._noise(b, agent.cfg.policy.tr_sigma_min, agent.cfg.policy.tr_sigma_max, policy=True)
    agent.policy_loss(b, torch.ones(()), noise)[0].backward()
    assert b.obs.grad is None or b.obs.grad.abs().max() == 0


def test_the_encoders_average_follows_with_the_policys():
    agent = make_agent(config(optim={"ema_decay": 0.9, "pretrain_steps": 1}))
    start = snapshot(agent, "ema_encoder")
    agent.update(pixel_batch())
    assert all(torch.equal(a, b) for a, b in zip(start, snapshot(agent, "ema_encoder"), strict=True))
    agent.update(pixel_batch(1))
    for mean, before, now in zip(snapshot(agent, "ema_encoder"), start, agent.encoder.parameters(), strict=True):
        torch.testing.assert_close(mean, before.lerp(now, 1 - 0.1))


def test_without_a_critic_what_follows_is_not_encoded(monkeypatch):
    agent = make_agent(config(policy={"q_weight": 0.0}))
    b = pixel_batch()._replace(next_images={})
    before = snapshot(agent, "encoder")
    agent.update(b)
    assert any(not torch.equal(a, b) for a, b in zip(before, snapshot(agent, "encoder"), strict=True))


def test_reduced_precision_trains_in_it_and_acts_in_full():
    agent = make_agent(config(encoder_precision="bfloat16"))
    log = agent.update(pixel_batch())
    assert all(v.dtype == torch.float32 and math.isfinite(float(v)) for v in log.values())
    assert agent.encoder.encode(torch.zeros(1, LOW), random_images(batch=1)).dtype == torch.float32


def test_impossible_encoders_are_refused_in_a_sentence():
    for settings, sentence in (
        ({"augment_pixels": 20}, "leaves nothing of 40x40"),
        (
            {"encoder": "resnet18", "augment_pixels": 4},
            "32x32 pixels .after cropping. are too small for encoder='resnet18'",
        ),
        ({"augment_pixels": 9}, "too small for encoder='cnn'"),
    ):
        with pytest.raises(InputError, match=sentence):
            make_agent(config(**settings))
    with pytest.raises(InputError, match="frame_stack is 0"):
        EncoderConfig(frame_stack=0)
