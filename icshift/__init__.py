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
    from icshift.api import Run, open
    from icshift.capture.precise import adapt_batch_norm, precise_statistics
    from icshift.capture.probe import Probe
    from icshift.capture.recorder import Recorder
    from icshift.capture.sites import Sites
    from icshift.training.batch_norm_noise import BatchNormNoise
    from icshift.training.gradient_shift import Step, gradient_shift
    from icshift.training.hessian import hessian
    from icshift.training.landscape import landscape
    from icshift.training.objective import Objective
    from icshift.training.slices import loss_slice, random_directions

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
    "SelectionError",
    "Sites",
    "Step",
    "__version__",
    "adapt_batch_norm",
    "gradient_shift",
    "hessian",
    "landscape",
    "loss_slice",
    "open",
    "precise_statistics",
    "random_directions",
]

_HOMES = {
    "Run": "icshift.api",
    "open": "icshift.api",
    "adapt_batch_norm": "icshift.capture.precise",
    "precise_statistics": "icshift.capture.precise",
    "Probe": "icshift.capture.probe",
    "Recorder": "icshift.capture.recorder",
    "Sites": "icshift.capture.sites",
    "BatchNormNoise": "icshift.training.batch_norm_noise",
    "Step": "icshift.training.gradient_shift",
    "gradient_shift": "icshift.training.gradient_shift",
    "hessian": "icshift.training.hessian",
    "landscape": "icshift.training.landscape",
    "Objective": "icshift.training.objective",
    "loss_slice": "icshift.training.slices",
    "random_directions": "icshift.training.slices",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'icshift' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
