"""What a model shows of two data sets: against SciPy, and what is said of it."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp, wasserstein_distance
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from icshift.analysis.conditions import parse
from icshift.analysis.shift_checks import verdicts
from icshift.analysis.staleness import Distance
from icshift.analysis.two_data_sets import LayerDistances
from icshift.inputs.data import Reading
from icshift.noise.movement import discoveries
from icshift.replay.batch_norm import adapt_batch_norm
from icshift.runs.reader import StoredRun
from tests.covering import often
from tests.measured import PHASES, Measured
from tests.replay.test_batch_norm import assert_untouched, frozen
from tests.zoo.digits import CORRUPTIONS, TRAINING, accuracy, digits, network, trained


def training():
    return digits()[0][:TRAINING]


def held_out():
    return digits()[0][TRAINING:]


@pytest.fixture(scope="module")
def dimmed(tmp_path_factory):
    """Half the contrast: 400 images of the training, in full, against the test images."""
    return Measured(tmp_path_factory.mktemp("dimmed") / "run", trained(), training()[:400], 0.5 * held_out())


def activations(model, images):
    """Of every site, by a plain forward in eval mode."""
    seen, model = {"(input)": images}, copy.deepcopy(model).eval()
    x = images
    with torch.no_grad():
        for name, module in model.named_children():
            x = module(x)
            seen[name] = x
    return {name: value.double().numpy() for name, value in seen.items() if not name.startswith("relu")}


def test_drift_of_every_unit_is_that_of_scipy(dimmed):
    before, after = activations(trained(), training()[:400]), activations(trained(), 0.5 * held_out())
    assert dimmed.run.sites[0].name == "(input)"
    assert [site.name for site in dimmed.run.sites] == list(before)
    for site, table in dimmed.units.groupby("site"):
        a, b = before[site], after[site]
        pooled = np.sqrt((a.var(0) + b.var(0)) / 2)
        pooled = np.maximum(pooled, 0.05 * np.median(pooled[pooled > 0]))
        expected = [wasserstein_distance(a[:, unit], b[:, unit]) / pooled[unit] for unit in table["unit"]]
        np.testing.assert_allclose(table["value"], expected, rtol=2e-4, atol=2e-6)


def test_a_site_is_the_median_of_its_steady_units(dimmed):
    for site, table in dimmed.units.groupby("site"):
        steady = table[~table["near_constant"]]
        assert dimmed.sites["drift"][site] == pytest.approx(steady["value"].median())
        assert dimmed.sites["floor"][site] == pytest.approx(steady["floor"].median())
        assert dimmed.sites["moved"][site] == pytest.approx(table["moved"].mean())
    relative = dimmed.sites["drift"] / dimmed.sites["drift"]["(input)"]
    np.testing.assert_allclose(dimmed.sites["relative"], relative)


@pytest.mark.thorough
def test_large_data_sets_are_sketched_within_the_stated_error(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30))
    random = torch.Generator().manual_seed(0)
    a, b = torch.randn(9000, 20, generator=random), 1.2 * torch.randn(7000, 20, generator=random) + 0.1
    units = Measured(tmp_path / "run", model, a, b, metric="ks").units
    before, after = activations(model, a)["0"], activations(model, b)["0"]
    table = units[units["site"] == "0"]
    expected = np.array([ks_2samp(before[:, unit], after[:, unit]).statistic for unit in table["unit"]])
    assert (np.abs(table["value"] - expected) <= table["error"]).all()
    np.testing.assert_allclose(table["value"], expected, atol=0.02)


def test_the_model_and_the_data_are_left_as_they_were(tmp_path):
    model, images = trained(), training()[:100].clone()
    model.norm2.eval()
    before = frozen(model)
    Measured(tmp_path / "run", model, images, images)
    assert_untouched(model, before)
    assert torch.equal(images, training()[:100])


def test_forwards_are_as_many_as_announced(dimmed):
    assert dimmed.forwards == dimmed.both.forwards == 16 + 16 + 2


def test_all_other_analysis_takes_the_run(dimmed):
    run = StoredRun(dimmed.run.path)
    assert run.finished
    assert run.phases == list(PHASES)
    assert [window.name for window in run.window_list] == ["model"]
    assert run.site("norm2").follows == "fc2"
    assert run.site("norm2").feeds == ("ReLU",)
    settings = run.manifest["settings"]
    assert (settings["reference"]["examples"], settings["data"]["examples"]) == (400, 397)
    assert settings["data"]["fingerprint"] != settings["reference"]["fingerprint"]
    for site in run.sites:
        assert all(run.distribution(phase, site.name, 1).blocks.sampled.sum(1).min() >= 397 for phase in PHASES)


def test_the_same_data_does_not_shift_at_all(tmp_path):
    same = Measured(tmp_path / "run", trained(), training()[:300], training()[:300])
    assert (same.sites["drift"] == 0).all()
    assert set(same.sites["verdict"]) == {"no shift beyond noise"}


@pytest.mark.thorough
def test_halves_of_one_data_set_seldom_shift(tmp_path):
    """Against another half of itself a data set shows noise alone."""
    images, random, shifted, moved = digits()[0], torch.Generator().manual_seed(0), [], []
    model = trained()
    for place in range(often(4, 6)):
        order = torch.randperm(len(images), generator=random)
        one = Measured(tmp_path / str(place), model, images[order[:900]], images[order[900:]])
        shifted.append(one.sites["shifted"].any())
        moved.append(one.sites["moved"].mean())
        assert one.sites["ratio"].median() == pytest.approx(0.9, abs=0.3)
    assert sum(shifted) <= often(1, 2)
    assert np.mean(moved) < 0.01


@pytest.mark.thorough
def test_images_of_many_positions_do_not_shift_by_their_number(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3))
    images, random, shifted = digits()[0].view(-1, 1, 8, 8), torch.Generator().manual_seed(1), []
    for place in range(often(4, 6)):
        order = torch.randperm(len(images), generator=random)
        one = Measured(tmp_path / str(place), model, images[order[:1500]], images[order[1500:]])
        shifted.append(one.sites["shifted"].any())
    assert sum(shifted) <= often(1, 2)


@pytest.mark.thorough
def test_batches_as_they_come_are_measured_as_arrays_are(tmp_path, dimmed):
    loader = DataLoader(TensorDataset(training()[:400]), batch_size=64)
    one = Measured(tmp_path / "run", trained(), loader, [0.5 * held_out()])
    np.testing.assert_allclose(one.sites["drift"], dimmed.sites["drift"], rtol=1e-3)
    np.testing.assert_allclose(one.sites["floor"], dimmed.sites["floor"], rtol=0.3)
    assert one.sites["verdict"].str.startswith("shifted").all()


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Half of the images of the training against the test images."""
    return Measured(tmp_path_factory.mktemp("clean") / "run", trained(), training()[:700], held_out())


