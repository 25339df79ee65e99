"""What a recorder measures with gradients where a training asks for it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from icshift.errors import RecordingError
from icshift.given import whole
from icshift.gradients.layers import Counted
from icshift.gradients.objective import Closure
from icshift.gradients.smoothness import STEPS
from icshift.hooks.watcher import Watcher
from icshift.record.gradients import Gradients, is_due


class Measuring(ABC):
    """The part of a recorder that measures with gradients; which step it is and what listens, the recorder knows."""

    _resources: ExitStack | None
    _watcher: Watcher
    _gradients: Gradients
    _ranks: int
    _process: int

    @abstractmethod
    def _nothing_passes(self) -> None:
        """The step to come is not as those before it."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """How many steps have ended."""

    def gradient_shift(
        self,
        closure: Closure,
        *,
        every: int = 1,
        layers: str | Iterable[str] | None = None,
        counted: Counted = "all",
    ) -> None:
        """Measure how much the step to come changes the gradient of each layer by changing those before it.

        This is the internal covariate shift of Santurkar et al. (2018), Definition 2.1. To be called before every
        optimizer's step; `closure` computes the loss of this batch, also when the loop went on (`lambda x=x: ...`), and
        is called, every `every` steps, once a layer and once more. The step is the optimizer's own. `layers` are names
        or globs of modules that own parameters; of these "weights" counts those of two and more dimensions, "all" also
        biases and what scales a normalisation. Read it with `icshift.open(path).gradient_shift()`.

        Raises `RecordingError` before the `with` block or with several processes, `SelectionError` for layers that are
        not there, `MeasurementError` where the closure gives no loss.
        """
        every = whole("every", every, 1)
        with self._measuring(every) as due:
            self._gradients.settle()
            if due:
                self._gradients.before_step(self.steps, closure, layers, counted, every)

    def smoothness(
        self, closure: Closure, *, every: int = 1, rate: float | None = None, steps: Sequence[float] = STEPS
    ) -> None:
        """Measure the loss and its gradient along the gradient, at `steps` times the learning rate `rate`.

        To be called as `gradient_shift` is; `closure` is called once a length of step and twice more. By default the
        rate is the optimizers', and nothing is measured where it is 0. Read it with `icshift.open(path).smoothness()`.
        """
        every = whole("every", every, 1)
        with self._measuring(every) as due:
            if due:
                self._gradients.look_around(self.steps, closure, rate, steps, every)

    @contextmanager
    def _measuring(self, every: int) -> Iterator[bool]:
        if self._resources is None:
            raise RecordingError("gradients are measured while recording: call this within the recorder's with block")
        self._nothing_passes()  # The step to come is measured.
        with self._watcher.guard, self._watcher.stopwatch:
            listening = self._watcher.attachment.attached and os.getpid() == self._process
            yield is_due(self.steps, every, self._ranks) and listening
