"""Padding that a model is told of by an argument, while the recording has no mask: it is counted, and that is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from icshift.hooks.arguments import named
from icshift.hooks.examples import Inputs, refuse_strange
from icshift.model.torch_private import is_seen, no_subclass_sees, unseen

_HIDING = {
    "attention_mask": False,
    "key_padding_mask": True,
    "src_key_padding_mask": True,
    "tgt_key_padding_mask": True,
    "padding_mask": True,
}
"""Arguments [batch, time] of many models, with the value that hides a position: 0 in those of Hugging Face's."""


class Unmasked:
    """Counts the positions that such an argument hides, over all forwards of a model.

    >>> unmasked = Unmasked(nn.Identity())
    >>> unmasked.note(((), {"attention_mask": torch.tensor([[1, 1, 0], [1, 0, 0]])}))
    >>> unmasked.found()
    {'attention_mask': {'hidden': 3, 'positions': 6, 'hiding': False}}
    """

    def __init__(self, model: nn.Module) -> None:
        self._named = named(model)
        self.first_hides = any(name in _HIDING for name in self._named((None,), {}))
        """Whether the first argument is one that hides positions."""
        self._hidden: dict[tuple[str, torch.device], Any] = {}
        self._positions: dict[str, int] = {}

    def note(self, inputs: Inputs) -> None:
        """Look at the arguments of a forward, without waiting for a device. Never raises."""
        try:
            for name, mask in _masks(self._named(*inputs)):
                with unseen() if is_seen() else no_subclass_sees():
                    refuse_strange([(name, mask)], mask.device)
                    hides = mask.detach().bool() == _HIDING[name]
                    place = name, mask.device
                    # Not in place: what was made in inference mode may not be changed outside of it.
                    self._hidden[place] = self._hidden.get(place, 0) + hides.sum()
                self._positions[name] = self._positions.get(name, 0) + mask.numel()
        except Exception:  # noqa: BLE001  It must not reach the training; what cannot be read is not told.
            return

    def found(self) -> dict[str, dict[str, Any]]:
        """Returns how many positions each argument hid, of how many; those that hid none are left out. It waits for
        the device."""
        hidden: dict[str, int] = {}
        for (name, _), count in self._hidden.items():
            hidden[name] = hidden.get(name, 0) + int(count)
        return {
            name: {"hidden": count, "positions": self._positions[name], "hiding": _HIDING[name]}
            for name, count in hidden.items()
            if count
        }


def joined(found: Iterable[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Returns what was found in several parts of a recording, as it would have been in one.

    >>> once = {"attention_mask": {"hidden": 3, "positions": 6, "hiding": False}}
    >>> joined([once, {}, once])
    {'attention_mask': {'hidden': 6, 'positions': 12, 'hiding': False}}
    """
    whole: dict[str, dict[str, Any]] = {}
    for part in found:
        for name, seen in part.items():
            before = whole.get(name, {"hidden": 0, "positions": 0})
            whole[name] = seen | {key: before[key] + seen[key] for key in ("hidden", "positions")}
    return whole


def _masks(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Yields the arguments that hide positions; a batch that is given as a dictionary is looked into."""
    for name, value in arguments.items():
        if isinstance(value, Mapping):
            yield from ((str(key), one) for key, one in value.items() if _is_mask(key, one))
        elif _is_mask(name, value):
            yield name, value


def _is_mask(name: Any, value: Any) -> bool:
    # A float mask is added to scores: 0 hides nothing there.
    return name in _HIDING and isinstance(value, Tensor) and value.ndim == 2 and not value.is_floating_point()