@pytest.mark.thorough
@pytest.mark.some(1)
@pytest.mark.parametrize("corruption", ["contrast", pytest.param("brightness", marks=pytest.mark.thorough), "noise"])
def test_severity_is_ordered_within_a_corruption(corruption, clean, tmp_path):
    """The source-normalised distance orders severity, in every layer, and so does the drift."""
    corrupt, levels = CORRUPTIONS[corruption]
    model = trained()
    runs = [clean]
    runs += [Measured(tmp_path / str(level), model, training()[:700], corrupt(held_out(), level)) for level in levels]
    for layer in ("norm1", "norm2", "norm3"):
        distances = [run.layers[layer].data.value for run in runs]
        assert distances == sorted(distances)
        assert distances[-1] > 4 * distances[0]
        assert all(run.layers[layer].reference.value < 0.1 for run in runs)
    drift = [run.sites["drift"].drop("(input)").mean() for run in runs]
    assert drift == sorted(drift)
    assert runs[-1].sites["shifted"].all()


@pytest.mark.parametrize(("corruption", "recovers"), [("contrast", True), ("brightness", True), ("noise", False)])
def test_adapting_undoes_affine_shifts_alone(corruption, recovers):
    """Adapted accuracy recovers for affine shifts; noise is not undone."""
    corrupt, levels = CORRUPTIONS[corruption]
    model = trained()
    clean, corrupted = accuracy(model), corrupt(held_out(), levels[-1])
    broken = accuracy(model, corrupted)
    adapt_batch_norm(model, corrupted)
    adapted = accuracy(model, corrupted)
    assert broken < clean - 0.05
    assert (adapted > clean - 0.02) == recovers


