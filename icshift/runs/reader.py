"""Reading a run, live or finished; `format.py` says what is in it. It knows no torch.

What several processes of a distributed training wrote is merged here, when read, by the rules of `merging.py`.
"""

from __future__ import annotations

import copy
import json
import operator
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from icshift.distribution import Distribution
from icshift.errors import RunError, SelectionError, unknown
from icshift.runs import merged
from icshift.runs.cards import run_card, run_line
from icshift.runs.format import (
    FORMAT,
    GRADIENT_SHIFT,
    LOGGED,
    MANIFEST,
    MANIFEST_NAME,
    PART_NAME,
    QUANTILE_COLUMNS,
    SEEN_BY_OLDER,
    SMOOTHNESS,
    SMOOTHNESS_IN_FORMAT_1,
    STEP_QUANTILES,
    Site,
    Window,
    is_run,
    kept_units,
    rank_in,
)
from icshift.runs.frames import FILED, in_model_order
from icshift.runs.merging import LEDGER_ENTRY, merged_distribution, merged_manifest, merged_window
from icshift.runs.provisional import Filed, by_window, joined_distributions, joined_windows, standing
from icshift.runs.selection import choose
from icshift.runs.window_file import ARRAYS, ChangedError, damage, read_distributions, read_window

if TYPE_CHECKING:
    import pandas as pd

_ATTEMPTS = 20
"""So often a run is read whose windows are joined in the meantime: a joining takes less than a second."""


def locate(path: Path) -> Path:
    """Returns the path of the run at `path` or, where that is none, of the only run directly in it.

    Raises `RunError` where there is none, or more than one.
    """
    if not path.exists():
        raise RunError(f"no such run: {path}")
    if (path / MANIFEST).is_file():
        return path
    runs = sorted(child for child in path.iterdir() if is_run(child)) if path.is_dir() else []
    if not runs:
        raise RunError(f"{path} is no icshift run: it has no {MANIFEST}; give the directory that a recording made")
    if len(runs) > 1:
        listed = ", ".join(run.name for run in runs[:8]) + (f", and {len(runs) - 8} more" if len(runs) > 8 else "")
        raise RunError(f"{path} holds {len(runs)} runs: {listed}; give one of them")
    return runs[0]


