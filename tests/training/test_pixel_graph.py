"""A captured update from images: what it draws, that it asks the host for nothing, and that it equals eager ones."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from dtql_robot import checkpoint
from dtql_robot.algorithm import augment
from dtql_robot.algorithm.backbones import Backbone
from dtql_robot.algorithm.streams import InTurn
from dtql_robot.config import DataConfig, OptimConfig
from dtql_robot.errors import InputError
from dtql_robot.training import learner
from dtql_robot.training.loop import _check_buffer
from dtql_robot.training.pixel_buffer import ImageRows
from dtql_robot.training.prepare import prepare, resolve_graph
from dtql_robot.types import Demonstrations
from tests.training.test_fast_paths import NoHostReads
from tests.training.test_pixels import CPU, SIDE, config, episode

ENCODERS = [
    {},
    {"augment": "shift", "share_networks": False, "frame_stack": 2},
    {"encoder": "impala", "share_cameras": True},
    {"encoder": "resnet18", "augment": "none"},
    {"encoder": "frozen", "frame_stack": 2},
    {"encoder": "impala", "encoder_precision": "bfloat16"},
]
"""Every encoder, augmentation and way to share."""


@pytest.fixture(scope="module")
def demos() -> Demonstrations:
    """Four episodes, of which two succeed."""
    made = [episode(f"demo_{i}", 8 + i, i, final=i != 1) for i in range(4)]
    failed = [dataclasses.replace(e, success=np.zeros(len(e), bool)) for e in made[:2]]
    return Demonstrations((*failed, *made[2:]), "squares", "robomimic")


def settings(behaviour="all", graph="off", pretrain=0, precision="float32", device="cpu", **encoder):
    cfg = config(frame_stack=encoder.pop("frame_stack", 1), **encoder)
    optim = OptimConfig(batch_size=8, lr=3e-4, pretrain_steps=pretrain, cuda_graph=graph, precision=precision)
    data = dataclasses.asdict(cfg.data) | {"behaviour": behaviour}
    return dataclasses.replace(cfg, device=device, steps=50, optim=optim, data=DataConfig(**data))


def assert_same_batches(one, other):
    for mine, theirs in zip(one.low, other.low, strict=True):
        assert torch.equal(mine, theirs)
    for mine, theirs in ((one.images, other.images), (one.next_images, other.next_images)):
        assert mine.keys() == theirs.keys() >= {"front_image", "wrist_image"}
        for key in mine:
            assert torch.equal(mine[key], theirs[key])


@pytest.mark.parametrize("behaviour", ["all", "successes"])
@pytest.mark.parametrize("frames", [1, 2])
def test_samples_drawn_on_the_host_are_the_batch_that_is_read_ahead(demos, behaviour, frames):
    """As before the draw was a step of its own: the numbers of NumPy's generator of (seed, step), in this order."""
    _, _, buffer, _ = prepare(demos, settings(behaviour, frame_stack=frames), CPU)
    assert buffer.in_memory
    good = np.arange(len(demos.episodes[0]) + len(demos.episodes[1]), len(buffer))
    batches = buffer.batches(8, seed=3, step=5)
    for step in (5, 6, 7):
        rng = np.random.default_rng((3, step))
        expected = rng.integers(len(buffer), size=8)
        if behaviour == "successes":
            expected = np.concatenate([expected, good[rng.integers(len(good), size=8)]])
        index = buffer.draw(8, 3, step)
        assert index.tolist() == expected.tolist()
        batch = buffer.batch(index)
        assert batch.images["front_image"].shape[:2] == (len(expected), frames)
        assert_same_batches(batch, buffer.sample(8, 3, step))
        assert_same_batches(batch, next(batches))


class NoHostData(NoHostReads):
    """Neither are numbers of the host copied to the device."""

    FORBIDDEN = (*NoHostReads.FORBIDDEN, "lift_fresh")


def take_on_a_gpu(images: ImageRows, index):
    return images.rows.index_select(0, index.flatten()).view(*index.shape, *images.shape)


