"""Reading a run, live or finished; `format.py` says what is in it. It knows no torch.

What several processes of a distributed training wrote is merged here, when read, by the rules of `merging.py`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from icshift.distribution import Distribution
from icshift.errors import RunError, SelectionError, listed, unknown
from icshift.runs import series, where
from icshift.runs.attributes import ARRAYS
from icshift.runs.cards import run_card, run_line
from icshift.runs.ending import Ending
from icshift.runs.format import (
    GRADIENT_SHIFT,
    LOGGED,
    MANIFEST,
    QUANTILE_COLUMNS,
    SHARES_INPUTS,
    SMOOTHNESS,
    SMOOTHNESS_IN_FORMAT_1,
    STEP_QUANTILES,
    STEPS,
    WINDOWS,
    Site,
    Window,
    is_run,
    kept_units,
)
from icshift.runs.frames import FILED, in_model_order
from icshift.runs.inventory import missing
from icshift.runs.manifest import read_manifests, site_of
from icshift.runs.merged import Merged, digest
from icshift.runs.merging import merged_distribution, merged_manifest, merged_window
from icshift.runs.parts import Place, parts_in
from icshift.runs.provisional import joined_distributions, joined_windows
from icshift.runs.selection import choose
from icshift.runs.shelf import Asked, Shelf
from icshift.runs.together import Together
from icshift.runs.window_file import MOST_ROWS, ChangedError, Filed, read_distributions

if TYPE_CHECKING:
    import pandas as pd

    from icshift.runs.merged_files import MergedFiles

_MOST_PHASES = 1000


def locate(path: Path) -> Path:
    """Returns the path of the run at `path` or, where that is none, of the only run directly in it.

    Raises `RunError` where there is none, or more than one.
    """
    if not path.exists():
        raise RunError(f"no such run: {path}")
    if (path / MANIFEST).exists():
        return path
    runs = sorted(child for child in path.iterdir() if is_run(child)) if path.is_dir() else []
    if not runs:
        raise RunError(f"{path} is no icshift run: it has no {MANIFEST}; give the directory that a recording made")
    if len(runs) > 1:
        names = listed(run.name for run in runs)
        raise RunError(f"{path} holds {len(runs):,} runs: {names}; give one of them")
    return runs[0]


class StoredRun:
    """A recorded run on disk, at the given path or the only one directly in it (see `locate`).

    Raises `RunError` where there is none, or it is damaged or has a format newer than this icshift reads.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = locate(Path(path))
        self._manifests = read_manifests(self.path)
        self.manifest = merged_manifest(self._manifests)
        self.ranks: int = self.manifest["ranks"]
        self.sites = [site_of(entry) for entry in self.manifest["sites"]]
        self.by_name = {site.name: site for site in self.sites}
        self._ids = [self._manifests.get(rank, {}).get("id") for rank in range(self.ranks)]
        self._loaded: dict[int, dict[tuple[str, str], Distribution]] = {}
        self._asked: dict[int, Mapping[tuple[str, str], Distribution]] = {}
        self._shelf = Shelf()
        self._merged = Merged(self.path)
        self._phases: dict[int, list[str]] = {}
        where.insisting(self._look)

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
    def ending(self) -> Ending:
        """How the recording ended, if it did, and which steps it missed."""
        return Ending(self.manifest, self.missing)

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked of the recording: entries of the manifest."""
        return dict(self.manifest.get("settings", {}))

    @property
    def phases(self) -> list[str]:
        """Phases in the order in which they first appear."""
        phases: dict[str, None] = {}
        for window in self.window_list:
            phases |= dict.fromkeys(self._phases_of(window.index))
        return list(phases)

    def _phases_of(self, index: int) -> list[str]:
        if index not in self._phases:
            said = [place.phases for place in self._where.places(index)]
            known = [phase for phases in said for phase in phases or ()]
            self._phases[index] = known if None not in said else [phase for phase, _ in self._of(index)]
        return self._phases[index]

    def site(self, name: str) -> Site:
        """Returns a site by name. Raises `SelectionError` with near matches."""
        if name not in self.by_name:
            raise unknown("site", name, list(self.by_name))
        return self.by_name[name]

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
        return len(self.window_list) == len(self._where.windows)

    def distribution(self, phase: str, site: str, window: int) -> Distribution | None:
        """Returns what was recorded of a site in a phase and window, or None where nothing was."""
        return self._of(window).get((phase, site)) if window in self._where.windows else None

    @property
    def no_windows(self) -> str:
        """Why there is nothing to report, where there are no windows."""
        if self.missing:
            return f"{self.path} has lost its windows: {' '.join(self.missing)}"
        if self.finished:
            return f"{self.path} has no windows: nothing was recorded, or they were deleted"
        return f"{self.path} has no windows yet: nothing was recorded, or the first flush is to come"

    def phase(self, name: str) -> str:
        """Returns the phase's name if it was recorded. Raises `SelectionError` with near matches."""
        if name not in self.phases:
            raise unknown("phase", name, self.phases)
        return name

    def windows(
        self,
        phase: str | None = None,
        sites: str | Iterable[str] | None = None,
        windows: Iterable[int] | None = None,
    ) -> pd.DataFrame:
        """Returns what is kept of every window: a row a phase, site, unit and window.

        Of the values themselves it has the quantiles `QUANTILE_COLUMNS`. Sorted by `site` it is in model order. It is
        of all phases, sites (names or globs) and windows (numbers), or of those that are asked for: no others are read.
        Raises `RunError` where there is no window, and `SelectionError` for what the run does not have.
        """
        import pandas as pd

        frames = []
        chosen = {site.name: site for site in choose(self.sites, sites)}
        wanted = None if windows is None else set(windows)
        if phase is not None:
            self.phase(phase)
        for window in self.window_list:
            here = self._of(window.index) if wanted is None or window.index in wanted else {}
            for of_phase, site in here:
                if site not in chosen or phase not in (None, of_phase):
                    continue
                distribution = here[of_phase, site]
                columns: dict[str, Any] = {
                    "phase": of_phase,
                    "site": site,
                    "unit": kept_units(chosen[site]),
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
            raise RunError(self.no_windows)
        return in_model_order(pd.concat(frames, ignore_index=True), self.sites)

    def steps(self, phase: str | None = None, sites: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Returns the step series: a row a phase, site, step and unit (and rank, where several processes recorded).

        `sites` are names or globs. Without rows where no steps were recorded, as by `icshift analyze`. Raises
        `SelectionError` for a phase or site that the run does not have.
        """
        conditions: list[tuple[str, str, Any]] = [] if phase is None else [("phase", "==", phase)]
        conditions += [] if sites is None else [("site", "in", [site.name for site in choose(self.sites, sites)])]
        frames = series.read(self.path / STEPS, STEPS, self._ids, conditions)
        steps = series.table(frames, STEPS, ranked=self.ranks > 1).rename(columns=FILED)
        if steps.empty and frames and phase is not None and self.window_list:
            self.phase(phase)
        steps = steps[steps["site"].isin([site.name for site in self.sites])]
        steps = in_model_order(steps, self.sites)
        return steps.sort_values(["phase", "site", "step", "unit"], kind="stable", ignore_index=True)

    def gradient_shift(self) -> pd.DataFrame:
        """Santurkar et al. (2018), Definition 2.1: a row a measured step and layer, in the order of the forward.

        `l2` is the norm of G - G', the change of the layer's gradient by the step of the layers before it, in units of
        the gradient; `cosine` that of the angle of G and G'; `norm` and `norm_after` are those of G and G', over
        `parameters` entries. `relative` is `l2` over `norm`, NaN where G is zero. All depend on the batch: the fewer
        its examples, the longer is G. Empty where none was measured.
        """
        found = self._series(GRADIENT_SHIFT)
        return found.assign(relative=found["l2"] / found["norm"].where(found["norm"] > 0))

    def smoothness(self) -> pd.DataFrame:
        """The loss along the gradient: a row a measured step; columns as in `icshift.gradients.smoothness.Smoothness`.

        Empty where none was measured.
        """
        return self._series(SMOOTHNESS)

    def logged(self) -> pd.DataFrame:
        """What `Recorder.log` was given, or a trainer logged: a row a number, in the order in which they came.

        Columns are `step`, `window` (its number), `name` and `value` (and `rank`, where several processes recorded).
        Empty where nothing was logged.
        """
        rows = self._series(LOGGED, ranked=self.ranks > 1)
        return rows.assign(window=series.windows_of(rows, self.window_list))

    def _series(self, kind: str, *, ranked: bool = False) -> pd.DataFrame:
        older = kind == SMOOTHNESS and self.manifest["format"] == 1
        folder = self.path / (SMOOTHNESS_IN_FORMAT_1 if older else kind)
        return series.table(series.read(folder, kind, self._ids), kind, ranked=ranked)

    def _look(self) -> None:
        """Find the windows that there are, and read them at once where a recorder may be about to join them."""
        listed = _stamps(self.path, self.ranks)
        found = where.find(self.path, self._ids)
        self._where = found.of_all(self.ranks) if self.settings.get(SHARES_INPUTS) else found
        self.window_list = [_window(index, ranks) for index, ranks in self._where.windows.items()]
        self.missing = missing(self.path, self._manifests, self.window_list, self._where.written)
        if not self.finished and any(window.provisional for window in self.window_list):
            self._loaded, self._phases = {}, {}
            for index in self._where.windows:
                self._load(index)
            if _stamps(self.path, self.ranks) != listed:
                raise ChangedError(f"the windows of {self.path} are being joined just now: try again")

    def merge(self) -> Iterator[tuple[Window, bool]]:
        """Merges the windows of several processes once and for all, beside their files: every reader is faster then.

        Yields every window that is closed, and whether it was merged just now: one that was before is left alone.
        Raises `RunError` where nothing can be written. Of one process nothing is merged.
        """
        if self.ranks == 1:
            return
        from icshift.runs.merged_files import MergedFiles  # Which only whoever writes files needs.

        files = MergedFiles(self._merged, self._ids[0] or "", self._where.places)
        try:
            for window in self.window_list:
                if window.closed and not window.provisional:
                    yield window, self._merge(window, files)
            files.put_together()
        finally:
            files.end()

    def _merge(self, window: Window, files: MergedFiles) -> bool:
        """Merges a window unless it was merged before; returns whether it was not."""
        index = window.index
        if self._merged.found(index, self._where.places(index)) is not None:
            return False
        # Before it is read: what is newer than what it is said to be made of is not read in its place.
        made_of = where.insisting(lambda: digest(self._where.places(index)), self._look_again)
        here = {(phase, self.by_name[name]): found for (phase, name), found in self._of(index).items()}
        files.keep(window, made_of, here)
        self._loaded.pop(index, None)
        self._asked.pop(index, None)
        return True

    def _of(self, index: int) -> Mapping[tuple[str, str], Distribution]:
        """Returns what there is of a window, by phase and site: read when it is asked for, where that can be."""
        if index not in self._loaded and index not in self._asked:
            if (asked := where.insisting(lambda: self._ask(index), self._look_again)) is None:
                return self._load(index)
            self._asked[index] = asked
        return self._asked[index] if index in self._asked else self._loaded[index]

    def _ask(self, index: int) -> Mapping[tuple[str, str], Distribution] | None:
        """Returns what there is of a window, of which nothing is read yet; None where it has to be read as a whole."""
        if self.ranks > 1 and self._place(index) is not None:
            return self._asked_at(index, lambda: self._place(index), None)
        asked: dict[Path, Asked] = {}
        for rank in self._where.windows[index]:
            if (place := self._where.place(index, rank)) is None:
                return None
            find = partial(lambda rank: self._where.place(index, rank), rank)
            asked[place.file] = self._asked_at(index, find, self._ids[rank])
        return next(iter(asked.values())) if self.ranks == 1 else Together(asked, self.by_name)

    def _asked_at(self, index: int, find: Callable[[], Place | None], run_id: str | None) -> Asked:
        def place() -> Place:
            found = find()
            if found is None:
                raise ChangedError(f"window {index} of {self.path} was replaced while it was read: try again")
            return found

        return Asked(self._shelf, place, self._look_again, index, self.sites, run_id, self._room)

    def _place(self, index: int) -> Place | None:
        """Returns the place of all that there is of a window, which stays as it is; None where there is no such."""
        if self.ranks == 1:
            return self._where.place(index, 0)
        stays = all(self._where.place(index, rank) is not None for rank in self._where.windows[index])
        return self._merged.found(index, self._where.places(index)) if stays else None

    @property
    def _room(self) -> int:
        return max(MOST_ROWS, _MOST_PHASES * sum(site.recorded for site in self.sites))

    def _load(self, index: int) -> dict[tuple[str, str], Distribution]:
        if index not in self._loaded:
            self._loaded[index] = where.insisting(lambda: self._read(index), self._look_again)
        return self._loaded[index]

    def _look_again(self) -> None:
        known = self._where
        self._where = where.insisting(lambda: where.find(self.path, self._ids)).of(known)

    def _read(self, index: int) -> dict[tuple[str, str], Distribution]:
        kept = self._merged.found(index, self._where.places(index)) if self.ranks > 1 else None
        if kept is not None:
            with suppress(RunError):  # It is merged anew, which needs nothing of it.
                return read_distributions(kept)
        recorded: dict[tuple[str, str], dict[Path, Distribution]] = {}
        for rank, files in self._where.windows[index].items():
            run_id = self._ids[rank]
            parts = [
                read_distributions(place, sites=self.by_name, most_rows=self._room, run_id=run_id) for _, place in files
            ]
            for key, part in reduce(joined_distributions, parts).items():
                recorded.setdefault(key, {})[files[0][1].file] = part
        return {
            (phase, site): merged_distribution(self.by_name[site], parts)
            for (phase, site), parts in recorded.items()
            if site in self.by_name
        }


def _stamps(path: Path, ranks: int) -> list[tuple[Path, int, int]]:
    """What tells the files of windows that are there from those that replace them."""
    stats = []
    for part in parts_in(path / WINDOWS, ranks):
        with suppress(FileNotFoundError):
            stat = part.path.stat()
            stats.append((part.path, stat.st_ino, stat.st_mtime_ns))
    return stats


def _window(index: int, ranks: Mapping[int, Sequence[Filed]]) -> Window:
    """Returns one window of a run, of what every process wrote of it."""
    merged = merged_window([reduce(joined_windows, [window for window, _ in files]) for files in ranks.values()])
    return replace(merged, index=index, name=str(index)) if merged.provisional else merged