def test_running_statistics_are_stale_early_and_not_later(tmp_path):
    """1.5 at step 5, 0.04 from step 50 on."""
    early, later = (Measured(tmp_path / str(step), trained(step), training(), held_out()) for step in (5, 400))
    for layer in ("norm1", "norm2", "norm3"):
        assert early.layers[layer].staleness.value > 1
        assert later.layers[layer].staleness.value < 0.08
        assert later.layers[layer].staleness.floor < 0.06
        assert "running statistics stale: " in early.sites["verdict"][layer]
    assert not later.sites["verdict"].str.contains("stale").any()
    assert early.layers["norm2"].staleness.value == pytest.approx(1.5, abs=0.25)
    assert not early.sites["verdict"]["fc2"].count("stale")


def test_where_a_shift_grows_and_where_it_shrinks(tmp_path):
    """The first layer adds up what all inputs have in common, the second takes differences."""
    model = nn.Sequential(nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].weight += 0.3 * torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
        model[1].weight.copy_(torch.eye(16) - 1 / 16)
    random = torch.Generator().manual_seed(1)
    a, b = torch.randn(800, 16, generator=random), torch.randn(800, 16, generator=random) + 0.25
    sites = Measured(tmp_path / "run", model, a, b).sites
    assert sites["drift"]["(input)"] == pytest.approx(0.25, abs=0.05)
    assert sites["drift"]["0"] == pytest.approx(1.0, abs=0.2)
    assert (
        sites["verdict"]["0"]
        == f"shifted: 100 % of units, {sites['drift']['0']:.2f} sd; amplifies: {sites['change']['0']:.2f}x the input"
    )
    assert sites["change"]["0"] == sites["relative"]["0"] == pytest.approx(4, rel=0.25)
    assert sites["verdict"]["1"].endswith(f"absorbs: {sites['change']['1']:.2g}x the site before")
    assert sites["before"].tolist() == ["", "(input)", "0"]


def test_one_feature_that_broke_is_told(tmp_path):
    broken = held_out().clone()
    broken[:, 20] = 1.0
    site = Measured(tmp_path / "run", trained(), training(), broken).sites.loc["(input)"]
    assert site["shifted"]
    assert site["verdict"].startswith("shifted: 1 of 64 units, up to ")
    assert site["drift"] < site["floor"] * 1.5


def test_no_ratio_is_given_to_noise(tmp_path):
    one = Measured(tmp_path / "run", trained(), training()[:700], training()[700:])
    quiet = one.sites[~one.sites["shifted"].astype(bool)]
    assert len(quiet) >= 6
    assert quiet["relative"].isna().all()
    assert quiet["change"].isna().all()
    assert (quiet["moved"] == 0).all()


def test_a_site_is_judged_as_one_of_many(tmp_path):
    """Halves of which some units seem to have moved, and not so much as one of eight sites may by noise."""
    order = torch.randperm(len(digits()[0]), generator=torch.Generator().manual_seed(18))
    one = Measured(tmp_path / "run", trained(), digits()[0][order[:900]], digits()[0][order[900:]])
    tempting = [shift for shift in one.shifts.values() if discoveries(shift.noise.p_values).any()]
    assert tempting
    assert all(0.05 / 8 < found.p < 0.05 for found in tempting)
    assert not one.sites["shifted"].any()
    assert (one.sites["moved"] == 0).all()
    assert not one.units["moved"].any()


def test_a_shift_too_small_to_see_in_the_inputs_is_nothing_to_compare_with(tmp_path):
    model = nn.Sequential(nn.Linear(64, 8, bias=False))
    nn.init.ones_(model[0].weight)
    random = torch.Generator().manual_seed(2)
    a, b = torch.randn(400, 64, generator=random), torch.randn(400, 64, generator=random) + 0.1
    sites = Measured(tmp_path / "run", model, a, b).sites
    assert sites["shifted"].tolist() == [False, True]
    assert np.isnan(sites["relative"]["0"])
    assert np.isnan(sites["change"]["0"])
    assert sites["before"]["0"] == "(input)"


