"""Training and acting from images: the buffer, the run folder, and a policy that refuses what it was not trained on."""

import dataclasses

import numpy as np
import pytest
import torch

from dtql_robot import checkpoint, run_folder
from dtql_robot.checkpoint import load_policy
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
from dtql_robot.policy.interface import Interface
from dtql_robot.policy.one_step import OneStepPolicy
from dtql_robot.training.buffer import choose_obs_keys
from dtql_robot.training.chunk_weights import fit_chunk_weights
from dtql_robot.training.loop import train
from dtql_robot.training.pixel_buffer import split_keys
from dtql_robot.training.prepare import prepare, resolve
from dtql_robot.types import Demonstrations, Episode, Policy

SIDE, CPU = 36, torch.device("cpu")
KEYS = ("state", "front_image", "wrist_image")


def episode(name: str, steps: int, seed: int, final: bool = True) -> Episode:
    """The action is where the bright square is in the front image."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, SIDE - 8, (steps + 1, 2))
    front = rng.integers(0, 40, (steps + 1, SIDE, SIDE, 3)).astype(np.uint8)
    for image, (down, across) in zip(front, places, strict=True):
        image[down : down + 8, across : across + 8] = 230
    wrist = rng.integers(0, 256, (steps + 1, SIDE, SIDE, 3)).astype(np.uint8)
    obs = {"state": rng.standard_normal((steps + 1, 2)).astype(np.float32), "front_image": front, "wrist_image": wrist}
    success = np.arange(steps) == steps - 1
    return Episode(
        name=name,
        obs={k: v[:-1] for k, v in obs.items()},
        final_obs={k: v[-1] for k, v in obs.items()} if final else None,
        actions=(places[:-1] / (SIDE - 8) * 2 - 1).astype(np.float32),
        rewards=success.astype(np.float32),
        terminated=False,
        truncated=True,
        success=success,
    )


@pytest.fixture(scope="module")
def demos() -> Demonstrations:
    return Demonstrations(tuple(episode(f"demo_{i}", 8 + i, i, final=i != 1) for i in range(4)), "squares", "robomimic")


def config(steps: int = 6, keys=KEYS, policy: dict | None = None, **encoder) -> Config:
    return Config(
        steps=steps,
        device="cpu",
        log_every=2,
        checkpoint_every=4,
        data=DataConfig(obs_keys=keys, horizon=2, n_action_steps=2),
        diffusion=DiffusionConfig(denoiser_width=16, denoiser_blocks=1),
        policy=PolicyConfig(policy_hidden=(16,), **(policy or {})),
        critic=CriticConfig(critic_hidden=(16,)),
        optim=OptimConfig(batch_size=8, lr_decay=False),
        encoder=EncoderConfig(**{"image_features": 8, "augment_pixels": 2, **encoder}),
    )


def observation(demos: Demonstrations, t: int) -> dict:
    return {key: demos.episodes[0].obs[key][t] for key in KEYS}


def test_settings_of_an_encoder_that_nothing_uses_are_told(demos):
    told = [
        any("settings of the encoder have no effect" in sentence for sentence in resolve(demos, cfg).decisions)
        for cfg in (config(keys=("state",)), config(), dataclasses.replace(config(keys=()), encoder=EncoderConfig()))
    ]
    assert told == [True, False, False]


@pytest.mark.parametrize("limit", ["1", "0.0000001"], ids=["memory", "disk"])
@pytest.mark.parametrize("frames", [1, 3])
def test_batches_hold_the_frames_up_to_the_state_and_after_the_chunk(demos, monkeypatch, limit, frames):
    monkeypatch.setenv("DTQL_ROBOT_MEMORY_GB", limit)
    _, face, buffer, _ = prepare(demos, config(frame_stack=frames), CPU)
    assert (face.low_keys, face.image_keys, face.obs_dim) == (("state",), ("front_image", "wrist_image"), 2)
    assert buffer.on_disk == (limit != "1")
    b = buffer.batch(torch.arange(len(buffer)))
    row = 0
    for e in demos.episodes:
        for key in face.image_keys:
            images = np.concatenate([e.obs[key], (e.final_obs or {key: e.obs[key][-1]})[key][None]])
            for t in range(len(e)):
                after = t + min(2, len(e) - t)
                for found, end in ((b.images[key], t), (b.next_images[key], after)):
                    shown = [images[max(0, end - back)] for back in range(frames - 1, -1, -1)]
                    np.testing.assert_array_equal(found[row + t], np.stack(shown))
        np.testing.assert_array_equal(b.low.obs[row : row + len(e)], face.obs_norm.apply(e.obs["state"]))
        row += len(e)


def test_disk_and_memory_give_the_same_batches_and_any_step_can_be_first(demos, monkeypatch):
    found = []
    for limit in ("1", "0.0000001"):
        monkeypatch.setenv("DTQL_ROBOT_MEMORY_GB", limit)
        _, _, buffer, _ = prepare(demos, config(), CPU)
        batches = buffer.batches(8, seed=5, step=0)
        found.append([next(batches) for _ in range(5)])
        batches.close()
        later = buffer.batches(8, seed=5, step=3)
        assert torch.equal(next(later).images["front_image"], found[-1][3].images["front_image"])
        later.close()
    for memory, disk in zip(*found, strict=True):
        assert torch.equal(memory.low.action, disk.low.action)
        for key in memory.images:
            assert torch.equal(memory.images[key], disk.images[key])
            assert torch.equal(memory.next_images[key], disk.next_images[key])
    assert not torch.equal(found[0][0].low.action, found[0][1].low.action)


def test_images_are_used_when_named_only(demos):
    assert choose_obs_keys(demos, ()) == ("state",)
    alone = dataclasses.replace(
        demos,
        episodes=tuple(
            dataclasses.replace(e, obs={"front_image": e.obs["front_image"]}, final_obs=None) for e in demos.episodes
        ),
    )
    with pytest.raises(InputError, match=r"holds images alone.*--obs-keys"):
        choose_obs_keys(alone, ())
    run_config, face, buffer, _ = prepare(alone, config(keys=("front_image",)), CPU)
    assert face.obs_dim == 0
    assert buffer.batch(torch.arange(3)).low.obs.shape == (3, 0)
    agent = checkpoint.make_agent(run_config, face, CPU)
    assert all(torch.isfinite(v) for v in agent.update(next(buffer.batches(8, 0, 0))).values())


def test_images_with_channels_first_are_refused(demos):
    turned = [dataclasses.replace(e, obs={"x_image": np.moveaxis(e.obs["front_image"], 3, 1)}) for e in demos.episodes]
    with pytest.raises(InputError, match=r"'x_image' of squares is uint8 of shape \(3, 36, 36\), channels first"):
        split_keys(dataclasses.replace(demos, episodes=tuple(turned)), ("x_image",))


@pytest.mark.slow
@pytest.mark.parametrize("encoder", [{}, {"share_networks": False, "frame_stack": 2}])
def test_resumed_run_equals_the_uninterrupted_one(demos, tmp_path, encoder):
    whole = train(demos, tmp_path / "whole", config(6, **encoder), progress=False)
    train(demos, tmp_path / "parts", config(3, **encoder), progress=False)
    parts = train(demos, tmp_path / "parts", config(6, **encoder), resume=True, progress=False)
    a, b = (torch.load(run / run_folder.CHECKPOINT, weights_only=True)["agent"] for run in (whole, parts))
    assert {"encoder", "ema_encoder"} <= set(a["networks"])
    for name, network in a["networks"].items():
        for key, value in network.items():
            assert torch.equal(value, b["networks"][name][key]), (name, key)


@pytest.mark.slow
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("act", ["mean", "sample", "best", "diffusion", "diffusion-best"])
def test_a_loaded_policy_acts_as_the_agent_did_whatever_shares_its_batch(demos, tmp_path, act, share):
    cfg = config(3, policy={"act": act, "candidates": 4, "nll": "tanh"}, share_networks=share)
    run = train(demos, tmp_path / "run", cfg, progress=False)
    policy = load_policy(run)
    assert isinstance(policy, Policy)
    assert policy.image_obs.shapes == {"front_image": (SIDE, SIDE, 3), "wrist_image": (SIDE, SIDE, 3)}
    rows = [observation(demos, t) for t in range(3)]
    together = {k: np.stack([r[k] for r in rows]) for k in KEYS}
    chunks = policy.predict(together, [np.random.default_rng(i) for i in range(3)])
    again = load_policy(run)
    for i, row in enumerate(rows):
        alone = again.predict({k: v[None] for k, v in row.items()}, [np.random.default_rng(i)])
        np.testing.assert_array_equal(alone[0], chunks[i])
    dark = {**together, "front_image": np.zeros_like(together["front_image"])}
    assert not np.array_equal(policy.predict(dark, [np.random.default_rng(i) for i in range(3)]), chunks)


def test_acting_step_by_step_remembers_the_frames(demos, tmp_path):
    policy = load_policy(train(demos, tmp_path / "run", config(3, frame_stack=3), progress=False))
    policy.reset(seed=0)
    steps = [observation(demos, t) for t in range(4)]
    actions = [policy.act(obs) for obs in steps]
    shown = {k: steps[2][k][None] for k in KEYS}
    for key in ("front_image", "wrist_image"):
        shown[key] = np.stack([steps[t][key] for t in (0, 1, 2)])[None]
    np.testing.assert_array_equal(policy.predict(shown, [np.random.default_rng(0)])[0], actions[2:])


def test_other_images_than_trained_on_are_refused_in_a_sentence(demos, tmp_path):
    policy = load_policy(train(demos, tmp_path / "run", config(2), progress=False))
    good = observation(demos, 0)
    image = good["front_image"]
    for changed, sentence in (
        ({}, r"trained on observation 'front_image'; got \['state', 'wrist_image'\]"),
        ({"front_image": image[:20]}, r"'front_image' has shape \(20, 36, 3\); trained on \(36, 36, 3\)\."),
        ({"front_image": image.transpose(2, 0, 1)}, r"has shape \(3, 36, 36\); .*: its channels come first"),
        ({"front_image": image / 255}, "'front_image' is float64; images must be uint8"),
    ):
        with pytest.raises(InputError, match=sentence):
            policy.act({"state": good["state"], "wrist_image": good["wrist_image"], **changed})


def test_where_it_looks(demos, tmp_path):
    policy = load_policy(train(demos, tmp_path / "run", config(2), progress=False))
    points = policy.attention(observation(demos, 0), "keypoints")["front_image"]
    assert points.shape == (32, 3)
    assert ((points[:, :2] >= 2) & (points[:, :2] < SIDE - 2)).all()  # in the window that it sees
    saliency = policy.attention(observation(demos, 0), "saliency")
    assert saliency["front_image"].shape == (SIDE, SIDE)
    assert max(v.max() for v in saliency.values()) == 1
    assert (saliency["front_image"][:2] == 0).all()  # outside that window nothing matters
    other = load_policy(train(demos, tmp_path / "impala", config(2, encoder="impala"), progress=False))
    with pytest.raises(InputError, match="saliency"):
        other.attention(observation(demos, 0), "keypoints")
    blind = load_policy(train(demos, tmp_path / "blind", config(2, keys=("state",)), progress=False))
    with pytest.raises(InputError, match="sees no images"):
        blind.attention(observation(demos, 0), "saliency")


@pytest.mark.slow
def test_the_action_is_learnt_from_the_image_alone():
    """The state is noise; where the square is can be seen only."""
    demos = Demonstrations(tuple(episode(f"demo_{i}", 30, i) for i in range(12)), "squares", "robomimic")
    cfg = config(150, ("state", "front_image"), policy={"q_weight": 0.0}, augment_pixels=1)
    optim = OptimConfig(batch_size=16, lr=2e-3, ema_decay=0.9)
    cfg = dataclasses.replace(cfg, optim=optim, data=dataclasses.replace(cfg.data, horizon=1, n_action_steps=1))
    cfg, face, buffer, _ = prepare(demos, cfg, CPU)
    agent = checkpoint.make_agent(cfg, face, CPU)
    batches = buffer.batches(16, 0, 0)
    for _ in range(cfg.steps):
        agent.update(next(batches))
    weights = fit_chunk_weights(agent, buffer)
    assert weights == ((1.0,),)
    policy = OneStepPolicy(agent, dataclasses.replace(face, chunk_weights=weights))
    unseen = episode("unseen", 12, seed=77)
    chunks = policy.predict(unseen.obs, [np.random.default_rng(0)] * 12)
    error = np.abs(chunks[:, 0] - unseen.actions).mean()
    assert error < 0.5 * np.abs(unseen.actions - unseen.actions.mean(axis=0)).mean()


def test_interfaces_without_images_are_as_before(demos):
    _, face, _, _ = prepare(demos, config(keys=("state",)), CPU)
    old = {k: v for k, v in face.to_dict().items() if k != "image_keys"}
    assert Interface.from_dict(old).image_keys == ()
    assert Interface.from_dict(face.to_dict()).obs_keys == ("state",)
