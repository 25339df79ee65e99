"""Runs of which it is known how far every site went: every window is a sample of values, moved."""

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
    """A run in which every unit of a site moves by so much from window to window: drifts maps names of sites to it.

    A probe has the same sample in every window; the stream a new one, so that it goes farther, by sampling noise.
    """
    return run_of(
        path,
        [
            {
                (phase, site.name): kind(sample(seed) + drifts[site.name] * window, dtype=np.float64)
                for phase, kind, seed in (("probe", probe, 3), ("train", distribution, [4, window]))
                for site in sites
                if phase in phases
            }
            for window in range(windows)
        ],
        sites=sites,
    )


def sample(seed):
    return np.round(np.random.default_rng(seed).normal(size=(4, 200)) * 1024) / 1024


def group(folder, name, drifts, **options):
    """Runs of one group, in which site s of run i moves by drifts[s][i]."""
    runs = len(next(iter(drifts.values())))
    return [
        trained(folder / f"{name}{run}", {site: of_runs[run] for site, of_runs in drifts.items()}, **options)
        for run in range(runs)
    ]
