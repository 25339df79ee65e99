"""What recording a script costs, as a whole: once, and while it trains."""

from __future__ import annotations

from dataclasses import dataclass

from icshift.hooks.stopwatch import Stopwatch


@dataclass(frozen=True)
class Spent:
    """Seconds that recording took: `once`, however long the training is, and in its `training`.

    `whole` says whether that is all: what hooks cost beside the time that passes within them may not be known.
    """

    once: float
    training: float
    whole: bool


class Costs:
    """Adds up what a launcher takes and what its recorders do, also those that it let go of.

    >>> costs, recorder = Costs(), Stopwatch()
    >>> costs.recorders.append(recorder)
    >>> recorder.seconds, costs.steps.seconds = 3.0, 0.5
    >>> costs.training_ends()
    >>> recorder.seconds, recorder.beside = 4.0, 0.0  # A second to close it.
    >>> costs.once.seconds += 2.0
    >>> costs.spent
    Spent(once=3.0, training=3.5, whole=True)
    """

    def __init__(self) -> None:
        self.once = Stopwatch()
        """Within its blocks models are looked for, and recorders are made and closed; the start is added to it."""
        self.steps = Stopwatch()
        """Within its blocks steps are counted, and passes over the data are followed."""
        self.recorders: list[Stopwatch] = []
        """Those of all recorders."""
        self._trained: float | None = None

    def training_ends(self) -> None:
        """What recorders take from now on they take once."""
        self._trained = self._within()
        self.steps.stop()

    @property
    def spent(self) -> Spent:
        """What all took so far."""
        closing = 0.0 if self._trained is None else self._within() - self._trained
        recorded = sum(watch.whole for watch in self.recorders)
        return Spent(
            once=self.once.whole + closing,
            training=self.steps.whole + recorded - closing,
            whole=all(watch.beside is not None for watch in self.recorders),
        )

    def _within(self) -> float:
        return sum(watch.seconds for watch in self.recorders)