def columns(n, seed):
    """Rows of 20 standard normal columns, a constant in the first."""
    rows = torch.randn(n, 20, generator=torch.Generator().manual_seed(seed))
    rows[:, 0] = 1.0
    return rows


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 16), nn.Tanh())


def test_one_column_of_many_is_nothing_to_divide_by(tmp_path):
    """The median of the inputs is noise, whatever one of them did: what follows amplifies nothing that is known."""
    b = columns(300, 2)
    b[:, 3] += 3
    sites = Measured(tmp_path / "run", linear(), columns(300, 1), b).sites
    assert sites["shifted"].tolist() == [True, True]
    assert sites["drift"]["(input)"] < 1.5 * sites["floor"]["(input)"]
    assert sites["drift"]["0"] > 3 * sites["floor"]["0"]
    assert sites["relative"].isna().all()
    assert sites["change"].isna().all()
    assert sites["verdict"]["(input)"].startswith("shifted: 1 of 20 units, up to ")
    assert "amplifies" not in sites["verdict"]["0"]


def unknown(measured):
    """Sites of which a limit on drift cannot be judged; of the others none exceeds it."""
    found = verdicts(measured.run, measured.shown.parts, [parse("drift > 5", "w1_sd")], {})
    assert {verdict.state for verdict in found} <= {"ok", "unmeasured"}
    return [verdict.site for verdict in found if verdict.state == "unmeasured"]


def test_a_constant_at_another_value_is_no_number_of_sd(tmp_path):
    b = columns(300, 1)
    b[:, 0] = 2.0
    one = Measured(tmp_path / "one", linear(), columns(300, 1), b)
    assert one.sites["verdict"]["(input)"] == "shifted: 1 of 20 units; constant in both, at other values: 1 of 20 units"
    same = Measured(tmp_path / "same", linear(), columns(300, 1), columns(300, 1))
    assert same.sites["verdict"]["(input)"] == "no shift beyond noise"
    both = Measured(tmp_path / "all", linear(), torch.zeros(300, 20), torch.ones(300, 20))
    assert set(both.sites["verdict"]) == {
        "shifted: 100 % of units; constant in both, at other values: 100 % of units",
    }
    assert unknown(both) == ["(input)", "0"]


def test_a_column_without_a_finite_value_is_told_and_not_passed_over(tmp_path):
    b = columns(300, 2)
    b[:, 5] = torch.nan
    one = Measured(tmp_path / "run", linear(), columns(300, 1), b)
    assert one.sites["verdict"].tolist() == [
        "no shift beyond noise; no finite value: 1 of 20 units",
        "no finite value: 100 % of units",
    ]
    assert unknown(one) == ["(input)", "0"]


class Apart(nn.Module):
    """A normalisation that reads what another site gave than the one before it."""

    def __init__(self):
        super().__init__()
        self.fc, self.aside, self.norm = nn.Linear(64, 8), nn.Linear(64, 8), nn.BatchNorm1d(8)

    def forward(self, x):
        y = self.fc(x)
        return self.aside(x) + self.norm(y)


def test_what_a_normalisation_reads_is_before_it(tmp_path):
    one = Measured(tmp_path / "run", Apart(), training()[:200], 0.3 * held_out())
    assert one.sites["before"].to_dict() == {"(input)": "", "fc": "(input)", "aside": "fc", "norm": "fc"}
    assert one.sites["change"]["norm"] == pytest.approx(1, rel=1e-5)


def test_rounding_of_a_constant_is_no_shift(tmp_path):
    constant = torch.full((200, 1), 0.1)
    rounded = torch.nextafter(constant, torch.ones(1))
    model = nn.Sequential(nn.Linear(1, 1))
    assert not Measured(tmp_path / "rounded", model, constant, rounded).sites["shifted"].any()
    assert Measured(tmp_path / "moved", model, constant, 2 * constant).sites["shifted"].all()


def test_noise_of_statistics_is_that_of_odd_and_even_batches(tmp_path):
    """Images that grow brighter: the first batch is not a sample of all, every second one is."""
    brighter = held_out() * torch.linspace(0.1, 1.9, 397)[:, None]
    one = Measured(tmp_path / "run", trained(), training()[:400], list(brighter.split(25)))
    assert all(layer.data.floor < 0.15 for layer in one.layers.values())


