"""What a recording is asked for, as its manifest has it."""

from __future__ import annotations

from typing import Any

from torch import nn

from icshift.errors import ONE_PROCESS, RecordingError
from icshift.hooks.batch_norm import probe_statistics
from icshift.hooks.observer import SEED
from icshift.model.processes import refuse_waiting
from icshift.model.sites import Sites
from icshift.record.probe import Probe
from icshift.record.windows import AUTO
from icshift.runs.format import OVERHEAD, PROBE_FINGERPRINT
from icshift.runs.phases import PROBE_STATISTICS


def refuse_settings(samples: Any, window: Any) -> None:
    """Raises `RecordingError` unless so many values a unit and step, and so many steps a window, can be recorded.

    >>> refuse_settings(samples="all", window=None)
    """
    if samples != "all" and (not isinstance(samples, int) or samples < 2):
        raise RecordingError(f'samples must be "all" or at least 2 values a unit and step, got {samples!r}')
    if window not in (None, AUTO) and (not isinstance(window, int) or window < 1):
        raise RecordingError(f'window must be at least 1 step, or "auto", got {window!r}')


def budget(overhead: Any, ranks: int) -> float | None:
    """Returns the share of the training's time that recording may take; None where every step is recorded.

    Raises `RecordingError` for what is no share, and in a training of several processes.

    >>> budget(0.03, ranks=1), budget(None, ranks=2)
    (0.03, None)
    """
    if overhead is None:
        return None
    if isinstance(overhead, bool) or not isinstance(overhead, (int, float)) or not 0 < overhead < 1:
        raise RecordingError(f"overhead must be a share above 0 and below 1, as 0.03 for 3 %, got {overhead!r}")
    if ranks > 1:
        raise RecordingError(ONE_PROCESS.format(ranks))
    return float(overhead)


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
