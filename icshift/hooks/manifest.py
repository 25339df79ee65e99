"""Entries of a run's manifest about the model and its sites."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from icshift._version import __version__
from icshift.hooks.attachment import Attachment
from icshift.hooks.coverage import Coverage
from icshift.hooks.neighbours import Neighbours
from icshift.hooks.observer import Observer
from icshift.kernel_choice import in_use
from icshift.model.names import parameters
from icshift.model.sites import type_name
from icshift.runs.format import NOT_CALLED, Site


def beginning(model: nn.Module, settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the entries that are known before the first step; `settings` are the choices of whoever records."""
    return {
        "icshift": __version__,
        "torch": torch.__version__,
        "kernel": in_use(),
        "python": platform.python_version(),
        "model": type_name(model),
        "parameters": _count(model),
        "settings": settings,
        "sites": [],
        "ledger": [],
        "steps": 0,
    }


def seen(
    model: nn.Module, observer: Observer, coverage: Coverage, attachment: Attachment, neighbours: Neighbours
) -> dict[str, Any]:
    """Returns the entries about what was seen so far: the sites, and what became of every module."""
    return {
        "parameters": _count(model),
        "sites": _site_table(observer.sites, coverage.owners, attachment.watched, neighbours),
        "ledger": coverage.ledger(model, attachment, observer),
    }


def _count(model: nn.Module) -> int:
    """How many numbers the parameters are that have a shape by now."""
    return sum(p.numel() for p in parameters(model) if not nn.parameter.is_lazy(p))


def _site_table(
    sites: Mapping[str, Site], owners: Mapping[str, str], watched: Mapping[str, nn.Module], neighbours: Neighbours
) -> list[dict[str, Any]]:
    """Returns an entry a site, with what reads its output and what its input is.

    `owners` are the names of the modules that returned the sites' tensors, by site.
    """
    followed = {id(module): site for module, site in neighbours.followed.items()}
    return [
        asdict(
            replace(
                site,
                feeds=tuple(neighbours.feeds.get(name, ())),
                others=neighbours.others.get(name, ()),
                # The inputs of a model, which no module returned, are no site that could be dead.
                unseen=neighbours.unseen.get(name, NOT_CALLED) if name in owners else "",
                follows=followed.get(id(watched.get(owners.get(name, name)))),
            )
        )
        for name, site in sites.items()
    ]
