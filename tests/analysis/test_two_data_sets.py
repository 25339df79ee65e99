"""One model on two data sets: verdicts, ratios, limits and tables, of given distributions and not of a model."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest

import icshift
from icshift.analysis.drift import COLUMNS
from icshift.analysis.two_data_sets import (
    SITE_COLUMNS,
    LayerDistances,
    compare,
    layer_table,
    shifts,
    site_table,
    unit_table,
)
from icshift.errors import SelectionError
from icshift.runs.format import Site
from icshift.runs.phases import DATA, REFERENCE
from tests.analysis.test_noise_of_parts import parts
from tests.recorded import distribution, site, write_run

UNITS = 10
SITES = [
    Site("(input)", "Input", 1, UNITS),
    site("grows", UNITS),
    site("quiet", UNITS),
    Site("norm", "BatchNorm1d", 1, UNITS, follows="grows"),
    site("partly", UNITS),
    site("aside", UNITS),
]
SHIFTS = {"(input)": 0.5, "grows": 1.0, "quiet": 0.0, "norm": 0.5, "partly": 0.0}


def values(name, phase):
    """[units, n]: standard normal in the reference, moved by the site's shift in the data; of `partly` unit 3 alone."""
    random = np.random.default_rng([sorted(SHIFTS).index(name), phase == DATA])
    drawn = random.normal(size=(UNITS, 600))
    if phase == DATA:
        drawn += SHIFTS[name]
        drawn[3] += 2.0 * (name == "partly")
    return drawn


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    window = {(phase, name): distribution(values(name, phase)) for phase in (REFERENCE, DATA) for name in SHIFTS}
    window[REFERENCE, "aside"] = distribution(values("quiet", REFERENCE))
    return icshift.open(write_run(tmp_path_factory.mktemp("two") / "run", [window], names=["model"], sites=SITES))


PARTS = {(phase, name): parts(values(name, phase)) for phase in (REFERENCE, DATA) for name in SHIFTS}


@dataclass(frozen=True)
class Statistics:
    """Of a layer with eps 0: mean and variance as running, in the reference (and precise) and in the data."""

    name: str = "norm"
    eps: float = 0.0
    running: tuple = (np.zeros(4), np.ones(4), 1)
    reference: list = field(default_factory=lambda: [(np.zeros(4), np.ones(4), 300)] * 2)
    data: list = field(default_factory=lambda: [(np.full(4, 0.5), np.ones(4), 300)] * 2)
    precise: list = field(default_factory=lambda: [(np.zeros(4), np.ones(4), 300)] * 2)


def told(run, **options):
    asked = {"metric_name": "w1_sd", "sites": None} | options
    return compare(run, PARTS, options.pop("statistics", [Statistics()]), **asked)


@pytest.fixture(scope="module")
def sites(run):
    return told(run).sites.set_index("site")


def test_a_site_is_shifted_where_noise_would_not_do_so(sites):
    known = sites.drop("aside")
    assert known["shifted"].astype(bool).to_dict() == {name: name != "quiet" for name in SHIFTS}
    assert known["moved"].to_dict() == {"(input)": 1, "grows": 1, "quiet": 0, "norm": 1, "partly": 0.1}
    assert (known["p"] <= 0.01).tolist() == known["shifted"].tolist()
    assert known["n"].tolist() == [600] * 5


def test_a_shift_is_compared_with_the_input_and_with_the_site_that_is_read(sites):
    assert sites["before"].fillna("").to_dict() == {
        "(input)": "", "grows": "(input)", "quiet": "grows", "norm": "grows", "partly": "norm", "aside": ""
    }  # fmt: skip
    assert sites["change"]["grows"] == sites["relative"]["grows"] == pytest.approx(2, rel=0.1)
    assert sites["change"]["norm"] == pytest.approx(0.5, rel=0.1)
    assert sites["relative"]["norm"] == pytest.approx(1, rel=0.1)
    assert np.isnan([sites["change"]["quiet"], sites["relative"]["quiet"]]).all()


def test_verdicts(sites):
    verdicts, change = sites["verdict"], sites["change"]
    assert verdicts["(input)"] == f"shifted: 100 % of units, {sites['drift']['(input)']:.2f} sd"
    assert verdicts["grows"].endswith(f"; amplifies: {change['grows']:.2f}x the input")
    assert verdicts["quiet"] == "no shift beyond noise"
    assert verdicts["norm"].endswith(f"; absorbs: {change['norm']:.2f}x grows's")
    assert verdicts["partly"].startswith("shifted: 10 % of units, up to ")
    assert verdicts["aside"] == "not measured: only one data set reaches it"