@pytest.mark.parametrize("encoder", ENCODERS, ids=str)
@pytest.mark.parametrize("behaviour", ["all", "successes"])
def test_an_update_from_images_reads_nothing_back(demos, encoder, behaviour, monkeypatch):
    monkeypatch.setattr(augment, "window", augment.window_by_index)  # what a GPU runs, and not NumPy
    monkeypatch.setattr(ImageRows, "take", take_on_a_gpu)
    cfg, face, buffer, _ = prepare(demos, settings(behaviour, **encoder), CPU)
    agent = checkpoint.make_agent(cfg, face, CPU)
    agent.schedule_on_device()
    agent.schedule()
    index = buffer.draw(8, 0, 0)
    agent.iterate(buffer.batch(index))
    before = [p.clone() for p in agent.encoder.parameters() if p.requires_grad]
    with NoHostData():
        agent.iterate(buffer.batch(index))
    after = [p for p in agent.encoder.parameters() if p.requires_grad]
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    with pytest.raises(AssertionError, match="lift_fresh"), NoHostData():
        torch.tensor(1.0)


@pytest.mark.parametrize("encoder", ENCODERS, ids=str)
def test_shapes_depend_on_no_number(demos, encoder):
    """On a device that holds none, and on which nothing of the host may be used."""
    meta = torch.device("meta")
    cfg, face, buffer, _ = prepare(demos, settings("successes", **encoder), CPU)
    tensors = {k: v.to(meta) for k, v in vars(buffer.low).items() if isinstance(v, torch.Tensor)}
    buffer = dataclasses.replace(
        buffer,
        low=dataclasses.replace(buffer.low, **tensors),
        images={k: ImageRows(v.rows.to(meta), v.shape) for k, v in buffer.images.items()},
        **{name: getattr(buffer, name).to(meta) for name in ("first", "state", "next")},
        device=meta,
    )
    batch = buffer.batch(torch.zeros(16, dtype=torch.int64, device=meta))
    seen = batch.images
    if cfg.encoder.augment != "none":
        top = torch.zeros(16, dtype=torch.int64, device=meta)
        size = augment.window_size(cfg.encoder, SIDE, SIDE)
        seen = {k: augment.window(v, top, top, *size) for k, v in seen.items()}
    net = checkpoint.make_agent(cfg, face, CPU).encoder.to(meta)
    features = net(batch.low.obs, seen)
    features.backward(torch.ones_like(features))
    assert {t.device for t in (*batch.low, *seen.values(), features)} == {meta}
    assert len(features) == len(batch.low.action) == 16


class Uncaptured:
    """What GraphedUpdate does, without the graph."""

    def __init__(self, agent, sample, before):
        self.agent, self.sample, self.before = agent, sample, before
        agent.schedule_on_device()

    def __call__(self):
        self.agent.schedule()
        self.before()
        log = self.agent.iterate(self.sample())
        self.agent.step += 1
        return log


def trained(demos, asked, device, counts):
    """An agent after `counts` updates, each time by a learner of its own, and the losses of each update."""
    cfg, face, buffer, _ = prepare(demos, asked, device)
    agent, logs = checkpoint.make_agent(cfg, face, device), []
    for count in counts:
        updates = learner.SingleLearner(agent).updates(buffer)
        logs += [{k: v.item() for k, v in next(updates).items()} for _ in range(count)]
        updates.close()
    assert agent.step == sum(counts)
    return agent, logs


def relative_difference(mine, theirs, start) -> dict[str, float]:
    """Per network: the length of the difference of two trainings' weights, as a share of how far they came.

    But for biases before a spatial softmax, which change little or nothing with them.
    """
    found = {}
    for name in mine.networks:
        apart = moved = 0.0
        a, b, c = (agent.networks[name].state_dict() for agent in (mine, theirs, start))
        for key in a:
            if a[key].is_floating_point() and not re.search(r"maps\.\d+\.bias$", key):
                apart += float((a[key].double() - b[key].double()).square().sum())
                moved += float((b[key].double() - c[key].double()).square().sum())
        assert moved > 0, name
        found[name] = (apart / moved) ** 0.5
    return found


def assert_alike(demos, device, counts, *args, **encoder):
    eager, eager_logs = trained(demos, settings(*args, **encoder, graph="off", device=device.type), device, counts)
    graphed, logs = trained(demos, settings(*args, **encoder, graph="on", device=device.type), device, counts)
    start, _ = trained(demos, settings(*args, **encoder, graph="off", device=device.type), device, ())
    for step, (one, other) in enumerate(zip(eager_logs, logs, strict=True)):
        assert other == pytest.approx(one, rel=1e-2, abs=1e-3), step
    apart = relative_difference(graphed, eager, start)
    assert {"encoder", "ema_encoder"} <= set(apart)
    assert max(apart.values()) < 0.05, apart


@pytest.mark.parametrize("behaviour", ["all", "successes"])
def test_each_update_gets_the_samples_of_its_number(demos, behaviour, monkeypatch):
    """Also when training is taken up again in the middle."""
    monkeypatch.setattr(learner, "GraphedUpdate", Uncaptured)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda index: index)  # which needs a GPU
    assert_alike(demos, CPU, (3, 2), behaviour, frame_stack=2)


