"""Training samples with images: uint8 on the device where they fit, else read from disk ahead of time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dtql_robot.algorithm.peers import ALONE, Peers
from dtql_robot.errors import InputError
from dtql_robot.training.buffer import ChunkBuffer
from dtql_robot.training.mapped_rows import MappedStates, allocate_rows, memory_budget
from dtql_robot.types import Array, Demonstrations, PixelBatch, image_fault, is_image

AHEAD = 3  # batches that are read from disk before they are asked for


def split_keys(demos: Demonstrations, keys: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(low-dimensional keys, image keys), each in order.  InputError for images of another layout."""
    first = demos.episodes[0].obs
    images = tuple(k for k in keys if is_image(first[k].shape[1:], first[k].dtype))
    for key in images:
        fault = image_fault(first[key].shape[1:], first[key].dtype)
        if fault is not None:
            raise InputError(f"Observation {key!r} of {demos.source} is {fault}")
    return tuple(k for k in keys if k not in images), images


@dataclass(frozen=True)
class ImageRows:
    """All images of one observation key, row by row as the states of a `ChunkBuffer`.

    rows    (S, height * width * channels) uint8, on the device; or mapped from a file, on the CPU
    mapped  bounds how much of that file is in memory; None where it is no file
    """

    rows: Tensor
    shape: tuple[int, ...]
    mapped: MappedStates | None = None

    def take(self, index: Tensor) -> Tensor:
        """index: (B, frames), on the device of `rows`.  Returns (B, frames, H, W, C)."""
        if self.mapped is not None:
            found = torch.from_numpy(self.mapped.rows(index.flatten().numpy()))
        elif self.rows.device.type == "cpu":  # ten times faster than torch on bytes
            found = torch.from_numpy(self.rows.numpy()[index.flatten().numpy()])
        else:
            found = self.rows.index_select(0, index.flatten())
        return found.view(*index.shape, *self.shape)


@dataclass(frozen=True)
class PixelBuffer:
    """A ChunkBuffer of the low-dimensional observations beside the images of the same states.

    first      (S,) row of the first state in the episode of each state, where the images are
    state, next  (N,) as in ChunkBuffer, where the images are
    with_next  whether a batch holds the images after its chunks
    behaviour  (K,) as in ChunkBuffer, on the CPU, where samples are drawn
    """

    low: ChunkBuffer
    images: dict[str, ImageRows]
    first: Tensor
    state: Tensor
    next: Tensor
    frames: int
    with_next: bool
    device: torch.device
    behaviour: Tensor | None = None

    def __len__(self) -> int:
        return len(self.low)

    @property
    def on_disk(self) -> bool:
        """Whether the images are read from a file instead of memory."""
        return any(rows.mapped is not None for rows in self.images.values())

    @property
    def in_memory(self) -> bool:
        """Whether all of it is in the device's memory."""
        return self.low.in_memory and not self.on_disk

    def batch(self, index: Tensor) -> PixelBatch:
        """The samples that start at transitions `index` (B,).

        With `index` on the device and all data in its memory, nothing leaves the device.
        """
        near = index.to(self.first.device, non_blocking=True)
        images = self._frames(self.state.index_select(0, near))
        next_images = self._frames(self.next.index_select(0, near)) if self.with_next else {}
        return PixelBatch(self.low.batch(index.to(self.device, non_blocking=True)), images, next_images)

    def _frames(self, rows: Tensor) -> dict[str, Tensor]:
        """key -> (B, frames, H, W, C): the frames up to `rows`, the episode's first one repeated before it."""
        back = torch.arange(self.frames - 1, -1, -1, device=rows.device)
        index = torch.maximum(rows[:, None] - back, self.first.index_select(0, rows)[:, None])
        return {key: images.take(index) for key, images in self.images.items()}

    def sample(self, batch_size: int, seed: int, step: int, peers: Peers = ALONE) -> PixelBatch:
        """The samples of update number `step`.

        peers: who else takes a share of the batch; only this process's is read.
        """
        return self.batch(peers.share(self.draw(batch_size, seed, step)))

    def draw(self, batch_size: int, seed: int, step: int) -> Tensor:
        """The transitions (B,) of update number `step`, on the CPU.

        Drawn by (seed, step) alone, so that they can be read early.  Where only some transitions are behaviour, as many
        of those follow (`types.halves`).
        """
        rng = np.random.default_rng((seed, step))
        index = torch.from_numpy(rng.integers(len(self), size=batch_size))
        if self.behaviour is None:
            return index
        chosen = torch.from_numpy(rng.integers(len(self.behaviour), size=batch_size))
        return torch.cat([index, self.behaviour.index_select(0, chosen)])

    def batches(self, batch_size: int, seed: int, step: int, peers: Peers = ALONE) -> Iterator[PixelBatch]:
        """The batches of updates `step`, `step` + 1, ...; what is on disk is read while earlier ones are used."""
        if not self.on_disk:
            while True:
                yield self.sample(batch_size, seed, step, peers)
                step += 1
        with ThreadPoolExecutor(1) as reader:
            ahead: deque[Future[PixelBatch]] = deque()
            try:
                while True:
                    while len(ahead) < AHEAD:
                        ahead.append(reader.submit(self._read, batch_size, seed, step, peers))
                        step += 1
                    yield self._to_device(ahead.popleft().result())
            finally:
                for future in ahead:
                    future.cancel()

    def _read(self, batch_size: int, seed: int, step: int, peers: Peers) -> PixelBatch:
        batch = self.sample(batch_size, seed, step, peers)
        if self.device.type != "cuda":
            return batch
        pinned = [{k: v.pin_memory() for k, v in images.items()} for images in (batch.images, batch.next_images)]
        return batch._replace(images=pinned[0], next_images=pinned[1])

    def _to_device(self, b: PixelBatch) -> PixelBatch:
        moved = [
            {k: v.to(self.device, non_blocking=True) for k, v in images.items()} for images in (b.images, b.next_images)
        ]
        return b._replace(images=moved[0], next_images=moved[1])


