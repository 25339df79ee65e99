"""Numbers that the training says of its own steps, as its loss: kept as they come, and read when they are written.

A number on a GPU is copied there and read with all others when the next flush is due: logging it waits for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from icshift.errors import RecordingError
from icshift.model.plain import is_plain
from icshift.notice import notice


class Logged:
    """Rows that wait to be written.

    >>> logged = Logged()
    >>> logged.note({"loss": torch.tensor(0.5), "accuracy": 1}, step=3, window=1)
    >>> logged.taken()
    [{'step': 3, 'window': 1, 'name': 'loss', 'value': 0.5}, {'step': 3, 'window': 1, 'name': 'accuracy', 'value': 1.0}]
    >>> logged.taken()
    []
    """

    def __init__(self) -> None:
        self._rows: list[tuple[int, int | None, str, float | Tensor]] = []
        self._closed = False
        self._reason = ""

    def note(self, values: Mapping[str, Any], step: int, window: int | None) -> None:
        """Keep these numbers, all of them or, where `RecordingError` is raised since one is no number, none.

        `window` is None where windows are provisional: then the step tells in which one it is.
        """
        rows = [(step, window, name, as_number(name, value)) for name, value in values.items()]
        if not self._closed:
            self._rows += rows
        elif self._reason:
            notice(f"icshift keeps no {', '.join(values)}: {self._reason}", stacklevel=4)
            self._reason = ""

    def close(self, reason: str = "") -> None:
        """Keep nothing from now on; the first number that comes says so with this reason, if there is one."""
        self._closed, self._reason = True, reason
        self._rows = []

    def taken(self) -> list[dict[str, Any]]:
        """Returns the rows that wait, which wait no longer. It waits for the devices that numbers are on."""
        rows, self._rows = self._rows, []
        on_devices: dict[torch.device, list[Tensor]] = {}
        for *_, value in rows:
            if isinstance(value, Tensor):
                on_devices.setdefault(value.device, []).append(value)
        read = {device: iter(torch.stack(numbers).tolist()) for device, numbers in on_devices.items()}
        return [
            {
                "step": step,
                "window": window,
                "name": name,
                "value": next(read[value.device]) if isinstance(value, Tensor) else value,
            }
            for step, window, name, value in rows
        ]


def as_number(name: str, value: Any) -> float | Tensor:
    """Returns a number as a float, or as a copy on the device that it is on. Raises `RecordingError` for anything else.

    >>> as_number("loss", torch.ones(3))
    Traceback (most recent call last):
    icshift.errors.RecordingError: log(loss=…) takes a number or a tensor of one, got a tensor of float32 [3]
    """
    if isinstance(value, Tensor):
        if value.numel() == 1 and is_plain(value) and not value.is_complex():
            # A copy, since a sum that is kept over an epoch is changed where it lies.
            return float(value.detach().item()) if value.device.type == "cpu" else _copy(value)
        where = "" if is_plain(value) else f" ({type(value).__name__} on {value.device})"
        found = f"a tensor of {str(value.dtype).removeprefix('torch.')} {list(value.shape)}{where}"
    elif isinstance(value, Real):
        return float(value)
    elif getattr(value, "shape", None) == () and isinstance(getattr(value, "item", lambda: None)(), Real):
        return float(value.item())
    else:
        shown = repr(value)
        found = f"{type(value).__name__} {shown if len(shown) <= 40 else f'{shown[:40]}…'}"
    raise RecordingError(f"log({name}=…) takes a number or a tensor of one, got {found}")


def is_number(value: Any) -> bool:
    """Returns whether `as_number` takes a value."""
    try:
        as_number("", value)
    except RecordingError:
        return False
    return True


def _copy(value: Tensor) -> Tensor:
    # There are no doubles on every device.
    return value.detach().reshape(()).to(torch.float32 if value.device.type == "mps" else torch.float64, copy=True)
