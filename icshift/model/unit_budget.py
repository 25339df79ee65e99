"""How many units a site may have, so that those of all sites together stay within a bound: known before a forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from icshift.model.sites import Sites, choose_sites
from icshift.notice import notice

_NAMED_SO = (
    "out_features",
    "out_channels",
    "num_features",
    "num_channels",
    "embedding_dim",
    "embed_dim",
    "hidden_size",
)
"""Attributes of layers that say how many units their output has."""


def lowered(model: nn.Module, sites: Sites) -> Sites:
    """Returns what was chosen with `max_units` so low that all sites together have at most `max_total_units`.

    It is the same for all, so that sites with few units keep them. Modules of which nobody knows how many units they
    have count with `max_units`, and every module as if it was called once: what goes beyond that, the observer bounds
    as it comes. A notice says so where it lowers any.
    """
    expected = [units_of(module) or sites.max_units for module in choose_sites(model, sites).values()]
    cap = even_cap(expected, sites.max_units, sites.max_total_units)
    if cap == sites.max_units or not any(units > cap for units in expected):
        return sites
    total = sum(min(units, sites.max_units) for units in expected)
    notice(
        f"icshift records at most {cap:,} units a site, drawn at random: with {sites.max_units:,} the "
        f"{len(expected):,} sites of {type(model).__name__} would have {total:,}, more than max_total_units = "
        f"{sites.max_total_units:,} of Sites; choose fewer sites or raise it"
    )
    return replace(sites, max_units=cap)


def even_cap(units: Sequence[int], most: int, total: int) -> int:
    """Returns the largest cap, at most `most` and at least 1, under which these units are at most `total` together.

    >>> even_cap([10, 100, 100], most=1024, total=150), even_cap([10, 100, 100], most=50, total=1000)
    (70, 50)
    """
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(one, middle) for one in units) <= total:
            low = middle
        else:
            high = middle - 1
    return low


def units_of(module: nn.Module) -> int | None:
    """Returns how many units the output of a module has, as far as the module says so.

    >>> units_of(nn.Linear(3, 5)), units_of(nn.LayerNorm(7)), units_of(nn.LSTM(3, 4, bidirectional=True))
    (5, 7, 8)
    """
    if isinstance(module, nn.RNNBase):
        return (module.proj_size or module.hidden_size) * (1 + module.bidirectional)
    shape = getattr(module, "normalized_shape", None)
    found = (
        [shape[-1]] if isinstance(shape, (tuple, list)) and shape else [getattr(module, name, 0) for name in _NAMED_SO]
    )
    return next((value for value in found if isinstance(value, int) and value > 0), None)