def make_pixel_buffer(
    demos: Demonstrations,
    low: ChunkBuffer,
    keys: Sequence[str],
    frames: int,
    with_next: bool,
    device: torch.device,
    memory_limit: int | None = None,
) -> PixelBuffer:
    """Lay out the images of `keys` beside the buffer `low` of the same demonstrations.

    Images that need more than `memory_limit` bytes together (by default half of what is free on the device) are kept in
    a file on disk; they are the same samples.
    """
    count = demos.num_transitions + len(demos)
    sizes = {key: math.prod(demos.obs_shapes[key]) for key in keys}
    limit = memory_budget(device) if memory_limit is None else memory_limit
    share = limit if count * sum(sizes.values()) <= limit else 0
    images = {}
    for key in keys:
        rows = allocate_rows(count, sizes[key], np.uint8, device, share)
        _fill(rows, demos, key)
        mapped = MappedStates(rows) if isinstance(rows, np.memmap) else None
        tensor = torch.from_numpy(rows)
        images[key] = ImageRows(tensor if mapped else tensor.to(device), demos.obs_shapes[key], mapped)
    lengths = np.array([len(e) + 1 for e in demos.episodes])
    first = torch.from_numpy(np.repeat(np.cumsum(lengths) - lengths, lengths))
    near = next(iter(images.values())).rows.device
    behaviour = None if low.behaviour is None else low.behaviour.cpu()
    first, state, after = first.to(near), low.state.to(near), low.next.to(near)
    return PixelBuffer(low, images, first, state, after, frames, with_next, device, behaviour)


def _fill(rows: Array, demos: Demonstrations, key: str) -> None:
    """Every episode's T images followed by its final one (the last again where it is unknown)."""
    row = 0
    for e in demos.episodes:
        images = e.obs[key].reshape(len(e), -1)
        rows[row : row + len(e)] = images
        rows[row + len(e)] = images[-1] if e.final_obs is None else e.final_obs[key].reshape(-1)
        row += len(e) + 1
