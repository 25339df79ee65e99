"""What is shown of two runs whose units have no order in common."""

import numpy as np
import pandas as pd

from icshift.analysis.unordered import COLUMNS, MEASURES
from icshift.reports.unordered import unordered_report
from tests.recorded import of_zoo, site
from tests.reports.shown import run_of, shown, words


def measured(**values):
    rows = [
        ("run", "probe", name, -1, window, "run:other", metric, values.get(metric, np.nan), 50, 8, there)
        for name, there in (("fc1", 8), ("fc2", 12))
        for window in (1, 2)
        for metric in MEASURES
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def report(tmp_path, caveats=(), **values):
    kept = {("probe", "fc1"): of_zoo("normal", 50)}
    run = run_of(tmp_path / "run", [kept, kept], sites=[site("fc1")])
    return unordered_report(run, measured(**values), caveats)


def test_a_row_a_site_with_what_is_known(tmp_path):
    found = report(tmp_path, unit_means=0.25, unit_sds=0.125, unit_zeros=0.5)
    lines = shown(found)
    assert "window 2 against run:other, without an order of units" in words(found)
    header = next(line for line in lines if line.lstrip().startswith("site"))
    assert header.split() == ["site", "units", "means", "sds", "zeros"]
    assert "fc1 8 0.250 0.125 0.500" in words(found)
    assert "fc2 8, there 12 0.250" in words(found)
    assert "CKA" not in words(found)
    assert all(len(line) <= 80 for line in lines if "Next" not in line and "against" not in line)


def test_measures_of_the_same_examples_where_there_are_some(tmp_path):
    found = report(tmp_path, caveats=["Mind this."], matched_w2=1.5, cka_distance=0.75)
    assert "site units matched W2 1 - CKA" in words(found)
    assert "fc1 8 1.500 0.750" in words(found)
    assert "of the same 50 examples" in words(found)
    assert "Mind this." in words(found)
    assert "No floor" in words(found)
    [first, _] = found.data["sites"]
    assert (first["site"], first["cka_distance"], first["n"], found.data["unordered"]) == ("fc1", 0.75, 50, True)
