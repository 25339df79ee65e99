"""Reading a run, live or finished. It knows no torch.

Format 1. A run is a directory:

    run.json                      format, created, finished, versions, model, settings, sites, ledger,
                                  step_stride, overhead
    windows/000001.rank0.parquet  one file a window and process; a row a phase, site and unit:
                                  phase, site, unit, window, count, nonfinite, mean, std, min, max,
                                  zero_share, sampled, w1_error, rank_error,
                                  values (list: sorted, of equal weight),
                                  odd_values, odd_sampled, even_values, even_sampled (the halves of the
                                  steps, for the noise floor; empty and -1 where there are none).
                                  The file's metadata, key `icshift`, holds the window as JSON.
    steps/000000.rank0.parquet    segments of the step series; a row a phase, step, site and unit:
                                  phase, site, step, unit, count, nonfinite, mean, std, min, max,
                                  zero_share, q05, q15, q50, q85, q95

Any Parquet reader takes `windows/` and `steps/` as tables. Steps count from 0, windows from 1. The
files of several processes (ranks) are merged here, when read; nothing is exchanged while recording.
Files that begin with a dot are being written and are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icshift.distribution import Distribution, Floats, Half, Ints
from icshift.errors import RunError, unknown

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FORMAT = 1
MANIFEST = "run.json"

STEP_QUANTILES = (0.05, 0.15, 0.50, 0.85, 0.95)
"""Quantiles kept of every step, in columns `QUANTILE_COLUMNS`."""

QUANTILE_COLUMNS = tuple(f"q{round(100 * q):02d}" for q in STEP_QUANTILES)

_ARRAYS = ("count", "nonfinite", "mean", "std", "min", "max", "zero_share", "sampled", "w1_error")
_HALVES = ("odd", "even")


@dataclass(frozen=True)
class Site:
    """A place in the model whose output is watched.

    `kept` are the recorded units where a site has more than the cap, else None. `normalises` marks
    normalisation layers, `batch_statistics` those that use the batch's own mean and variance in training.
    `feeds` are the class names of the activation modules that read this output directly, `follows` is the site
    whose output a normalisation layer reads.
    """

    name: str
    type: str
    axis: int
    units: int
    kept: tuple[int, ...] | None = None
    normalises: bool = False
    batch_statistics: bool = False
    feeds: tuple[str, ...] = ()
    follows: str | None = None


@dataclass(frozen=True)
class Window:
    """Consecutive steps summarised together; `closed` is False while it is still being recorded."""

    index: int
    name: str
    first_step: int
    last_step: int
    closed: bool


def kept_units(site: Site) -> Ints:
    """Numbers of the recorded units of a site."""
    return np.arange(site.units) if site.kept is None else np.array(site.kept)


def is_run(path: Path) -> bool:
    """Whether a directory holds a run, of this or any other format."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and isinstance(manifest.get("format"), int)


