"""What a recording is asked for, as its manifest has it."""

from __future__ import annotations

from typing import Any

from torch import nn

from icshift.errors import RecordingError
from icshift.hooks.batch_norm import probe_statistics
from icshift.hooks.observer import SEED
from icshift.model.sites import Sites
from icshift.record.probe import Probe
from icshift.record.windows import AUTO
from icshift.runs.format import PROBE_FINGERPRINT
from icshift.runs.phases import PROBE_STATISTICS


def refuse_settings(samples: Any, window: Any) -> None:
    """Raises `RecordingError` unless so many values a unit and step, and so many steps a window, can be recorded.

    >>> refuse_settings(samples="all", window=None)
    """
    if samples != "all" and (not isinstance(samples, int) or samples < 2):
        raise RecordingError(f'samples must be "all" or at least 2 values a unit and step, got {samples!r}')
    if window not in (None, AUTO) and (not isinstance(window, int) or window < 1):
        raise RecordingError(f'window must be at least 1 step, or "auto", got {window!r}')


def asked_for(
    model: nn.Module, samples: int | str, window: int | str | None, sites: Sites, probe: Probe | None
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
    }
