"""Measure internal covariate shift: the drift of every hidden unit's activation distribution while a model trains.

::

    with icshift.Recorder(model, "runs/a", optimizer=optimizer) as recorder:
        ...
    icshift.open("runs/a").drift()

Everything is imported when first used: reading a run never loads torch.
"""

from typing import TYPE_CHECKING, Any

from icshift._version import __version__
from icshift.errors import IcshiftError, MeasurementError, ModelError, RecordingError, RunError, SelectionError

if TYPE_CHECKING:
    from icshift.api import Run, Runs, compare, drift, open, open_all
    from icshift.gradients.batch_norm_noise import BatchNormNoise
    from icshift.gradients.gradient_shift import Step, gradient_shift
    from icshift.gradients.hessian import hessian
    from icshift.gradients.objective import Objective
    from icshift.gradients.slices import loss_slice, random_directions
    from icshift.gradients.smoothness import smoothness
    from icshift.model.sites import Sites
    from icshift.record.probe import Probe
    from icshift.record.recorder import Recorder
    from icshift.replay.batch_norm import adapt_batch_norm, precise_statistics

__all__ = [
    "BatchNormNoise",
    "IcshiftError",
    "MeasurementError",
    "ModelError",
    "Objective",
    "Probe",
    "Recorder",
    "RecordingError",
    "Run",
    "RunError",
    "Runs",
    "SelectionError",
    "Sites",
    "Step",
    "__version__",
    "adapt_batch_norm",
    "compare",
    "drift",
    "gradient_shift",
    "hessian",
    "loss_slice",
    "open",
    "open_all",
    "precise_statistics",
    "random_directions",
    "smoothness",
]

_HOMES = {
    "Run": "icshift.api",
    "compare": "icshift.api",
    "drift": "icshift.api",
    "open": "icshift.api",
    "open_all": "icshift.api",
    "Runs": "icshift.api",
    "adapt_batch_norm": "icshift.replay.batch_norm",
    "precise_statistics": "icshift.replay.batch_norm",
    "Probe": "icshift.record.probe",
    "Recorder": "icshift.record.recorder",
    "Sites": "icshift.model.sites",
    "BatchNormNoise": "icshift.gradients.batch_norm_noise",
    "Step": "icshift.gradients.gradient_shift",
    "gradient_shift": "icshift.gradients.gradient_shift",
    "hessian": "icshift.gradients.hessian",
    "Objective": "icshift.gradients.objective",
    "loss_slice": "icshift.gradients.slices",
    "random_directions": "icshift.gradients.slices",
    "smoothness": "icshift.gradients.smoothness",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'icshift' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext icshift` calls in a notebook: everything is recorded that it trains from then on."""
    from icshift.launch.notebook import start

    start(shell)


def unload_ipython_extension(_: Any) -> None:
    """What `%unload_ext icshift` calls: the recording ends."""
    from icshift.launch.notebook import stop

    stop()


def __dir__() -> list[str]:
    return __all__
