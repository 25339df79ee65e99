"""The table of ratios, of runs in which every site goes a way that is known."""

import numpy as np
import pytest

from icshift.replicates.compare import compare
from icshift.replicates.inference import Design, evidence
from icshift.replicates.ratios import COLUMNS, ratios
from tests.replicates.trainings import NORMED, PLAIN, group

A = {"fc1": np.array([0.2, 0.25, 0.22, 0.3, 0.21]), "fc2": np.array([0.5, 0.4, 0.6, 0.5, 0.55])}
B = {
    "fc1": np.array([0.1, 0.15, 0.1, 0.12, 0.11]),
    "norm1": np.array([0.01, 0.02, 0.02, 0.03, 0.01]),
    "fc2": np.array([0.45, 0.5, 0.5, 0.52, 0.6]),
}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return compare(group(folder, "a", A), group(folder, "b", B, sites=NORMED))


def rows(compared, **where):
    table = compared.ratios
    for column, value in ({"metric": "w1"} | where).items():
        table = table[table[column] == value]
    return table


@pytest.mark.some(1)
@pytest.mark.parametrize("span", ["path", "last"])
def test_pairs_by_role_are_tested_together(span, compared):
    found = rows(compared, span=span, by="role").iloc[:-1]
    assert list(zip(found["site_a"], found["site_b"], strict=True)) == [("fc1", "norm1"), ("fc2", "fc2")]
    expected = evidence(Design(5, 5), np.stack([A["fc1"], A["fc2"]]), np.stack([B["norm1"], B["fc2"]]))
    for column, values in vars(expected).items():
        np.testing.assert_allclose(found["p_adjusted" if column == "adjusted" else column], values, rtol=1e-6)
    times = 3 if span == "path" else 1
    np.testing.assert_allclose(
        found["a"], times * np.exp([np.log(A["fc1"]).mean(), np.log(A["fc2"]).mean()]), rtol=1e-6
    )


def test_over_all_sites_is_the_geometric_mean(compared):
    (found,) = rows(compared, span="path", by="layer", site_a="").to_dict(orient="records")
    a, b = (np.sqrt(group["fc1"] * group["fc2"]) for group in (A, B))
    expected = evidence(Design(5, 5), a[None], b[None])
    assert (found["sites"], found["window"]) == (2, 4)
    for column in ("ratio", "low", "high", "p"):
        assert found[column] == pytest.approx(getattr(expected, column)[0])
    each = compared.overall
    each = each[(each["by"] == "layer") & (each["span"] == "path") & (each["metric"] == "w1") & (each["group"] == "B")]
    assert each["value"].tolist() == pytest.approx((3 * b).tolist())


def test_every_window_has_rows(compared):
    found = rows(compared, span="window", by="role", site_a="fc2")
    assert found["window"].tolist() == [2, 3, 4]
    assert found["ratio"].tolist() == pytest.approx([np.exp(np.log(A["fc2"] / B["fc2"]).mean())] * 3)
    assert len(rows(compared, span="window", by="role", site_a="")) == 3


def test_a_site_that_stands_still_has_no_ratio_and_is_left_out_of_all(tmp_path):
    still = {"fc1": np.zeros(5), "fc2": B["fc2"]}
    found = rows(compare(group(tmp_path, "a", A), group(tmp_path, "b", still)), span="path")
    assert found["site_a"].tolist() == ["fc1", "fc2", ""]
    assert found["ratio"].isna().tolist() == [True, False, False]
    assert found["sites"].tolist() == [1, 1, 1]
    assert found["ratio"].iloc[2] == pytest.approx(found["ratio"].iloc[1])
    none = compare(group(tmp_path, "c", A), group(tmp_path, "d", dict.fromkeys(A, np.zeros(5))))
    found = rows(none, span="path", site_a="").iloc[0]
    assert (found["sites"], np.isnan(found["ratio"]), np.isnan(found["noise"])) == (0, True, True)


def test_noise_is_the_larger_share_of_the_floor(tmp_path):
    phases = ("train",)
    moving, quiet = ({site: np.full(5, drift) + 0.01 * np.arange(5) for site in A} for drift in (1.0, 0.1))
    found = compare(*(group(tmp_path, name, of, phases=phases) for name, of in (("a", moving), ("b", quiet))))
    values = found.values[(found.values["span"] == "last") & (found.values["metric"] == "w1_sd")]
    share = (values["floor"] / values["value"]).groupby([values["group"], values["site"]]).median()
    row = rows(found, metric="w1_sd", span="last", site_a="fc1").iloc[0]
    assert row["noise"] == pytest.approx(share["B", "fc1"])
    assert share["B", "fc1"] > 2 * share["A", "fc1"] > 0


def test_few_runs_have_values_and_no_ratios(tmp_path):
    few = [{site: values[:4] for site, values in of.items()} for of in (A, A | {"fc2": B["fc2"]})]
    found = compare(*(group(tmp_path, name, of) for name, of in zip("ab", few, strict=True)))
    assert tuple(found.ratios.columns) == COLUMNS
    assert len(found.ratios) == 0
    each = found.overall[(found.overall["span"] == "last") & (found.overall["metric"] == "w1")]
    assert each["value"].tolist() == pytest.approx(
        [*np.sqrt(A["fc1"] * A["fc2"])[:4], *np.sqrt(A["fc1"] * B["fc2"])[:4]]
    )


@pytest.mark.thorough
def test_groups_of_two_sizes(tmp_path):
    other = {site: np.append(B[site], 0.3) for site in ("fc1", "fc2")}
    found = rows(compare(group(tmp_path, "a", A), group(tmp_path, "b", other, sites=PLAIN)), span="path", site_a="fc1")
    expected = evidence(Design(5, 6), A["fc1"][None], other["fc1"][None])
    assert found.iloc[0]["low"] == pytest.approx(expected.low[0])
    assert found.iloc[0]["p"] == expected.p[0]


def test_noise_that_is_not_known_is_unknown(tmp_path):
    """Of one value a half there is none; it must not count as less than what is known of the other group."""
    drifts = {"fc1": np.full(5, 0.5), "fc2": np.full(5, 0.5)}
    found = compare(*(group(tmp_path, name, drifts, phases=("train",)) for name in "ab"))
    values = found.values.copy()
    values.loc[(values["group"] == "A") & (values["number"] == 2), "floor"] = np.nan
    table, _ = ratios(found.design, found.alignment, values)
    assert table["noise"].isna().all()
    assert found.ratios["noise"].notna().all()
