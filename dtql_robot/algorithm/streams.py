"""Steps of an update that read nothing of each other, side by side on a GPU."""

from __future__ import annotations

from types import TracebackType

import torch


class InTurn:
    """One step after the other: `with side: ...` and what follows it, in this order."""

    def __enter__(self) -> None:
        """Begin what may run beside what follows the block."""

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        """End it."""

    def join(self) -> None:
        """Wait for it."""


class SideStream(InTurn):
    """What stands in `with side: ...` runs on a second stream, beside what follows, until `join`.

    The block sees what was done before it.  Until `join`, nobody may write what it reads, or read what it writes, and
    what it reads must be kept.
    """

    def __init__(self, device: torch.device):
        self.stream = torch.cuda.Stream(device)
        self.switch = torch.cuda.stream(self.stream)

    def __enter__(self) -> None:
        self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))
        self.switch.__enter__()

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.switch.__exit__(kind, fault, at)

    def join(self) -> None:
        """What follows waits for the block; the CPU does not."""
        torch.cuda.current_stream(self.stream.device).wait_stream(self.stream)
