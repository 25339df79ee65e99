"""Runs of which it is known how far every site went: every window is one sample of values, moved."""

import numpy as np

from icshift.runs.format import Site
from tests.recorded import distribution, probe
from tests.reports.shown import run_of

WINDOWS = 4
PLAIN = [Site("fc1", "Linear", 1, 4, feeds=("Sigmoid",)), Site("fc2", "Linear", 1, 4)]
NORMED = [
    Site("fc1", "Linear", 1, 4),
    Site("norm1", "BatchNorm1d", 1, 4, normalises=True, batch_statistics=True, feeds=("Sigmoid",), follows="fc1"),
    Site("fc2", "Linear", 1, 4),
]


def trained(path, drifts, *, sites=PLAIN, windows=WINDOWS, phases=("probe",)):
    """A run in which every unit of a site moves by so much from window to window: drifts maps names of sites to it."""
    values = np.round(np.random.default_rng(3).normal(size=(4, 200)) * 1024) / 1024
    kinds = {"probe": probe, "train": distribution}
    return run_of(
        path,
        [
            {
                (phase, site.name): kinds[phase](values + drifts[site.name] * window, dtype=np.float64)
                for phase in phases
                for site in sites
            }
            for window in range(windows)
        ],
        sites=sites,
    )


def group(folder, name, drifts, **options):
    """Runs of one group, in which site s of run i moves by drifts[s][i]."""
    runs = len(next(iter(drifts.values())))
    return [
        trained(folder / f"{name}{run}", {site: of_runs[run] for site, of_runs in drifts.items()}, **options)
        for run in range(runs)
    ]
