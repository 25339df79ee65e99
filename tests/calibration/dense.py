"""Layers of 40 units that read the same ten numbers, of which some are shifted in the second window."""

from dataclasses import dataclass

import numpy as np

from icshift.noise.movement import movement
from tests.calibration.trials import as_blocks, random_of

UNITS, INPUTS = 40, 10


@dataclass(frozen=True)
class Shift:
    """So many sites, of which the first `shifted` are: the first `units` of each by `by` standard deviations."""

    name: str
    by: float
    units: int = UNITS
    sites: int = 1
    shifted: int = 1
    steps: int = 32
    in_turns: bool = False

    def trial(self, trial):
        """Shares of the shifted sites and units that were found, and of the units found that were not shifted."""
        random = random_of(self.name, trial)
        inputs = random.normal(size=(2, self.steps, 32, INPUTS))
        if self.in_turns:
            inputs += np.resize([1.0, -1.0], 2 * self.steps).reshape(2, self.steps, 1, 1)
        windows = {str(site): self._layer(random, inputs, site < self.shifted) for site in range(self.sites)}
        return self._found(movement(windows))

    def _layer(self, random, inputs, shifted):
        before, after = np.tanh(inputs @ random.normal(size=(INPUTS, UNITS)) / np.sqrt(INPUTS))
        if shifted:
            after[..., : self.units] += self.by * before[..., : self.units].std((0, 1))
        return as_blocks(before, self.steps), as_blocks(after, self.steps)

    def _found(self, result):
        names = [str(site) for site in range(self.shifted)]
        true = np.arange(UNITS) < self.units
        called = np.array([result.moved.get(name, np.zeros(UNITS, bool)) for name in names])
        wrong = sum(units.sum() for name, units in result.moved.items() if name not in names) + called[:, ~true].sum()
        total = sum(units.sum() for units in result.moved.values())
        return (
            np.mean([name in result.called for name in names]),
            called[:, true].mean(),
            wrong / max(total, 1),
        )


SHIFTS = (
    Shift("5 of 40 units by 0.3 sd", 0.3, units=5),
    Shift("all 40 units by 0.1 sd", 0.1),
    Shift("all by 0.2 sd, two sources in turns", 0.2, in_turns=True),
    Shift("all by 0.2 sd, two sources in turns, 17 steps", 0.2, in_turns=True, steps=17),
    Shift("3 of 12 sites by 0.1 sd, 16 steps", 0.1, sites=12, shifted=3, steps=16),
    Shift("3 of 12 sites by 0.2 sd, 6 steps", 0.2, sites=12, shifted=3, steps=6),
)