@pytest.mark.parametrize(
    ("distance", "stale"),
    [((0.09, 0.01), False), ((0.11, 0.01), True), ((0.15, 0.08), False), ((np.nan, np.nan), False)],
)
def test_a_moving_average_may_be_as_far_as_a_moving_average_is(distance, stale):
    assert LayerDistances("norm", staleness=Distance(*distance, 100, 10)).stale == stale
    assert LayerDistances("norm", staleness=Distance(0.5, np.nan, 100, 10)).stale


def test_few_examples_are_not_judged(tmp_path):
    one = Measured(tmp_path / "run", trained(), training()[:1], held_out()[:1])
    assert set(one.sites["verdict"]) == {"not known: too few examples to tell noise"}
    assert all(np.isnan(layer.staleness.value) for layer in one.layers.values())
    assert np.isfinite(one.layers["norm1"].data.value)


def test_values_that_are_not_finite_are_left_out(tmp_path, dimmed):
    broken = torch.cat([0.5 * held_out(), torch.full((3, 64), torch.nan)])
    one = Measured(tmp_path / "run", trained(), torch.cat([training()[:400], torch.full((2, 64), torch.inf)]), broken)
    np.testing.assert_allclose(one.sites["drift"], dimmed.sites["drift"], rtol=2e-3)
    for name, layer in one.layers.items():
        assert layer.data.value == pytest.approx(dimmed.layers[name].data.value, rel=1e-4)
        assert layer.staleness.value == pytest.approx(dimmed.layers[name].staleness.value, rel=0.2)


def test_a_last_batch_of_one_example_does_not_end_it(tmp_path):
    one = Measured(tmp_path / "run", trained(), list(training()[:201].split(50)), held_out())
    for layer in one.layers.values():
        assert (layer.reference.n, layer.staleness.n) == (201, 200)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.fc, self.norm, self.extra = (
            nn.Embedding(9, 8),
            nn.Linear(4, 8),
            nn.BatchNorm1d(8),
            nn.Linear(8, 8),
        )

    def forward(self, ids, features, *, scale):
        y = self.norm(self.fc(features)) * scale[:, :1] + self.embed(ids)
        return self.extra(y) if features.mean() > 0 else y


def test_several_inputs_and_sites_of_one_data_set(tmp_path):
    random = torch.Generator().manual_seed(0)
    ids, features = torch.randint(0, 9, (200,), generator=random), torch.randn(200, 4, generator=random) - 3
    a = {"ids": ids, "features": features, "scale": torch.ones(200, 2)}
    b = {"ids": ids, "features": features + 6, "scale": torch.ones(200, 2)}
    one = Measured(tmp_path / "run", Branching(), a, b)
    assert list(one.sites.index)[:2] == ["(input).features", "(input).scale"]
    assert one.sites["verdict"]["(input).scale"] == "no shift beyond noise"
    assert one.sites["before"]["norm"] == "fc"
    assert one.sites["before"]["fc"] == "(input).features"
    assert one.sites["verdict"]["extra"] == "not measured: only one data set reaches it"


def test_a_model_without_batch_norm_has_no_layers(tmp_path):
    one = Measured(tmp_path / "run", nn.Sequential(nn.Linear(64, 5)), training()[:50], held_out()[:50])
    assert one.layers == {}
    assert one.forwards == 32


@pytest.mark.thorough
def test_other_precisions(tmp_path):
    for place, model in enumerate((trained().bfloat16(), trained().double())):
        one = Measured(tmp_path / str(place), model, training()[:200], 0.5 * held_out(), reading=Reading(batch_size=64))
        assert one.sites["shifted"].all()
        assert one.layers["norm1"].data.value == pytest.approx(0.8, abs=0.15)


def test_a_seed_of_our_own_makes_it_repeatable(tmp_path):
    first, second = (
        Measured(tmp_path / str(place), network(), training()[:300], held_out(), samples=4) for place in range(2)
    )
    assert first.units.drop(columns="run").equals(second.units.drop(columns="run"))
