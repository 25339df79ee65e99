"""Distributions, step rows and runs of given values, by way of the real accumulator and recording."""

import json
from copy import deepcopy
from dataclasses import asdict, replace
from functools import lru_cache

import numpy as np
import pyarrow.parquet as pq
import torch

from icshift.distribution import EXAMPLES
from icshift.runs.compacted import Compacted, source
from icshift.runs.compaction import Compaction
from icshift.runs.format import Site, StepRows, Window
from icshift.runs.owner import manifest_name
from icshift.runs.parts import parts_in
from icshift.runs.sealed import CHECKSUMS
from icshift.runs.writer import Recording
from icshift.sketch.accumulator import Accumulator
from icshift.sketch.ended import distribution_of
from icshift.sketch.workspace import Workspace
from tests.zoo.distributions import draw


def accumulator(units, *, samples=np.inf, dtype=np.float32, blocks=True, sink=None):
    return Accumulator(units, samples, dtype, lambda: np.random.default_rng(5), Workspace(), blocks=blocks, sink=sink)


def observe(accumulator, values, moments=None):
    """One forward that gave values [units, n]."""
    dtype = accumulator._dtype
    accumulator.observe(torch.from_numpy(np.array(values.T, dtype, order="C")), moments)


def distribution(values, *, steps=8, dtype=np.float32, blocks=True):
    """The distribution of values [units, n], fed in `steps` steps of almost equal size."""
    whole = accumulator(len(values), dtype=dtype, blocks=blocks)
    for number, part in enumerate(np.array_split(values, steps, axis=1)):
        if part.shape[1]:
            observe(whole, part)
            whole.tick(number)
    return distribution_of(whole.ended())


def probe(values, *, dtype=np.float32):
    """The distribution of values [units, n] as of a probe, whose first rows are kept one by one."""
    return replace(distribution(values, blocks=False, dtype=dtype), examples=np.array(values[:, :EXAMPLES], dtype))


@lru_cache(maxsize=256)
def of_zoo(name, n, units=3, seed=0, dtype=np.float32):
    """The distribution of `draw(name, n, units, seed)`."""
    return distribution(draw(name, n, units, seed), dtype=dtype)


def step_rows(values_of_steps, **options):
    """Step rows in order of steps; each step is a list of forwards [units, n]."""
    found = []
    one = accumulator(len(values_of_steps[0][0]), sink=lambda rows: found.append(deepcopy(rows)), **options)
    for number, forwards in enumerate(values_of_steps):
        for values in forwards:
            observe(one, values)
        one.tick(number)
    distribution_of(one.ended())
    return joined(found)


def joined(found):
    steps = np.concatenate([rows.steps for rows in found])
    order = np.argsort(steps, kind="stable")
    columns = {
        name: np.concatenate([getattr(rows, name) for rows in found])[order]
        for name in ("count", "nonfinite", "mean", "std", "min", "max", "zero_share")
    }
    quantiles = np.concatenate([rows.quantiles for rows in found], axis=1)[:, order]
    return StepRows(steps=steps[order], quantiles=quantiles, **columns)


def site(name, units=3, **rest):
    return Site(name, "Linear", 1, units, **rest)


def change_manifest(file, without=(), **changes):
    """Other entries in a manifest, as somebody gives them who leaves its checksum out."""
    entries = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in entries.items() if key not in ("checksum", *without)}))


def change_table(file, change, metadata=None):
    """The rows of a Parquet file as `change` makes them, without checksums; with its own `metadata`, or other."""
    table = pq.read_table(file, partitioning=None)
    kept = {key: value for key, value in table.schema.metadata.items() if key != CHECKSUMS}
    pq.write_table(change(table).replace_schema_metadata(kept if metadata is None else metadata), file)


def write_run(path, windows, *, names=None, sites=None, rank=0, ranks=1):
    """A finished run of windows, each a mapping of (phase, site name) to a distribution; gives its path."""
    found = {name: one.units for window in windows for (_, name), one in window.items()}
    sites = [site(name, units) for name, units in found.items()] if sites is None else sites
    by_name = {one.name: one for one in sites}
    recording = Recording(path, {"sites": [asdict(one) for one in sites]}, rank=rank, ranks=ranks)
    for number, distributions in enumerate(windows):
        name = names[number] if names else str(number + 1)
        window = Window(number + 1, name, 10 * number, 10 * number + 9, closed=True)
        keyed = {(phase, by_name[name]): one for (phase, name), one in distributions.items()}
        recording.write_window(window, keyed)
    recording.finish({})
    return path


def put_together(path, few=1):
    """The files of a run put into one a folder and process, but the last ones, as a recorder does with many."""
    for folder in sorted(one for one in path.iterdir() if one.is_dir()):
        parts = parts_in(folder, 1 << 20)
        for rank in {part.rank for part in parts}:
            sources = [source(part) for part in parts if part.rank == rank][: -few or None]
            alike = [one for one in sources if one.schema.equals(sources[0].schema)]
            if len(alike) > 1 and alike == sources[: len(alike)]:
                run_id = json.loads((path / manifest_name(rank)).read_text()).get("id", "")
                one = Compacted(alike, run_id, told_apart=True)
                assert one.go_on(1 << 40)
                Compaction(run_id, lambda: None, lambda _: None, told_apart=True).put(one)
    for manifest in path.glob("run*.json"):
        if "files" in (entries := json.loads(manifest.read_text())):
            rank = int(manifest.stem.partition("rank")[2] or 0)
            there = {
                name: sum(part.rank == rank for part in parts_in(path / name, rank + 1)) for name in entries["files"]
            }
            change_manifest(manifest, files={**there, "windows": entries["files"]["windows"]})
    return path
