"""How often a site is said to have left the band of its past although nothing changed.

    python -m benchmarks.onset [RUNS]

The first table is of sites whose series have nothing in common, so that each is a new chance to be wrong: of so many
runs, the share that shows any site, in % (its standard error is binomial). The second is of frozen networks of five
kinds on the streams of `tests/calibration`, whose sites see the same data. It should be at most some 5 %. A random walk
has no past to come back to: it is measured, and no promise.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from tests.calibration.networks import NETWORKS, network
from tests.calibration.test_onset import SETTINGS, STANDING, STREAMS, left, left_at, standing
from tests.calibration.trials import random_of


def main() -> None:
    torch.set_num_threads(1)
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print("| series, 300 steps | " + " | ".join(f"{sites} sites" for sites in (1, 5, 20, 60)) + " |")
    print("|---|---|---|---|---|")
    for kind in (*STANDING, "random walk"):
        print(f"| {kind} | " + " | ".join(shown(alone(kind, sites, runs), runs) for sites in (1, 5, 20, 60)) + " |")
    print("\n| frozen network | " + " | ".join(f"{steps} steps of {n}" for steps, n in SETTINGS) + " |")
    print("|---|---|---|")
    for stream in STREAMS:
        cells = [shown(frozen(stream, setting, runs), runs * len(NETWORKS)) for setting in SETTINGS]
        print(f"| {stream} | " + " | ".join(cells) + " |", flush=True)


def alone(kind: str, sites: int, runs: int) -> float:
    random = random_of(f"onset benchmark {kind}", sites)
    wrong = 0
    for _ in range(runs):
        if kind == "random walk":
            series = np.cumsum(random.normal(size=(sites, 300)), axis=1)
        else:
            series = standing(kind, random, (sites, 300))
        # The scale of a series does not matter to a band, but 10 % of an sd would.
        wrong += any(left_at(one, sites) is not None for one in series)
    return wrong / runs


def frozen(stream: str, setting: tuple[int, int], runs: int) -> float:
    lengths, examples = setting
    wrong = 0
    for kind in NETWORKS:
        for trial in range(runs):
            given = random_of(f"onset benchmark {stream} {kind}", trial)
            wrong += bool(left(network(kind, trial), STREAMS[stream](given, (lengths,), (examples,))[0]))
    return wrong / (runs * len(NETWORKS))


def shown(share: float, trials: int) -> str:
    return f"{100 * share:.1f} ± {100 * np.sqrt(share * (1 - share) / trials):.1f}"


if __name__ == "__main__":
    main()
