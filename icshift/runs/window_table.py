"""The table of one window, as its file has it: all phases and sites in one go, one column at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from icshift.blocks import Blocks, no_blocks
from icshift.distribution import Distribution
from icshift.runs import planes
from icshift.runs.arrow_arrays import binaries, lists, numbers, words
from icshift.runs.format import MOST_COUNTED, PHASES, Site, kept_units

_MOMENTS = ("count", "nonfinite", "mean", "std", "min", "max", "zero_share", "sampled", "w1_error")

MAY_LACK = ("block_slices", "block_sampled", "block_zeros", "block_steps")
"""Columns that a row may have nothing in: those of blocks, which a probe has none of."""

GROUP = 256
"""Rows of a site that has a row group of its own, or of several together: each group takes 2 kB, and some 0.3 ms."""


def window_table(index: int, distributions: Mapping[tuple[str, Site], Distribution]) -> pa.Table:
    """Returns the rows of a window of this number: `distributions` by phase and site, at least one."""
    sites, parts = [site for _, site in distributions], list(distributions.values())
    rows = [part.units for part in parts]
    columns = {
        "phase": words([phase for phase, _ in distributions], rows),
        "site": words([site.name for site in sites], rows),
        "unit": numbers(np.concatenate([kept_units(site) for site in sites]).astype(np.int32)),
        "window": numbers(np.full(sum(rows), index, np.int32)),
    }
    columns |= {name: numbers(np.concatenate([getattr(part, name) for part in parts])) for name in _MOMENTS}
    columns["rank_error"] = numbers(np.repeat([part.rank_error for part in parts], rows).astype(float))
    columns["values"] = lists(_together([part.values for part in parts]))
    columns |= _blocks(parts, rows)
    columns["paired_values"] = lists(_together([_or_empty(part.examples, part) for part in parts]))
    tails = [planes.split(some) for some in _together([_or_empty(part.tails, part) for part in parts])]
    columns["tail_values"] = binaries(tails, np.zeros(sum(rows), bool))
    phases = json.dumps(list(dict.fromkeys(phase for phase, _ in distributions)))
    fields = [pa.field(name, column.type, nullable=name in MAY_LACK) for name, column in columns.items()]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields, {PHASES: phases}))


def row_groups(table: pa.Table) -> list[int]:
    """Returns how many rows each row group of the table of a window has.

    A group begins with a site in a phase, so that whoever asks for a site need not read all; small sites share one. A
    rest at the end goes with what is before it, unless that is a large site.
    """
    changes = np.zeros(max(len(table) - 1, 0), bool)
    for name in ("phase", "site"):
        places = table[name].combine_chunks().dictionary_encode().indices
        # `to_numpy` would import pandas.
        changes |= np.diff(np.frombuffer(places.buffers()[1], np.int32, len(places))) != 0
    groups, rows = [], 0
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(table)]
    for size in np.diff(edges).tolist():
        if rows >= GROUP or (rows and size >= GROUP):
            groups.append(rows)
            rows = 0
        rows += size
    if groups and rows < GROUP and groups[-1] < 2 * GROUP:
        rows += groups.pop()
    return [*groups, rows]


def _together(parts: Iterable[NDArray[Any]]) -> list[NDArray[Any]]:
    """Neighbours of one width and type as one array each: so there is less to do where sites are many and small."""
    alike = [list(some) for _, some in groupby(parts, key=lambda part: (part.shape[1:], part.dtype))]
    return [some[0] if len(some) == 1 else np.concatenate(some) for some in alike]


def _or_empty(values: NDArray[Any] | None, part: Distribution) -> NDArray[Any]:
    return np.empty((part.units, 0), part.values.dtype) if values is None else values


def _blocks(parts: Sequence[Distribution], rows: Sequence[int]) -> dict[str, pa.ChunkedArray]:
    absent = np.repeat([part.blocks is None for part in parts], rows)
    kept = [no_blocks(part.units) if part.blocks is None else part.blocks for part in parts]
    return {
        "block_slices": binaries([planes.split(some) for some in _together(map(_side_by_side, kept))], absent),
        "block_sampled": binaries([_whole(some) for some in _together(b.sampled for b in kept)], absent),
        "block_zeros": binaries([_whole(some) for some in _together(b.zeros for b in kept)], absent),
        "block_steps": binaries([_whole(some) for some in _together(map(_steps, kept))], absent),
    }


def _side_by_side(blocks: Blocks) -> NDArray[Any]:
    return blocks.slices.reshape(len(blocks.sampled), -1) if len(blocks) else np.empty((len(blocks.sampled), 0), "<f4")


def _whole(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    if not numbers.size:
        return np.empty((len(numbers), 0), np.uint8)
    return np.ascontiguousarray(np.minimum(numbers, MOST_COUNTED), "<i4").view(np.uint8)


def _steps(blocks: Blocks) -> NDArray[Any]:
    return np.broadcast_to(blocks.steps, blocks.sampled.shape)
