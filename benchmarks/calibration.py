"""How often a report is wrong, and what it finds: the trials of `tests/calibration` in larger numbers.

    python -m benchmarks.calibration [TRIALS]

Every row of the first table is a frozen network, or all five together: of so many reports, the share that shows that
anything moved (its standard error is binomial) and the share that says that nothing can be told. It should be at most
5 % of the former; where steps depend on each other, of all the latter. The second table is of layers of 40 units that
moved: the share of the sites and of the units that moved which is found, and of wrong ones among the units found.
`calibration.md` holds the last results, as this prints them.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from tests.calibration.cases import DEPENDENT, FROZEN, HOPELESS, Case
from tests.calibration.dense import SHIFTS, Shift
from tests.calibration.networks import NETWORKS
from tests.calibration.trials import Tally


def main() -> None:
    torch.set_num_threads(1)
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print(row("frozen network", "reports", "show anything", "unknown", *NETWORKS))
    print("|---|---|---|---|" + "---|" * len(NETWORKS))
    for case in (*FROZEN, *DEPENDENT, *HOPELESS):
        print(row_of_frozen(case, trials), flush=True)
    print("\n" + row("moved", "reports", "sites found", "units found", "wrong units", "unknown or none"))
    print("|---|---|---|---|---|---|")
    for shift in SHIFTS:
        print(row_of_moved(shift, trials), flush=True)


def row_of_frozen(case: Case, trials: int) -> str:
    """All networks together, and the share that shows anything of each."""
    tallies = []
    for kind in NETWORKS:
        tally = Tally()
        for trial in range(trials):
            tally.add(case.trial(kind, trial))
        tallies.append(tally)
    total = sum(tally.trials for tally in tallies)
    called, unknown = (sum(getattr(tally, name) for tally in tallies) / total for name in ("called", "unknown"))
    each = [f"{tally.called / tally.trials:.2f}" for tally in tallies]
    return row(case.name, str(total), shown(called, np.sqrt(called * (1 - called) / total)), f"{unknown:.2f}", *each)


def row_of_moved(shift: Shift, trials: int) -> str:
    found = np.array([shift.trial(trial) for trial in range(trials)])
    errors = found.std(0) / np.sqrt(trials)
    means = [shown(mean, error) for mean, error in zip(found.mean(0), errors, strict=True)]
    return row(shift.name, str(trials), *means, f"{np.mean(found[:, 0] == 0):.2f}")


def shown(mean: float, error: float) -> str:
    return f"{mean:.3f} ± {error:.3f}"


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