class Untouched(InTurn):
    def __enter__(self):
        raise AssertionError("gradients of the features would race")

    def join(self):
        raise AssertionError("a capture cannot wait for a stream that it did not begin")


def test_images_are_learned_from_in_turn(demos):
    cfg, face, buffer, _ = prepare(demos, settings(), CPU)
    agent = checkpoint.make_agent(cfg, face, CPU)
    agent.side = Untouched()
    agent.update(buffer.sample(8, 0, 0))
    assert agent.step == 1


def test_pretrained_networks_keep_their_statistics(demos):
    """Which a replay would change without anybody seeing it."""
    cfg, face, buffer, _ = prepare(demos, settings(encoder="frozen"), CPU)
    agent = checkpoint.make_agent(cfg, face, CPU)
    agent.encoder.train()
    nets = [m for m in agent.encoder.modules() if isinstance(m, Backbone)]
    before = [b.clone() for net in nets for b in net.buffers()]
    agent.update(buffer.sample(8, 0, 0))
    assert before
    assert all(torch.equal(a, b) for a, b in zip(before, (b for net in nets for b in net.buffers()), strict=True))


def test_where_images_can_be_captured(demos, monkeypatch):
    cfg, cuda = settings(graph="auto"), torch.device("cuda")
    added = dataclasses.replace(cfg, encoder=dataclasses.replace(cfg.encoder))
    object.__setattr__(added.encoder, "encoder", "added")
    for found, in_memory, expected, says in (
        (cfg, True, "on", "one CUDA graph"),
        (cfg, False, "off", "some is kept in a file"),
        (added, True, "off", "may not hold the encoder 'added'"),
    ):
        resolved, said = resolve_graph(found, cuda, in_memory=in_memory, images=True)
        assert resolved.optim.cuda_graph == expected
        assert says in "".join(said)
    forced = settings(graph="on")
    _check_buffer(prepare(demos, forced, CPU), 1)
    monkeypatch.setenv("DTQL_ROBOT_MEMORY_GB", "0.0000001")
    with pytest.raises(InputError, match=r"cuda_graph=on needs all data on the GPU.*kept in a file"):
        _check_buffer(prepare(demos, forced, CPU), 1)


# On a GPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize(
    ("encoder", "behaviour", "pretrain"),
    [
        ({}, "all", 0),
        ({"frame_stack": 2, "augment": "shift"}, "successes", 0),
        ({"share_networks": False}, "successes", 5),
        ({"encoder": "impala", "frame_stack": 2}, "all", 0),
        ({"encoder": "resnet18", "augment": "none"}, "all", 0),
    ],
    ids=str,
)
def test_graphed_pixel_updates_equal_eager_ones(demos, encoder, behaviour, pretrain, monkeypatch):
    """What is drawn, augmented, encoded and learned, by a learner as `train` makes it."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    assert_alike(demos, torch.device("cuda"), (12,), behaviour, pretrain=pretrain, **encoder)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_graph_is_told_of_new_samples_while_it_runs_behind(demos):
    """Batches are drawn faster than they are trained on: each update must see its own."""
    device = torch.device("cuda")
    cfg, face, buffer, _ = prepare(demos, settings(graph="on", device="cuda"), device)
    agent, seen = checkpoint.make_agent(cfg, face, device), []
    iterate = agent.iterate
    sums = torch.zeros(40, device=device, dtype=torch.int64)
    at = torch.zeros(1, device=device, dtype=torch.int64)

    def watched(batch):
        sums.index_copy_(0, at, batch.images["front_image"].long().sum()[None])
        at.add_(1)
        return iterate(batch)

    agent.iterate = watched
    updates = learner.SingleLearner(agent).updates(buffer)
    for _ in range(40):
        next(updates)
    for step in range(40):
        seen.append(int(buffer.sample(8, cfg.seed, step).images["front_image"].long().sum()))
    assert sums.tolist() == seen
    assert len(set(seen)) > 30


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_training_from_images_takes_a_graph_by_itself(demos):
    device = torch.device("cuda")
    cfg, _, buffer, said = prepare(demos, settings(graph="auto", device="cuda"), device)
    assert cfg.optim.cuda_graph == "on"
    assert any("one CUDA graph" in sentence for sentence in said)
    assert {rows.rows.device.type for rows in buffer.images.values()} == {"cuda"}
