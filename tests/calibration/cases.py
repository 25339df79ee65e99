"""The cases of a frozen network: a stream, the steps of two windows, and the examples a step of each."""

from dataclasses import dataclass

from tests.calibration import streams
from tests.calibration.networks import network
from tests.calibration.trials import judged, random_of


@dataclass(frozen=True)
class Case:
    """What two windows of a frozen network are shown."""

    name: str
    stream: object
    steps: tuple[int, int] = (32, 32)
    examples: tuple[int, int] = (16, 16)

    def windows(self, kind, trial):
        return self.stream(random_of(f"{self.name}, {kind}", trial), self.steps, self.examples)

    def trial(self, kind, trial):
        """What is said of a network of this kind, other weights and data in every trial."""
        return judged(network(kind, trial), self.windows(kind, trial))


FROZEN = (
    Case("fresh", streams.fresh),
    Case("fresh, 17 steps", streams.fresh, (17, 17)),
    Case("topics of sequences", streams.topics),
    Case("same examples reshuffled", streams.reshuffled),
    Case("two sources in turns", streams.in_turns),
    Case("two sources in turns, 17 steps", streams.in_turns, (17, 17)),
    Case("sorted by class, same order", streams.sorted_by_class),
    Case("sorted by class, shuffled within", streams.shuffled_within_class),
    Case("sorted by class, fresh", streams.fresh_sorted),
    Case("batches of 1", streams.fresh, (64, 64), (1, 1)),
    Case("40 steps against 12", streams.fresh, (40, 12)),
    Case("100 steps of 4 against 12", streams.fresh, (100, 12), (4, 4)),
    Case("batches of 4 against 32", streams.fresh, examples=(4, 32)),
)
"""Steps that do not depend on each other, or alike in both windows: what is said of them must be right."""

DEPENDENT = (
    Case("AR(1) 0.9, 64 steps", streams.autoregressive, (64, 64)),
    Case("AR(1) 0.9, 32 steps", streams.autoregressive),
    Case("sorted by class, out of step", streams.sorted_out_of_step),
)
"""Steps that depend on each other: what is said of them must be right, or that it cannot be told."""

HOPELESS = (Case("AR(1) 0.9, 16 steps", streams.autoregressive, (16, 16)),)
"""Windows too short to see that their steps depend on each other: measured, and no promise."""
