"""What a run on disk is made of: its files, sites and windows. It knows no torch.

Format 5. A run is a directory:

    run.json                      format, created, id, writer, finished, stopped, interrupted, gaps, ranks,
                                  versions, model, settings, sites, ledger, step_stride, overhead,
                                  initial_weights, final_weights
    run.rank1.json                the same of process 1, and so on
    windows/000001.rank0.parquet  one file a window and process, or of many, as 000001-000016.rank0.parquet of
                                  windows 1 to 16; a row a phase, site and unit:
                                  phase, site, unit, window, count, nonfinite, mean, std, min, max,
                                  zero_share, sampled, w1_error, rank_error,
                                  values (list: sorted, of equal weight),
                                  block_slices, block_sampled, block_zeros, block_steps (numbers as bytes,
                                  block after block, of the window's consecutive blocks of steps, from which
                                  noise is computed: 8 slice means, numbers of values, of zeros, of steps; null
                                  in a probe, which has no sampling noise),
                                  paired_values (list: activations of a probe's examples, the same ones in
                                  every window and in their order; empty where there are none; older files
                                  have no such column),
                                  tail_values (numbers as bytes: the 16 lowest and the 16 highest of a large
                                  window one by one; empty where `values` are all; older files have no such
                                  column).
                                  Bytes of float numbers are sorted by their place, see `planes.py`.
                                  The file's metadata, key `icshift`, holds the window as JSON, or a list of
                                  several; `inputs` in it is a hash of the examples of each phase, where they
                                  are known.
    steps/000000.rank0.parquet    segments of the step series; a row a phase, step, site and unit:
                                  phase, site, step, unit, count, nonfinite, mean, std, min, max,
                                  zero_share, q05, q15, q50, q85, q95
    gradient_shift/, smoothness/  segments of these series, where they were measured: a row a measured step
                                  (and layer), with the columns of `Run.gradient_shift` and `Run.smoothness`;
                                  `measured` in run.json says how
    logged/                       segments of the numbers that the training said of its own steps, where it
                                  did: a row a number: step, window, name, value

The metadata of every file, key `icshift_run`, hold the `id` of the manifest of its rank; those of a segment, key
`icshift_segment`, which one it is (see `segments.py`).

While it is recorded a run may hold provisional windows of which another one has the steps (see `provisional.py`).

Any Parquet reader takes `windows/` and `steps/` as tables. Steps count from 0, windows from 1.
Files that begin with a dot are being written and are ignored.

History. The number rises where a reader of the version before would read something wrong, or miss it without a word.

    1  Folder and key in `measured` of the smoothness along the gradient are called `landscape`.
    2  They are called `smoothness`: a reader of format 1 would say that none was measured. (Since then, too, runs of
       `icshift analyze` call the phase `probe-batch` that was `probe-train`, which a reader takes as it is.)
    3  Noise is computed from blocks of steps. Before, there were two halves, of the odd and of the even steps, in
       columns odd_values, odd_sampled, even_values, even_sampled: a floor from these is wrong where steps are not
       alike, so that none is given for older runs.
    4  Several files are put into one, which is named after the first and the last of them: a reader of format 3 would
       not find what is in it.
    5  Blocks and tails are bytes, which a reader of format 4 takes for damage. They were lists.

All these formats are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from icshift import regular
from icshift.distribution import Floats, Ints

FORMAT = 5
MANIFEST = "run.json"
WINDOW = b"icshift"
"""The key of what a window's file says of the window, as JSON; of several in one file it is a list."""

PHASES = b"icshift_phases"
"""The key of the phases that a window's file holds, in their order, as JSON: so nobody reads its rows to learn them."""

RUN_ID = b"icshift_run"
"""The key in the metadata of every file of a run that holds the `id` of the manifest of its rank."""

MOST_BYTES = 1 << 26
"""Bytes of a manifest; one of ten thousand modules has about 4 MB."""

MANIFEST_NAME = re.compile(r"run(?:\.rank([1-9][0-9]*))?\.json")
PART_NAME = re.compile(r"[0-9]+(?:-[0-9]+)?\.rank(0|[1-9][0-9]*)\.parquet")
"""Names of the files of all ranks: manifests, and what lies in `windows/` and `steps/` (see `parts.py`)."""

GRADIENT_SHIFT, SMOOTHNESS = "gradient_shift", "smoothness"
"""Series of measurements with gradients, and the folders that they are in."""

CHILD = "process-"
"""With a number, the folder for the runs of a process that a recorded script has started."""

WINDOWS, STEPS = "windows", "steps"
"""The folders that every run has."""

MERGED = "merged"
"""The folder of windows that `icshift merge` has merged."""

LOGGED = "logged"
"""The series of numbers that a training said of its steps, and the folder that it is in."""

SMOOTHNESS_IN_FORMAT_1 = "landscape"
"""What `SMOOTHNESS` was called then: its folder, and its key in `measured` of the manifest."""

STEP_QUANTILES = (0.05, 0.15, 0.50, 0.85, 0.95)
"""Quantiles kept of every step, in columns `QUANTILE_COLUMNS`."""

QUANTILE_COLUMNS = tuple(f"q{round(100 * q):02d}" for q in STEP_QUANTILES)


SEEN_BY_OLDER = "the version that recorded it saw modules only"
"""`Site.unseen` where a manifest has no such key."""

NOT_CALLED = "none of the first forwards of the model that compute gradients called it"
"""`Site.unseen` of what was not called while it was looked at what reads a site."""

