"""Which activations are taken: a stratified draw for quantiles and, of a probe, the same ones in every window."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from icshift.distribution import PAIRED


class Sampler:
    """Draws up to `samples` places a forward (infinite: all), one from each of as many equal stretches of them.

    The draw comes from a generator of its own, never from torch's. Between two calls of `renew` all sites with
    equally many places get the same ones, so their samples come from the same examples.
    """

    def __init__(self, samples: float, random: np.random.Generator) -> None:
        self.samples = samples
        self._random = random
        self._offsets: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None
        self._places: dict[tuple[int, int, torch.device], tuple[Tensor, Tensor]] = {}

    def renew(self) -> None:
        """Draw anew from the next call on."""
        self._offsets = None
        self._places.clear()

    def rows(self, activations: Tensor) -> Tensor:
        """Sampled values [n, units] of activations [rows, units] or [rows, units, positions]: all if they are few."""
        if activations.ndim == 2:
            if activations.shape[0] <= self.samples:
                return activations
            return activations.index_select(0, self._drawn(activations.shape[0], 1, activations.device)[0])
        count, _, positions = activations.shape
        if count * positions <= self.samples:
            return activations.transpose(1, 2).flatten(0, 1)
        rows, within = self._drawn(count, positions, activations.device)
        return activations[rows, :, within]

    def _drawn(self, count: int, positions: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Rows and positions within them."""
        key = count, positions, device
        places = self._places.get(key)
        if places is None:
            if self._offsets is None:
                stretches = int(self.samples)
                self._offsets = np.arange(stretches) + self._random.random(stretches)
            total = count * positions
            drawn = np.minimum((self._offsets * (total / self.samples)).astype(np.int64), total - 1)
            rows, within = (torch.from_numpy(part).to(device, non_blocking=True) for part in divmod(drawn, positions))
            places = self._places[key] = rows, within
        return places


class Pairs:
    """Draws `PAIRED` places of a probe's `forwards`, an equal share of each, the same for every site that has them.

    Where forwards have too few places for their share, fewer are drawn. The same places come in every phase and window,
    since all there is to tell them from is the number of the forward: `next_forward` counts it, `restart` begins anew.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._samplers: dict[int, Sampler] = {}
        self._phase = ""
        self.restart(0)

    def restart(self, forwards: int) -> None:
        """Begin a probe of so many forwards; of none, nothing is drawn."""
        self._forwards = forwards
        self._forward = 0

    def next_forward(self) -> None:
        """What comes now is of the next forward."""
        self._forward += 1

    def rows(self, activations: Tensor, phase: str) -> Tensor | None:
        """This forward's share [n, units] of activations [rows, units] or [rows, units, positions]; None for none."""
        if phase != self._phase:
            self._phase, self._forward = phase, 0
        if self._forward >= self._forwards:
            return None
        share = PAIRED * (self._forward + 1) // self._forwards - PAIRED * self._forward // self._forwards
        if not share:
            return None
        if share not in self._samplers:
            self._samplers[share] = Sampler(share, np.random.default_rng([self._seed, share]))
        return self._samplers[share].rows(activations)
