"""Measurements with gradients in a live training: the shift that a step causes, and smoothness before the step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn
from torch.optim.optimizer import Optimizer

from icshift.errors import MeasurementError, RecordingError
from icshift.gradients.gradient_shift import Step
from icshift.gradients.layers import Counted
from icshift.gradients.objective import Closure, Objective
from icshift.gradients.smoothness import smoothness
from icshift.model.keras_layers import is_layer
from icshift.notice import notice
from icshift.runs.format import GRADIENT_SHIFT, SMOOTHNESS

Rows = list[dict[str, Any]]


@dataclass
class _Waiting:
    """A measurement that began before step `number` and waits for it; `rows` are its results once it was taken."""

    number: int
    step: Step
    rows: Rows | None = None


class Gradients:
    """Measures with a model's closures, at most once a step, and calls `keep(kind, rows)` with the results.

    A kind is `GRADIENT_SHIFT` or `SMOOTHNESS`. `optimizers` are those whose learning rate smoothness takes. Until a
    kind was measured once, its errors are raised; after that it is given up with a notice, for the training goes on.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[Optimizer] | None,
        keep: Callable[[str, Rows], None],
    ) -> None:
        self.settings: dict[str, dict[str, Any]] = {}
        """How each kind was measured, for the manifest."""
        self._model = model
        self._optimizers = optimizers
        self._keep = keep
        self._waiting: _Waiting | None = None
        self._given_up: set[str] = set()
        self._last: dict[str, int] = {}

    @property
    def waits(self) -> bool:
        """Whether a measurement waits for steps."""
        return self._waiting is not None

    def before_step(
        self, number: int, closure: Closure, layers: str | Iterable[str] | None, counted: Counted, every: int
    ) -> None:
        """Take the gradients before step `number`, after `settle`; `stepped` measures what the step changed."""

        def take() -> None:
            step = Step(Objective(self._model, closure), layers=_listed(layers), counted=counted)
            self._waiting = _Waiting(number, step)
            self.settings[GRADIENT_SHIFT] = {"every": every, "counted": counted, "layers": list(step.layers)}

        self._measure(GRADIENT_SHIFT, number, take)

    def stepped(self, *, after_forward: bool) -> None:
        """Measure what the step changed; to be called after every optimizer's step.

        Several optimizers may share one training step: the last measurement is of all that they changed.
        `after_forward` says that a forward came before this one, so that it is another training step.
        """
        waiting = self._waiting
        if waiting is None:
            return
        if waiting.rows is not None and after_forward:
            self.settle()
            return

        def measure() -> None:
            waiting.rows = [{"step": waiting.number, **asdict(layer)} for layer in waiting.step.measure()]

        self._measure(GRADIENT_SHIFT, waiting.number, measure)

    def settle(self) -> None:
        """Keep the results of the last step, which no optimizer changes any more; forget one that was not taken."""
        if self._waiting is not None and self._waiting.rows is not None:
            self._keep(GRADIENT_SHIFT, self._waiting.rows)
            self._last[GRADIENT_SHIFT] = self._waiting.number
        self._waiting = None

    def look_around(
        self, number: int, closure: Closure, rate: float | None, steps: Sequence[float], every: int
    ) -> None:
        """Measure smoothness at the parameters before step `number`, at `steps` times the learning rate `rate`.

        Without `rate` it is the optimizers'; nothing is measured where that is 0.
        """

        def look() -> None:
            length = _learning_rate(self._optimizers) if rate is None else rate
            if rate is None and not length:
                return  # A step that goes nowhere, as the first one of many warm-ups.
            numbers = asdict(smoothness(Objective(self._model, closure), length, steps=steps))
            del numbers["points"]
            self._keep(SMOOTHNESS, [{"step": number, **numbers}])
            self._last[SMOOTHNESS] = number
            self.settings[SMOOTHNESS] = {"every": every, "steps": [float(step) for step in steps]}

        self._measure(SMOOTHNESS, number, look)

    def _measure(self, kind: str, number: int, act: Callable[[], None]) -> None:
        if kind in self._given_up or self._last.get(kind) == number:
            return
        if is_layer(self._model):
            raise RecordingError("measurements with gradients are for models of PyTorch, and this one is of Keras")
        try:
            act()
        except Exception as error:
            if kind == GRADIENT_SHIFT:
                self._waiting = None
            if kind not in self.settings:
                raise
            self._given_up.add(kind)
            notice(f"icshift stopped measuring the {kind.replace('_', ' ')}: {error}")


def is_due(number: int, every: int, ranks: int) -> bool:
    """Whether step `number` is measured. Raises `RecordingError` in a training of several processes."""
    if ranks > 1:
        raise RecordingError(
            f"measurements with gradients are for trainings of one process, this one has {ranks}: each would measure "
            "its own batch and wait for the others; train a few steps in one process for them"
        )
    return number % every == 0


def _learning_rate(optimizers: Sequence[Optimizer] | None) -> float:
    """Returns the learning rate of all parameter groups. Raises `MeasurementError` where they have none or several."""
    given = [group.get("lr") for optimizer in optimizers or () for group in optimizer.param_groups]
    rates = {float(rate) for rate in given if rate is not None}
    if len(rates) != 1:
        none = "its optimizers have none" if given else "the recorder was given no optimizer"
        known = f"there are several: {', '.join(map(str, sorted(rates)))}" if rates else none
        raise MeasurementError(f"steps along the gradient are multiples of the learning rate, but {known}; give rate=")
    return rates.pop()


def _listed(layers: str | Iterable[str] | None) -> str | list[str] | None:
    return layers if layers is None or isinstance(layers, str) else list(layers)