class Run:
    """A recorded run on disk.

    Raises `RunError` where the path is missing, is no run, or has a format newer than this icshift reads.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = _read_manifest(self.path)
        try:
            self.sites = [_site(entry) for entry in self.manifest["sites"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{self.path / MANIFEST} has no proper table of sites ({error}): the run is damaged"
            ) from error
        self._files: dict[int, list[Path]] = {}
        for file in sorted((self.path / "windows").glob("[0-9]*.rank*.parquet")):
            self._files.setdefault(int(file.name.split(".")[0]), []).append(file)
        self.window_list = [_read_window(files) for _, files in sorted(self._files.items())]
        self._loaded: dict[int, dict[tuple[str, str], Distribution]] = {}

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.name

    @property
    def finished(self) -> bool:
        """Whether the recording came to its end."""
        return bool(self.manifest["finished"])

    @property
    def phases(self) -> list[str]:
        """Phases in the order in which they first appear."""
        found: dict[str, None] = {}
        for window in self.window_list:
            found |= dict.fromkeys(phase for phase, _ in self._load(window.index))
        return list(found)

    def site(self, name: str) -> Site:
        """One site by name. Raises `SelectionError` with near matches."""
        for site in self.sites:
            if site.name == name:
                return site
        raise unknown("site", name, [site.name for site in self.sites])

    def window(self, label: str | int) -> Window:
        """One window by its name or number. Raises `SelectionError` with near matches."""
        for window in self.window_list:
            if str(label) in (window.name, str(window.index)):
                return window
        raise unknown("window", label, [window.name for window in self.window_list])

    def distribution(self, phase: str, site: str, window: int) -> Distribution | None:
        """What was recorded of a site in a phase and window, or None where nothing was."""
        return self._load(window).get((phase, site)) if window in self._files else None

    def phase(self, name: str) -> str:
        """The phase if it was recorded. Raises `SelectionError` with near matches."""
        if name not in self.phases:
            raise unknown("phase", name, self.phases)
        return name

    def windows(self) -> pd.DataFrame:
        """Everything kept of every window but the values: a row a phase, site, unit and window."""
        import pandas as pd

        frames = []
        units = {site.name: kept_units(site) for site in self.sites}
        for window in self.window_list:
            for (phase, site), distribution in self._load(window.index).items():
                columns: dict[str, Any] = {
                    "phase": phase,
                    "site": site,
                    "unit": units[site],
                    "window": window.index,
                    "name": window.name,
                    "first_step": window.first_step,
                    "last_step": window.last_step,
                }
                for name in _ARRAYS:
                    columns[name] = getattr(distribution, name)
                columns["rank_error"] = distribution.rank_error
                columns |= dict(zip(QUANTILE_COLUMNS, distribution.quantile(STEP_QUANTILES).T, strict=True))
                frames.append(pd.DataFrame(columns))
        if not frames:
            raise RunError(f"{self.path} has no windows yet: nothing was recorded, or the first flush is to come")
        return pd.concat(frames, ignore_index=True)

    def steps(self, phase: str | None = None, sites: Iterable[str] | None = None) -> pd.DataFrame:
        """The step series: a row a phase, site, step and unit (and rank, where several recorded)."""
        import pandas as pd
        import pyarrow.parquet as pq

        conditions: list[tuple[str, str, Any]] = []
        if phase is not None:
            conditions.append(("phase", "==", phase))
        if sites is not None:
            conditions.append(("site", "in", list(sites)))
        files = sorted((self.path / "steps").glob("[0-9]*.rank*.parquet"))
        ranks = {file.name.split(".")[1] for file in files}
        frames = []
        for file in files:
            with _damage(file):
                frame = pq.read_table(file, filters=conditions or None, partitioning=None).to_pandas()
            if len(ranks) > 1:
                frame["rank"] = int(file.name.split(".")[1].removeprefix("rank"))
            frames.append(frame)
        if not frames:
            return pd.DataFrame(columns=["phase", "site", "step", "unit"])
        steps = pd.concat(frames, ignore_index=True)
        for column in ("phase", "site"):
            steps[column] = steps[column].astype(str)
        return steps.sort_values(["phase", "site", "step", "unit"], kind="stable", ignore_index=True)

    def _load(self, index: int) -> dict[tuple[str, str], Distribution]:
        import pyarrow.parquet as pq

        if index not in self._loaded:
            merged: dict[tuple[str, str], Distribution] = {}
            for file in self._files[index]:
                with _damage(file):
                    parts = _distributions(pq.read_table(file, partitioning=None))
                for key, part in parts.items():
                    merged[key] = merged[key].merge(part) if key in merged else part
            self._loaded[index] = merged
        return self._loaded[index]


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise RunError(f"no such run: {path}")
    file = path / MANIFEST
    if not file.is_file():
        raise RunError(f"{path} is no icshift run: it has no {MANIFEST}; give the directory that a recording made")
    try:
        manifest = json.loads(file.read_text())
    except ValueError as error:
        raise RunError(f"{file} cannot be read as JSON ({error}): is it an icshift run?") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise RunError(f"{file} names no format: is it an icshift run?")
    if manifest["format"] > FORMAT:
        raise RunError(f"{path} has format {manifest['format']}, this icshift reads up to {FORMAT}: upgrade icshift")
    return manifest


def _site(entry: dict[str, Any]) -> Site:
    known = {field.name for field in fields(Site)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items() if key in known
    }
    return Site(**values)


@contextmanager
def _damage(file: Path) -> Iterator[None]:
    """Whatever goes wrong in reading a file of a run is told as damage to that file."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunError(
            f"{file} cannot be read ({error}): the run is damaged; delete the file to read the rest"
        ) from error


def _read_window(files: list[Path]) -> Window:
    import pyarrow.parquet as pq

    windows = []
    for file in files:
        with _damage(file):
            windows.append(Window(**json.loads(pq.read_schema(file).metadata[b"icshift"])))
    return reduce(
        lambda a, b: Window(
            a.index, a.name, min(a.first_step, b.first_step), max(a.last_step, b.last_step), a.closed and b.closed
        ),
        windows,
    )


def _distributions(table: pa.Table) -> dict[tuple[str, str], Distribution]:
    """The distributions of one window file; rows of one phase and site stand together."""
    phases, sites = table["phase"].to_pylist(), table["site"].to_pylist()
    starts = [i for i in range(len(phases)) if not i or (phases[i], sites[i]) != (phases[i - 1], sites[i - 1])]
    result = {}
    for first, last in zip(starts, [*starts[1:], len(phases)], strict=True):
        rows = table.slice(first, last - first).combine_chunks()
        arrays = {name: rows[name].to_numpy() for name in _ARRAYS}
        odd, even = (Half(_matrix(rows, f"{name}_values"), rows[f"{name}_sampled"].to_numpy()) for name in _HALVES)
        result[phases[first], sites[first]] = Distribution(
            **arrays,
            values=_matrix(rows, "values"),
            rank_error=float(rows["rank_error"][0].as_py()),
            halves=None if (odd.sampled < 0).all() else (odd, even),
        )
    return result


def _matrix(rows: pa.Table, column: str) -> Floats:
    lists = rows[column].chunk(0)
    return lists.flatten().to_numpy().reshape(len(lists), -1)
