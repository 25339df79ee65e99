"""Reading runs from Python: where the stored run and its analysis meet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from icshift.runs.reader import Run as StoredRun

if TYPE_CHECKING:
    import pandas as pd


class Run(StoredRun):
    """A recorded run: `windows()` and `steps()` as recorded, `drift()`, `report()` and `paths()` computed from them."""

    def drift(
        self,
        metric: str | Sequence[str] = "w1_sd",
        *,
        reference: str | int = "previous",
        phase: str | None = None,
        sites: str | Iterable[str] | None = None,
    ) -> pd.DataFrame:
        """A row a unit, window and metric; see `icshift.analysis.drift.drift` for columns, references and errors."""
        from icshift.analysis.drift import drift

        metrics = (metric,) if isinstance(metric, str) else tuple(metric)
        return drift(self, metrics=metrics, reference=reference, phase=phase, sites=_globs(sites))

    def report(
        self,
        metric: str = "w1_sd",
        *,
        reference: str | int = "previous",
        phase: str | None = None,
        sites: str | Iterable[str] | None = None,
    ) -> pd.DataFrame:
        """A row a site: what `icshift report` shows; see `icshift.analysis.by_site.summary`."""
        from icshift.analysis.by_site import summary

        return summary(self, metric_name=metric, reference=reference, phase=phase, sites=_globs(sites))

    def paths(
        self, metric: str = "w1_sd", *, phase: str | None = None, sites: str | Iterable[str] | None = None
    ) -> pd.DataFrame:
        """A row a site: path length against displacement, as `icshift path`; see `icshift.analysis.trajectory.path`."""
        from icshift.analysis.trajectory import path

        return path(self, metric_name=metric, phase=phase, sites=_globs(sites))


def open(path: str | Path) -> Run:
    """Open a run for reading. Raises `RunError` where there is none; see `icshift.runs.reader.Run`."""
    return Run(path)


def _globs(sites: str | Iterable[str] | None) -> list[str] | None:
    if sites is None:
        return None
    return [sites] if isinstance(sites, str) else list(sites)
