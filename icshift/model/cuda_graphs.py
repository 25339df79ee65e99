"""CUDA graphs: kernels that are written down once and replayed without Python, so that no hook is called."""

from __future__ import annotations

from functools import cache

import torch

from icshift.notice import notice


def is_captured() -> bool:
    """Whether what runs now is captured; the first time it is, a notice says what that means for a recording.

    A copy to the host, an event or an allocation of ours would become part of the graph, or end its capture by an
    error, and with it the training.
    """
    # Before CUDA is in use the second call may raise, or set it up on a device that nobody uses.
    captured = torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()
    if captured:
        _say()
    return captured


@cache
def _say() -> None:
    notice("a CUDA graph is captured: icshift sees neither the capture nor the replays, which call no hooks")