WORDED_ANEW = {"no forward of the model that computes gradients called it": NOT_CALLED}
"""What `Site.unseen` says in manifests of older versions, and what is true: they looked at the first forwards alone."""

INITIAL_WEIGHTS, FINAL_WEIGHTS = "initial_weights", "final_weights"
"""Entries of the manifest: hashes of all parameters where the recording began and where it ended, null where they are
not followed (see `model/parameters.py`). Older runs have none, and those of saved models neither."""

OVERHEAD = "overhead_budget"
"""The entry of a run's settings that says which share of the training's time recording may take, if one was given."""

SHARES_INPUTS = "shares_inputs"
"""The entry of a run's settings that says that each process saw a share of the inputs in every window: then a window of
which one has written nothing is of other inputs than the others. Older runs have none."""

PROBE_FINGERPRINT = "probe_fingerprint"
"""The entry of a run's settings that is a hash of the probe's inputs."""

MOST_COUNTED = (1 << 31) - 1
"""Counts of blocks are kept in 32 bits: this says so many or more."""

NO_STEP = -1
"""The number of step rows that belong to a window but to no step of it: they go into no step series."""


@dataclass(frozen=True)
class Site:
    """A place in the model whose output is watched.

    `kept` are the recorded units where a site has more than the cap, else None; `in_steps` are those of them that the
    step series holds, None where it holds them all. `normalises` marks normalisation layers, `batch_statistics` those
    that use the batch's own mean and variance in training. `feeds` are the class names of the activation functions that
    read this output directly, called as modules or not, `others` the names of other operations that do. `unseen` says
    why there may be more; it is empty where all were seen. `follows` is the site whose output a normalisation layer
    reads.
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
    others: tuple[str, ...] = ()
    unseen: str = ""
    in_steps: tuple[int, ...] | None = None

    @property
    def recorded(self) -> int:
        """How many units are recorded."""
        return self.units if self.kept is None else len(self.kept)


@dataclass(frozen=True)
class Seen:
    """Which examples the forwards of a phase saw in a window.

    `examples` is their number, `hash` a sum of hashes (16 hexadecimal digits), one an example, so that their order does
    not matter. `rows` says what every example is made of: the names, types and shapes of its tensors. It is None where
    equal hashes still say that examples are the same, but different ones do not say that they differ: where examples
    came in several shapes (padded to the longest of a batch), or a row may not be an example.
    """

    examples: int
    hash: str
    rows: str | None


@dataclass(frozen=True)
class Window:
    """Consecutive steps summarised together; `closed` is False while it is still being recorded.

    A window in which no step ended, as of an evaluation alone, has a `last_step` before its `first_step`. It is
    `provisional` where the recorder chose its length and may join it with its neighbour (see `provisional.py`).

    `parameter_change` is the L2 norm of the change of all parameters since the end of the window before (of the first:
    since the start), None where it is not known. `inputs` is what forwards saw, by phase: None for a phase of which it
    is not known, and as a whole in runs that do not have it. `left_out` is of how many of the steps nothing was
    recorded, to keep the cost of recording within a budget.
    """

    index: int
    name: str
    first_step: int
    last_step: int
    closed: bool
    parameter_change: float | None = None
    inputs: Mapping[str, Seen | None] | None = None
    provisional: bool = False
    left_out: int = 0

    @property
    def steps(self) -> int:
        """How many steps there were, recorded ones and others."""
        return self.last_step - self.first_step + 1

    def seen(self, phase: str) -> Seen | None:
        """Returns which examples a phase saw, None where that is not known."""
        return None if self.inputs is None else self.inputs.get(phase)


def entry_of(window: Window) -> dict[str, Any]:
    """Returns what the file of a window holds of it; of steps that were left out only where any was."""
    entry = asdict(window)
    return entry if window.left_out else {name: value for name, value in entry.items() if name != "left_out"}


@dataclass(frozen=True, eq=False)
class StepRows:
    """What some steps of one site showed, in one phase: arrays [steps, units], and `steps` [steps] their numbers.

    `quantiles` [5, steps, units] are those of `STEP_QUANTILES`. Statistics are of the finite activations; of a unit
    that has none in a step they are NaN.
    """

    steps: Ints
    count: Ints
    nonfinite: Ints
    mean: Floats
    std: Floats
    min: Floats
    max: Floats
    zero_share: Floats
    quantiles: Floats


def kept_units(site: Site) -> Ints:
    """Returns the numbers of the recorded units of a site, in order."""
    return np.arange(site.units) if site.kept is None else np.array(site.kept)


def units_in_steps(site: Site) -> Ints:
    """Returns the numbers of the units of a site that are in the step series, in order."""
    return kept_units(site) if site.in_steps is None else np.array(site.in_steps)


def rank_in(name: str, pattern: re.Pattern[str]) -> int | None:
    """Returns the rank in the name of a file, or None where the name does not match the pattern."""
    matched = pattern.fullmatch(name)
    return None if matched is None else int(matched[1] or 0)


def of_ranks(folder: Path, pattern: re.Pattern[str], ranks: int) -> list[tuple[int, Path]]:
    """Returns ranks and files of a folder, in order, without those of ranks that the run does not count."""
    ranked = [(rank_in(file.name, pattern), file) for file in folder.glob("*")]
    return sorted((rank, file) for rank, file in ranked if rank is not None and rank < ranks)


def is_run(path: Path) -> bool:
    """Returns whether a directory holds a run, of this or any other format."""
    try:
        manifest = regular.parsed(regular.content(path / MANIFEST, MOST_BYTES))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and type(manifest.get("format")) is int