class StoredRun:
    """A recorded run on disk, at the given path or the only one directly in it (see `locate`).

    Raises `RunError` where there is none, or it is damaged or has a format newer than this icshift reads.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = locate(Path(path))
        manifests = _read_manifests(self.path)
        self.manifest = merged_manifest(manifests)
        self.ranks: int = self.manifest["ranks"]
        self.sites = [_site(entry) for entry in self.manifest["sites"]]
        self._loaded: dict[int, dict[tuple[str, str], Distribution]] = {}
        for attempt in range(_ATTEMPTS):
            try:
                self._look()
            except ChangedError:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    __repr__ = run_line
    _repr_html_ = run_card

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.name

    @property
    def finished(self) -> bool:
        """Whether the recording came to its end, in every process."""
        return bool(self.manifest["finished"])

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked of the recording: entries of the manifest."""
        return dict(self.manifest.get("settings", {}))

    @property
    def phases(self) -> list[str]:
        """Phases in the order in which they first appear."""
        phases: dict[str, None] = {}
        for window in self.window_list:
            phases |= dict.fromkeys(phase for phase, _ in self._load(window.index))
        return list(phases)

    def site(self, name: str) -> Site:
        """Returns a site by name. Raises `SelectionError` with near matches."""
        for site in self.sites:
            if site.name == name:
                return site
        raise unknown("site", name, [site.name for site in self.sites])

    def window(self, label: str | int) -> Window:
        """Returns a window by its name or number. Raises `SelectionError` with near matches."""
        for window in self.window_list:
            if str(label) in (window.name, str(window.index)):
                return window
        if re.fullmatch(r"-\d+", str(label)):
            raise SelectionError(f"no window {label}: they are counted from 1; --window last is the last one")
        raise unknown("window", label, [window.name for window in self.window_list])

    def until(self, window: Window) -> Self:
        """Returns the run as if it had ended with this window; its step series stays whole."""
        earlier = copy.copy(self)
        earlier.window_list = [known for known in self.window_list if known.index <= window.index]
        return earlier

    @property
    def whole(self) -> bool:
        """Whether it is not cut short by `until`."""
        return len(self.window_list) == len(self._files)

    def distribution(self, phase: str, site: str, window: int) -> Distribution | None:
        """Returns what was recorded of a site in a phase and window, or None where nothing was."""
        return self._load(window).get((phase, site)) if window in self._files else None

    def phase(self, name: str) -> str:
        """Returns the phase's name if it was recorded. Raises `SelectionError` with near matches."""
        if name not in self.phases:
            raise unknown("phase", name, self.phases)
        return name

    def windows(self) -> pd.DataFrame:
        """Returns what is kept of every window: a row a phase, site, unit and window.

        Of the values themselves it has the quantiles `QUANTILE_COLUMNS`. Sorted by `site` it is in model order.
        Raises `RunError` where there is no window.
        """
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
                for name in ARRAYS:
                    columns[FILED.get(name, name)] = getattr(distribution, name)
                columns["rank_error"] = distribution.rank_error
                columns |= dict(zip(QUANTILE_COLUMNS, distribution.quantile(STEP_QUANTILES).T, strict=True))
                frames.append(pd.DataFrame(columns))
        if not frames:
            raise RunError(f"{self.path} has no windows yet: nothing was recorded, or the first flush is to come")
        return in_model_order(pd.concat(frames, ignore_index=True), self.sites)

    def steps(self, phase: str | None = None, sites: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Returns the step series: a row a phase, site, step and unit (and rank, where several processes recorded).

        `sites` are names or globs. Without rows where no steps were recorded, as by `icshift analyze`. Raises
        `SelectionError` for a phase or site that the run does not have.
        """
        import pandas as pd
        import pyarrow.parquet as pq

        conditions: list[tuple[str, str, Any]] = [] if phase is None else [("phase", "==", phase)]
        conditions += [] if sites is None else [("site", "in", [site.name for site in choose(self.sites, sites)])]
        frames = []
        for rank, file in _of_ranks(self.path / "steps", PART_NAME, self.ranks):
            with damage(file):
                frame = pq.read_table(file, filters=conditions or None, partitioning=None).to_pandas()
            if self.ranks > 1:
                frame["rank"] = rank
            frames.append(frame)
        if not frames:
            columns = ["phase", "site", "step", "unit", *(["rank"] if self.ranks > 1 else [])]
            return in_model_order(pd.DataFrame(columns=columns), self.sites)
        steps = pd.concat(frames, ignore_index=True).rename(columns=FILED)
        if steps.empty and phase is not None and self.window_list:
            self.phase(phase)
        steps["phase"] = steps["phase"].astype(str)
        steps = in_model_order(steps, self.sites)
        return steps.sort_values(["phase", "site", "step", "unit"], kind="stable", ignore_index=True)

    def gradient_shift(self) -> pd.DataFrame:
        """Santurkar et al. (2018), Definition 2.1: a row a measured step and layer, in the order of the forward.

        `l2` is the norm of G - G', the change of the layer's gradient by the step of the layers before it, in units of
        the gradient; `cosine` that of the angle of G and G'; `norm` and `norm_after` are those of G and G', over
        `parameters` entries. `relative` is `l2` over `norm`, NaN where G is zero. All depend on the batch: the fewer
        its examples, the longer is G. Empty where none was measured.
        """
        columns = ("step", "layer", "parameters", "l2", "cosine", "norm", "norm_after")
        series = self._series(GRADIENT_SHIFT, columns)
        return series.assign(relative=series["l2"] / series["norm"].where(series["norm"] > 0))

    def smoothness(self) -> pd.DataFrame:
        """The loss along the gradient: a row a measured step; columns as in `icshift.gradients.smoothness.Smoothness`.

        Empty where none was measured.
        """
        ranges = ("loss_min", "loss_max", "predictiveness_min", "predictiveness_max")
        folder = SMOOTHNESS if self.manifest["format"] > 1 else SMOOTHNESS_IN_FORMAT_1
        return self._series(folder, ("step", "rate", "loss", "gradient_norm", *ranges, "beta_rate", "beta_step"))

    def logged(self) -> pd.DataFrame:
        """What `Recorder.log` was given, or a trainer logged: a row a number, in the order in which they came.

        Columns are `step`, `window` (its number), `name` and `value` (and `rank`, where several processes recorded).
        Empty where nothing was logged.
        """
        rows = self._series(LOGGED, ("step", "window", "name", "value"), ranked=self.ranks > 1)
        return rows.assign(window=_windows_of(rows, self.window_list))

    def _series(self, folder: str, columns: tuple[str, ...], *, ranked: bool = False) -> pd.DataFrame:
        import pandas as pd
        import pyarrow.parquet as pq

        frames = []
        for rank, file in _of_ranks(self.path / folder, PART_NAME, self.ranks):
            with damage(file):
                frame = pq.read_table(file, partitioning=None).to_pandas()[list(columns)]
            frames.append(frame.assign(rank=rank) if ranked else frame)
        named = [*columns, *(["rank"] if ranked else [])]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=named)

    def _look(self) -> None:
        """Find the windows that there are, and read them at once where a recorder may be about to join them."""
        listed = _stamps(self.path, self.ranks)
        filed: dict[int, list[Filed]] = {}
        for rank, file in _of_ranks(self.path / "windows", PART_NAME, self.ranks):
            filed.setdefault(rank, []).append((read_window(file), file))
        self._files = by_window({rank: standing(files) for rank, files in filed.items()})
        self.window_list = [_window(index, ranks) for index, ranks in self._files.items()]
        if not self.finished and any(window.provisional for window in self.window_list):
            self._loaded = {}
            for index in self._files:
                self._load(index)
            if _stamps(self.path, self.ranks) != listed:
                raise ChangedError(f"the windows of {self.path} are being joined just now: try again")

    def merge(self) -> Iterator[tuple[Window, bool]]:
        """Merges the windows of several processes once and for all, beside their files: every reader is faster then.

        Yields every window that is closed, and whether it was merged just now: one that was before is left alone.
        Raises `RunError` where nothing can be written. Of one process nothing is merged.
        """
        sites = {site.name: site for site in self.sites}
        for window in self.window_list if self.ranks > 1 else ():
            if not window.closed or window.provisional:
                continue
            parts = self._parts(window.index)
            known = merged.read(self.path, window.index, parts) is not None
            if not known:
                distributions = self._load(window.index)
                here = {(phase, sites[name]): found for (phase, name), found in distributions.items()}
                merged.keep(self.path, window, parts, here)
            self._loaded.pop(window.index, None)
            yield window, not known

    def _parts(self, index: int) -> list[Path]:
        return [file for files in self._files[index].values() for _, file in files]

    def _load(self, index: int) -> dict[tuple[str, str], Distribution]:
        if index not in self._loaded:
            kept = merged.read(self.path, index, self._parts(index)) if self.ranks > 1 else None
            if kept is not None:
                self._loaded[index] = kept
                return kept
            sites = {site.name: site for site in self.sites}
            recorded: dict[tuple[str, str], dict[Path, Distribution]] = {}
            for files in self._files[index].values():
                parts = [read_distributions(file) for _, file in files]
                for key, part in reduce(joined_distributions, parts).items():
                    recorded.setdefault(key, {})[files[0][1]] = part
            self._loaded[index] = {
                (phase, site): merged_distribution(sites[site], parts)
                for (phase, site), parts in recorded.items()
                if site in sites
            }
        return self._loaded[index]


def _of_ranks(folder: Path, pattern: re.Pattern[str], ranks: int) -> list[tuple[int, Path]]:
    """Returns ranks and files of a folder, in order, without those of ranks that the run does not count."""
    ranked = [(rank_in(file.name, pattern), file) for file in folder.glob("*")]
    return sorted((rank, file) for rank, file in ranked if rank is not None and rank < ranks)


def _read_manifests(path: Path) -> dict[int, dict[str, Any]]:
    """Returns the manifests that are there, by rank, 0 first."""
    first = _read_manifest(path / MANIFEST)
    files = _of_ranks(path, MANIFEST_NAME, first["ranks"])
    return {0: first} | {rank: _read_manifest(file) for rank, file in files if rank}


def _read_manifest(file: Path) -> dict[str, Any]:
    """Returns a manifest in which all that is merged is there and of the right kind.

    Raises `RunError` for any other.
    """
    try:
        manifest = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read as JSON ({error}): is it an icshift run?") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise RunError(f"{file} names no format: is it an icshift run?")
    if manifest["format"] > FORMAT:
        raise RunError(f"{file} has format {manifest['format']}, this icshift reads up to {FORMAT}: upgrade icshift")
    manifest = {"finished": False, "ranks": 1, "ledger": [], "step_stride": 1, **manifest}
    _rename_since_format_1(manifest)
    try:
        for entry in manifest["sites"]:
            _site(entry)
        for entry in manifest["ledger"]:
            LEDGER_ENTRY(entry)
        for key in ("ranks", "step_stride"):
            operator.index(manifest[key])
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{file} has no proper sites, ledger, ranks or step_stride ({error}): the run is damaged"
        ) from error
    return manifest


def _rename_since_format_1(manifest: dict[str, Any]) -> None:
    """Put the settings of an older run's measurements under the name that they have now."""
    measured = manifest.get("measured")
    if isinstance(measured, dict) and manifest["format"] == 1 and SMOOTHNESS_IN_FORMAT_1 in measured:
        measured[SMOOTHNESS] = measured.pop(SMOOTHNESS_IN_FORMAT_1)


def _site(entry: dict[str, Any]) -> Site:
    known = {field.name for field in fields(Site)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items() if key in known
    }
    return Site(**{"unseen": SEEN_BY_OLDER, **values})


def _stamps(path: Path, ranks: int) -> list[tuple[Path, int, int]]:
    """What tells the files of windows that are there from those that replace them."""
    stats = []
    for _, file in _of_ranks(path / "windows", PART_NAME, ranks):
        with suppress(FileNotFoundError):
            stat = file.stat()
            stats.append((file, stat.st_ino, stat.st_mtime_ns))
    return stats


def _windows_of(rows: pd.DataFrame, windows: Sequence[Window]) -> NDArray[np.int64]:
    """Returns the number of the window of each row, by its step where none is written (the windows were provisional).

    So it is where windows before one that is there were joined.
    """
    edges, numbers = ([getattr(window, name) for window in windows] for name in ("first_step", "index"))
    places = np.searchsorted(edges, rows["step"], side="right") - 1
    found = np.array(numbers or [1])[np.maximum(places, 0)]
    gone = rows["window"].isna() | (~rows["window"].isin(numbers) & (rows["window"] < max(numbers, default=0)))
    return np.where(gone, found, rows["window"].fillna(0)).astype(np.int64)


def _window(index: int, ranks: Mapping[int, Sequence[Filed]]) -> Window:
    """Returns one window of a run, of what every process wrote of it."""
    merged = merged_window([reduce(joined_windows, [window for window, _ in files]) for files in ranks.values()])
    return replace(merged, index=index, name=str(index)) if merged.provisional else merged
