"""Tensors on their way from a GPU to the host, without waiting for it.

What lies on a GPU is copied into pinned memory behind the computation that is under way, and used once its copy has
arrived: a hook never waits for the device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_IN_FLIGHT = 2**28
"""Bytes that may be under way: beyond, the oldest delivery is waited for, and no other. It bounds the pinned memory."""


@dataclass(frozen=True, eq=False)
class _Delivery:
    """Tensors on the host or on their way there, who gets them, and the event after their copy (None: no copy)."""

    tensors: list[Tensor]
    then: Callable[[list[Tensor]], None]
    arrived: torch.cuda.Event | None

    @property
    def bytes(self) -> int:
        """What it holds, and what it takes to keep it in the queue."""
        return 512 + sum(tensor.nbytes for tensor in self.tensors)


class Transfer:
    """A queue of tensors on their way to the host. Order is kept, also with tensors that are there already.

    >>> transfer, arrived = Transfer(), []
    >>> transfer.send([torch.ones(2)], arrived.extend)
    >>> transfer.deliver(wait=True)
    >>> arrived, transfer.idle
    ([tensor([1., 1.])], True)
    """

    def __init__(self) -> None:
        self.queue: deque[_Delivery] = deque()
        """What is on its way."""
        self._bytes = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way, so that what is on the host may be used at once."""
        return not self.queue

    def send(self, tensors: list[Tensor], then: Callable[[list[Tensor]], None]) -> None:
        """Call `then` with the tensors on the host, once they and all before them have arrived."""
        remote = [tensor for tensor in tensors if tensor.device.type != "cpu"]
        arrived = None
        if remote and remote[0].device.type == "cuda":
            with torch.cuda.device(remote[0].device):
                tensors = [_pinned_copy(tensor) for tensor in tensors]
                arrived = torch.cuda.Event()
                arrived.record()
        elif remote:
            tensors = [tensor.cpu() for tensor in tensors]
        else:
            # What is on the host may be overwritten before its turn comes.
            tensors = [tensor.clone() for tensor in tensors]
        self.queue.append(_Delivery(tensors, then, arrived))
        self._bytes += self.queue[-1].bytes
        self._deliver(_IN_FLIGHT)

    def deliver(self, *, wait: bool) -> None:
        """Call what waits for tensors that have arrived, in order; with `wait`, for all of them."""
        if self.queue:
            self._deliver(0 if wait else _IN_FLIGHT)

    def _deliver(self, under_way: int) -> None:
        """Call what waits for tensors that have arrived, and wait for the oldest while more bytes are under way."""
        while self.queue:
            first = self.queue[0]
            if first.arrived is not None:
                if self._bytes > under_way:
                    first.arrived.synchronize()
                elif not first.arrived.query():
                    return
            self.queue.popleft()
            self._bytes -= first.bytes
            first.then(first.tensors)


def _pinned_copy(tensor: Tensor) -> Tensor:
    """A tensor on the host that holds the values once the device comes to the copy."""
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
