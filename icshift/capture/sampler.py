"""Which activations the quantiles are made from: a stratified draw, the same for all units of a site."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Sampler:
    """Draws up to `samples` places a forward (infinite: all), one from each of as many equal stretches of them.

    The draw comes from a generator of its own, never from torch's. Between two calls of `renew` all sites with
    equally many places get the same ones, so their samples come from the same examples.
    """

    def __init__(self, samples: float, random: np.random.Generator) -> None:
        self.samples = samples
        self._random = random
        self._offsets: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None
        self._places: dict[tuple[int, torch.device], Tensor] = {}

    def renew(self) -> None:
        """Draw anew from the next call on."""
        self._offsets = None
        self._places.clear()

    def rows(self, activations: Tensor) -> Tensor:
        """Sampled values [n, units] of activations [rows, units] or [rows, units, positions]: all if they are few."""
        if activations.ndim == 2:
            count = activations.shape[0]
            return (
                activations if count <= self.samples else activations.index_select(0, self._drawn(count, activations))
            )
        count, _, positions = activations.shape
        if count * positions <= self.samples:
            return activations.transpose(1, 2).flatten(0, 1)
        places = self._drawn(count * positions, activations)
        return activations[places // positions, :, places % positions]

    def _drawn(self, total: int, activations: Tensor) -> Tensor:
        device = activations.device
        places = self._places.get((total, device))
        if places is None:
            if self._offsets is None:
                stretches = int(self.samples)
                self._offsets = np.arange(stretches) + self._random.random(stretches)
            drawn = (self._offsets * (total / self.samples)).astype(np.int64)
            places = torch.from_numpy(np.minimum(drawn, total - 1)).to(device, non_blocking=True)
            self._places[total, device] = places
        return places
