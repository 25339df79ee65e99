"""Reading runs from Python: a run on disk, and groups of them, with what is computed from these as data frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from icshift.runs.found import runs_below
from icshift.runs.reader import StoredRun

if TYPE_CHECKING:
    import pandas as pd

    from icshift.arrays.drift import Drifted, MetricName
    from icshift.replicates.compare import RunComparison

_Given: TypeAlias = "str | Path | StoredRun"


class Run(StoredRun):
    """A recorded run: what is stored of it, and `drift()`, `report()` and `paths()`, which are computed from that.

    Every table is a pandas `DataFrame`. `icshift.open` is the usual way to one. A run of one site and two windows, of
    which the second is shifted by half a standard deviation:

    >>> from tempfile import TemporaryDirectory
    >>> from dataclasses import asdict
    >>> import numpy as np
    >>> from icshift.distribution import Sample, from_sample
    >>> from icshift.runs.format import Site, Window
    >>> from icshift.runs.writer import Recording
    >>> values, n = np.array([[-1.0, 1.0]]), np.array([2])
    >>> site = Site("fc", "Linear", axis=1, units=1)
    >>> folder = TemporaryDirectory()
    >>> recording = Recording(Path(folder.name) / "run", {"sites": [asdict(site)]})
    >>> for index, shift in ((1, 0.0), (2, 0.5)):
    ...     window = Window(index, f"epoch {index}", first_step=index, last_step=index, closed=True)
    ...     recording.write_window(window, {("train", site): from_sample(Sample(values + shift, n))})
    >>> recording.finish({})
    >>> run = Run(recording.path)
    >>> run.phases, [window.name for window in run.window_list]
    (['train'], ['epoch 1', 'epoch 2'])
    >>> run.drift()[["site", "unit", "window", "reference", "metric", "value"]]
      site  unit  window reference metric  value
    0   fc     0       2   epoch 1  w1_sd    0.5
    >>> folder.cleanup()
    """

    def drift(
        self,
        metric: str | Sequence[str] = "w1_sd",
        *,
        reference: str | int = "previous",
        phase: str | None = None,
        sites: str | Iterable[str] | None = None,
    ) -> pd.DataFrame:
        """Returns a row a unit, window and metric; see `icshift.analysis.drift.drift` for columns and references."""
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
        """Returns a row a site, as `icshift report` shows it; see `icshift.analysis.by_site.summary`."""
        from icshift.analysis.by_site import summary

        return summary(self, metric_name=metric, reference=reference, phase=phase, sites=_globs(sites))

    def unordered(
        self, other: str | Path, *, phase: str | None = None, sites: str | Iterable[str] | None = None
    ) -> pd.DataFrame:
        """Returns what two runs of unlike ancestry differ by, whatever the order of units.

        See `icshift.analysis.unordered.unordered`.
        """
        from icshift.analysis.unordered import unordered

        return unordered(self, StoredRun(other), phase=phase, sites=_globs(sites))

    def paths(
        self, metric: str = "w1_sd", *, phase: str | None = None, sites: str | Iterable[str] | None = None
    ) -> pd.DataFrame:
        """Returns a row a site, as `icshift path` shows it; see `icshift.analysis.trajectory.trajectory`."""
        from icshift.analysis.trajectory import trajectory

        return trajectory(self, metric_name=metric, phase=phase, sites=_globs(sites))


def open(path: str | Path) -> Run:
    """Opens a run, or the only one in a directory, for reading. Raises `RunError` where there is none."""
    return Run(path)


class Runs(Sequence[Run]):
    """The runs below a directory, in order of their paths: a sequence of `Run`, each opened when it is asked for.

    `icshift.open_all` is the way to one. Tables have a row more of everything for each run, with its path as `run`.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.paths = runs_below(self.folder)

    def __repr__(self) -> str:
        return f"<Runs {self.folder}: {len(self):,} run{'' if len(self) == 1 else 's'}>"

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, place: int) -> Run: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Run]: ...
    def __getitem__(self, place: int | slice) -> Run | Sequence[Run]:
        found = self.paths[place]
        return [Run(path) for path in found] if isinstance(found, list) else Run(found)

    def table(self) -> pd.DataFrame:
        """Returns a row a run: model, windows, state, largest drift; see `icshift.analysis.overview.overview`.

        Of every run the last two windows are read. Runs that cannot be read are in it too, and their `state` says why.
        """
        from icshift.analysis.overview import overview

        return overview(self.paths)

    def tables(self, read: Callable[[Run], pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Yields what a function makes of each run, with its path as column `run`, one after the other.

        At any time one run is in memory: `pd.concat(runs.tables(lambda run: run.report()))` is all of them together.
        """
        for path in self.paths:
            yield read(Run(path)).assign(run=str(path))

    def report(self, metric: str = "w1_sd", *, reference: str | int = "previous") -> pd.DataFrame:
        """Returns a row a run and site, as `Run.report` has it; `site` is text, since runs may be of many models."""
        import pandas as pd

        tables = self.tables(lambda run: run.report(metric, reference=reference).astype({"site": str}))
        return pd.concat(tables, ignore_index=True)


def open_all(folder: str | Path) -> Runs:
    """Opens all runs below a directory for reading, lazily. Raises `RunError` where there is none."""
    return Runs(folder)


def compare(
    a: _Given | Iterable[_Given],
    b: _Given | Iterable[_Given],
    *,
    phases: Sequence[str] | None = None,
    sites: str | Iterable[str] | None = None,
) -> RunComparison:
    """Compares two groups of runs, or two runs, given as such or as paths. Groups of one size are pairs by position.

    See `icshift.replicates.compare.RunComparison` for what comes back, and `compare` there for what is refused.
    """
    from icshift.replicates.compare import compare

    return compare(_runs(a), _runs(b), phases=phases, sites=_globs(sites))


def drift(a: Any, b: Any, *, metric: MetricName = "w1_sd") -> Drifted:
    """Returns how far activations that you dumped yourself drifted: exact Wasserstein-1 of b from the reference a.

    Both are arrays or tensors [rows, units], mappings of these by name, or paths of `.npy`, `.npz` or `.parquet` files.
    `metric` is `w1_sd`, over the pooled standard deviation, or `w1`. See `icshift.arrays.drift.Drifted` for what comes
    back: a row a unit with its noise floor, and what moved beyond noise.

    >>> import numpy as np
    >>> random = np.random.default_rng(0)
    >>> found = drift(random.normal(size=(1000, 1)), random.normal(0.5, size=(1000, 1)), metric="w1")
    >>> found.units[["unit", "value", "floor", "n", "moved"]].round(2)
       unit  value  floor     n  moved
    0     0   0.54   0.04  1000   True
    """
    from icshift.arrays.drift import drift

    return drift(a, b, metric=metric)


def _runs(given: _Given | Iterable[_Given]) -> list[StoredRun]:
    several = [given] if isinstance(given, (str, Path, StoredRun)) else given
    return [one if isinstance(one, StoredRun) else StoredRun(one) for one in several]


def _globs(sites: str | Iterable[str] | None) -> list[str] | None:
    if sites is None:
        return None
    return [sites] if isinstance(sites, str) else list(sites)
