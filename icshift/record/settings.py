"""What a recording is asked for, as its manifest has it."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from icshift.errors import ONE_PROCESS, RecordingError
from icshift.given import share, whole
from icshift.hooks.batch_norm import probe_statistics
from icshift.hooks.observer import SEED
from icshift.model.processes import refuse_waiting
from icshift.model.sites import Sites
from icshift.record.probe import Probe
from icshift.record.windows import AUTO
from icshift.runs.format import OVERHEAD, PROBE_FINGERPRINT
from icshift.runs.phases import PROBE_STATISTICS


def as_samples(given: Any) -> int | Literal["all"]:
    """Returns how many values a unit and step quantiles are made from. Raises `RecordingError` for what is no number.

    >>> as_samples(64), as_samples("all")
    (64, 'all')
    """
    samples: int | Literal["all"] = whole("samples", given, 2, words=("all",))
    return samples


def as_window(given: Any) -> int | Literal["auto"] | None:
    """Returns how many steps a window has. Raises `RecordingError` for what is no number.

    >>> as_window(200), as_window("auto"), as_window(None)
    (200, 'auto', None)
    """
    window: int | Literal["auto"] | None = whole("window", given, 1, words=(AUTO, None))
    return window


def budget(overhead: Any, ranks: int) -> float | None:
    """Returns the share of the training's time that recording may take; None where every step is recorded.

    Raises `RecordingError` for what is no share, and in a training of several processes.

    >>> budget(0.03, ranks=1), budget(None, ranks=2)
    (0.03, None)
    """
    if overhead is None:
        return None
    asked = share("overhead", overhead)
    if ranks > 1:
        raise RecordingError(ONE_PROCESS.format(ranks))
    return asked


def as_probe(given: Any, model: nn.Module, ranks: int) -> Probe | None:
    """Returns the probe that a recorder is given.

    Raises `RecordingError` where it cannot be used, before the training starts.
    """
    probe = given if given is None or isinstance(given, Probe) else Probe(given)
    if probe is not None:
        probe.size  # noqa: B018  (raises early)
        if ranks > 1:
            refuse_waiting(model, training=probe.train_mode)
    return probe


def asked_for(
    model: nn.Module,
    samples: int | str,
    window: int | str | None,
    sites: Sites,
    probe: Probe | None,
    overhead: float | None,
) -> dict[str, Any]:
    """Returns the manifest's `settings`: docs/format.md has their meaning."""
    return {
        "samples": samples,
        "window_steps": None if window == AUTO else window,
        "max_units": sites.max_units,
        "max_total_units": sites.max_total_units,
        "max_step_units": sites.max_step_units,
        "probe_examples": 0 if probe is None else probe.size,
        PROBE_FINGERPRINT: None if probe is None else probe.fingerprint,
        PROBE_STATISTICS: probe_statistics(model),
        "seed": SEED,
        **({} if overhead is None else {OVERHEAD: overhead}),
    }
