"""What an update asks of the other processes that train the same agent, each on its share of every batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Peers:
    """One process alone: its share of a batch is the whole, and there is nobody to ask.

    `training.distributed.Group` is several.  All losses are means over the rows of a batch, so that the mean of the
    processes' gradients is the gradient of the whole batch, provided that what a loss knows of the batch as a whole
    comes from `rows_of_all` and `mean`.
    """

    def share(self, rows: Tensor, axis: int = 0) -> Tensor:
        """This process's part of a whole batch's rows."""
        return rows

    def draw(self, make: Callable[..., Tensor], shape: torch.Size, axis: int = 0) -> Tensor:
        """This process's part of random numbers that all draw alike.

        make: draws numbers of a shape.  shape: of this process's part.  axis: of its rows.
        """
        return make(shape)

    def rows_of_all(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in the order of the whole batch."""
        return rows

    def mean(self, statistic: Tensor) -> Tensor:
        """A statistic's mean over the processes."""
        return statistic

    def average_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        """Between `backward` and `step`: replace each gradient by its mean over the processes."""


ALONE = Peers()
