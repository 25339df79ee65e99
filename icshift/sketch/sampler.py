"""Which activations are taken: a stratified draw for quantiles and, of a probe, the same examples in every window.

A place is a row of a site's activations [rows, units] or, where it has positions [rows, units, positions], one position
of a row. Whatever place is taken, all units are taken there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from icshift.distribution import EXAMPLES, Ints


class Sampler:
    """Draws up to `samples` places a forward (infinite: all), one from each of as many equal stretches of them.

    The draw comes from a generator of its own, never from torch's. Between two calls of `renew` all sites with
    equally many places get the same ones, so their samples come from the same examples.
    """

    def __init__(self, samples: float, random: np.random.Generator) -> None:
        self.samples = samples
        self._random = random
        self.drew = False
        """Whether anything was drawn since `renew`."""
        self._offsets: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None
        self._drawn: dict[int, Ints] = {}
        self._places: dict[tuple[object, ...], tuple[Tensor, Tensor]] = {}

    @property
    def state(self) -> dict[str, Any]:
        """What the draws to come follow from, as data; it may be set."""
        return dict(self._random.bit_generator.state)

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._random.bit_generator.state = state
        self.renew()

    def renew(self) -> None:
        """Makes the next call draw anew."""
        if self.drew:
            self.drew, self._offsets = False, None
            self._drawn.clear()
            self._places.clear()

    def rows(self, activations: Tensor) -> Tensor:
        """Returns sampled values [n, units] of activations [rows, units(, positions)]: all where they are few."""
        if activations.ndim == 2:
            if activations.shape[0] <= self.samples:
                return activations
            return activations.index_select(0, self._parts(activations.shape[0], 1, activations.device)[0])
        count, _, positions = activations.shape
        if count * positions <= self.samples:
            return activations.transpose(1, 2).flatten(0, 1)
        rows, within = self._parts(count, positions, activations.device)
        return activations[rows, :, within]

    def places(self, total: int) -> Ints:
        """Returns the drawn ones of so many places, more than `samples`, in rising order."""
        drawn = self._drawn.get(total)
        if drawn is None:
            if self._offsets is None:
                self.drew = True
                stretches = int(self.samples)
                self._offsets = np.arange(stretches) + self._random.random(stretches)
            drawn = np.minimum((self._offsets * (total / self.samples)).astype(np.int64), total - 1)
            self._drawn[total] = drawn
        return drawn

    def _parts(self, count: int, positions: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Returns the drawn places: rows, and positions within them."""
        key = count, positions, device, stream_of(device)
        places = self._places.get(key)
        if places is None:
            parts = divmod(self.places(count * positions), positions)
            rows, within = (torch.from_numpy(part).to(device, non_blocking=True) for part in parts)
            places = self._places[key] = rows, within
        return places


def stream_of(device: torch.device) -> object:
    """What tells the streams of a CUDA device apart; None on other devices.

    What one stream copies to the device may not be there yet when another reads it: each has a copy of its own.
    """
    return torch.cuda.current_stream(device) if device.type == "cuda" else None


class ExampleSampler:
    """Draws the places of a probe whose activations are kept one by one, to be compared across windows.

    A probe is replayed in `forwards` of equal size. Each gives an equal share of `EXAMPLES` places, fewer where it has
    not so many. The draw depends on nothing but the seed, the share and the shape of the activations, so that every
    window, phase and site of that shape gives the same places. `restart` begins a probe, `next_forward` counts.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._samplers: dict[int, Sampler] = {}
        self._phase = ""
        self.restart(0)

    def restart(self, forwards: int) -> None:
        """Begins a probe of so many forwards; where there are none, nothing is drawn."""
        self._forwards = forwards
        self._forward = 0

    def next_forward(self) -> None:
        """Ends a forward: what comes now is of the next one."""
        self._forward += 1

    def rows(self, activations: Tensor, phase: str) -> Tensor | None:
        """Returns this forward's share [n, units] of activations [rows, units] or [rows, units, positions], or None.

        A phase that differs from that of the call before begins with the first forward again.
        """
        if phase != self._phase:
            self._phase, self._forward = phase, 0
        if self._forward >= self._forwards:
            return None
        share = EXAMPLES * (self._forward + 1) // self._forwards - EXAMPLES * self._forward // self._forwards
        if not share:
            return None
        if share not in self._samplers:
            self._samplers[share] = Sampler(share, np.random.default_rng([self._seed, share]))
        return self._samplers[share].rows(activations)