def test_what_too_few_examples_leave_open_is_said(run):
    few = {key: part[:1] for key, part in PARTS.items()}
    result = compare(run, few, [], metric_name="w1_sd", sites=None)
    assert set(result.sites.set_index("site")["verdict"][list(SHIFTS)]) == {"not known: too few examples to tell noise"}
    assert result.sites[["shifted", "moved", "moved_untold"]].isna().all(axis=None)
    assert result.units["moved"].isna().all()


def test_what_is_not_known_of_units_without_finite_values_is_not_said_to_stay(run):
    random = np.random.default_rng(1)
    drawn = {phase: random.normal(size=(UNITS, 600)) for phase in (REFERENCE, DATA)}
    drawn[DATA][:4] += 1.0
    drawn[DATA][8:] = np.nan
    sites = [Site("fc", "Linear", 1, UNITS)]
    one = {(phase, "fc"): distribution(of) for phase, of in drawn.items()}
    two = icshift.open(write_run(run.path.parent / "lost", [one], names=["model"], sites=sites))
    dealt = {(phase, "fc"): parts(of) for phase, of in drawn.items()}
    found = compare(two, dealt, [], metric_name="w1_sd", sites=None)
    assert found.sites[["moved", "moved_untold"]].values.tolist() == [[0.4, 2]]
    assert found.units["moved"].tolist() == [True] * 4 + [False] * 4 + [pd.NA] * 2


def test_globs_choose_what_is_shown_and_change_nothing_of_it(run, sites):
    shown = told(run, sites=["g*", "norm"])
    assert tuple(shown.sites.columns) == SITE_COLUMNS
    assert shown.sites["site"].tolist() == ["grows", "norm"]
    assert shown.sites["change"].tolist() == sites["change"][["grows", "norm"]].tolist()
    assert set(shown.units["site"]) == {"grows", "norm"}
    with pytest.raises(SelectionError, match="no site 'grow'; did you mean grows"):
        told(run, sites=["grow"])


def test_other_metrics_judge_by_the_same_noise(run):
    found = told(run, metric_name="ks").sites.set_index("site")
    assert found["shifted"].drop("aside").astype(bool).to_dict() == {name: name != "quiet" for name in SHIFTS}
    assert found["drift"]["grows"] == pytest.approx(0.38, abs=0.03)
    assert " sd" not in found["verdict"]["grows"]
    with pytest.raises(SelectionError, match="data sets are of different ones"):
        shifts(run, PARTS, metric_name="cka_distance")


def test_units_have_the_columns_of_every_export(run):
    found = shifts(run, PARTS)
    table = unit_table(run, found, metric_name="w1_sd", sites=None)
    assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS
    assert table["site"].unique().tolist() == list(SHIFTS)
    partly = table[table["site"] == "partly"]
    assert partly["moved"].tolist() == [unit == 3 for unit in range(UNITS)]
    np.testing.assert_allclose(partly["ratio"], partly["value"].abs() / partly["floor"])
    np.testing.assert_array_equal(partly["floor"], found["partly"].noise.floor)


def test_layers_are_compared_with_both_data_sets():
    fresh = LayerDistances.of(Statistics())
    assert (fresh.reference.value, fresh.data.value, fresh.staleness.value) == (0, 0.5, 0)
    assert not fresh.stale
    old = LayerDistances.of(Statistics(running=(np.full(4, 0.2), np.ones(4), 1)))
    assert old.staleness.value == pytest.approx(0.2)
    assert old.stale
    table = layer_table([fresh, old])
    assert table["data"].tolist() == pytest.approx([0.5, 0.3])
    assert table["stale"].tolist() == [False, True]
    assert table["staleness_n"].tolist() == [600, 600]


def test_stale_statistics_are_in_the_verdict_of_their_layer(run):
    stale = {"norm": LayerDistances.of(Statistics(running=(np.full(4, 0.2), np.ones(4), 1)))}
    verdicts = site_table(run, shifts(run, PARTS), stale).set_index("site")["verdict"]
    assert verdicts["norm"].endswith("; running statistics stale: 0.20 sd from those of the reference data")
    assert verdicts.str.contains("stale").sum() == 1
