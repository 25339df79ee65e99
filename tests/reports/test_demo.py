"""What the demo shows of its networks and of the comparison of their trainings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from icshift.replicates.compare import compare
from icshift.reports.comparison_verdict import ratio
from icshift.reports.demo import Made, Trained, demo_report, headline, networks_report
from icshift.runs.reader import StoredRun
from tests.replicates.trainings import NORMED, group
from tests.reports.shown import shown, words

PLAIN = {"fc1": np.array([0.2, 0.25, 0.22, 0.3, 0.21]), "fc2": np.array([0.5, 0.4, 0.6, 0.5, 0.55])}
NORM = PLAIN | {"norm1": PLAIN["fc1"] / 2}


@pytest.fixture(scope="module")
def of_demo(tmp_path_factory):
    """Two networks, five trainings of each, and their comparison."""
    folder = tmp_path_factory.mktemp("demo")
    runs = [group(folder, "plain", PLAIN), group(folder, "batch-norm", NORM, sites=NORMED)]
    steps = pd.DataFrame({"site": "fc1", "unit": 2, "step": range(40), "count": 64})
    steps = steps.assign(q15=-1.0, q50=0.0, q85=1.0)
    networks = [
        Trained(StoredRun(first.path), (0.9, 0.8, 0.85, 0.7, 0.95), steps, (1.25, 0.5, 0.75)) for first, *_ in runs
    ]
    return networks, compare(*runs)


def test_it_fits_and_ends_with_the_comparison_and_its_limits(of_demo):
    report = networks_report(*of_demo)
    assert max(map(len, shown(report))) <= 80
    said = words(report)
    assert "plain0 accuracy on 397 digits 0.900, 0.800, 0.850, 0.700, 0.950" in said
    assert "fc1, seed 1: a unit's median wandered 1.25, its sd went 0.50 to 0.75" in said
    assert "A is plain0, B is batch-norm0, 5 seeds, the same of both. Path by role, probe: A went 1." in said
    assert said.index("accuracy") < said.index("Path by role") < said.index("A / B over all sites")
    assert said.endswith("and not whether that is why batch norm trains better.")


def test_the_headline_says_first_what_all_seeds_say(of_demo):
    networks, compared = of_demo
    row = compared.ratios.query("site_a == '' and by == 'role' and metric == 'w1_sd' and span == 'path'").iloc[0]
    assert row["low"] > 1
    first = words(networks_report(networks, compared)).partition(".  ")[0]
    assert first.startswith(
        f"Without batch norm the inputs of the next layers went {ratio(row['ratio'])} times as far on the same inputs "
        "in every window as with it, over 5 seeds. Whether that is why"
    )


def test_the_headline_of_few_seeds_is_of_one_training_and_says_so(of_demo):
    networks, _ = of_demo
    two = [replace(network, accuracies=(0.9, 0.8)) for network in networks]
    runs = [[StoredRun(network.run.path)] for network in networks]
    said = headline(two, compare(*runs))
    assert said.startswith("In one training the median of a typical input of the last hidden sigmoids wandered 1.25")
    assert "2 seeds of each network say nothing of the method" in said


def test_it_says_where_everything_is_and_ends_with_the_page(of_demo):
    networks, compared = of_demo
    named = {"table": "drift.csv", "saved": "saved", "inputs": "probe.npz", "targets": "train.npz", "page": "page.html"}
    report = demo_report(networks, compared, Made(**{what: Path(name) for what, name in named.items()}))
    paths = [network.run.path for network in networks]
    folder = paths[0].parent
    first, second = (" ".join(f"{folder / name}{i}" for i in range(5)) for name in ("plain", "batch-norm"))
    assert shown(report)[-3:] == [
        f"Runs {paths[0]} and {paths[1]}, drift of every unit in drift.csv",
        "Saved models in saved, inputs for these in probe.npz, with targets in train.npz",
        f"Every site and window: icshift compare {first} --with {second}",
    ]
    assert report.next_step.startswith("Next: open page.html in a browser")
