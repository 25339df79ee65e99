"""`icshift landscape` as a user meets it: its numbers against direct computing, what it writes, and every mistake."""

import json
import re
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from icshift.cli.main import _run
from icshift.replay.surface import fitting_radius
from tests.zoo import with_targets as network

MODEL = "--model", "tests.zoo.with_targets:Net"
EXACT = "--dtype", "float64"
ASKED = "--data", "train.npz", "--loss", "cross_entropy"
ANSWERS = {}
"""What was asked already and writes nothing: many tests read one answer."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("landscape")
    network.save(folder)
    return folder


@pytest.fixture
def icshift(folder, monkeypatch, capsys):
    """Runs the command in the folder: exit code, stdout, stderr."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*arguments, saved=("step-60.pt",), model=MODEL):
        asked = "landscape", *map(str, saved), *model, *map(str, arguments)
        if asked not in ANSWERS or "-o" in asked:
            code = _run(list(asked))
            ANSWERS[asked] = (code, *capsys.readouterr())
        return ANSWERS[asked]

    return run


@pytest.fixture
def measured(icshift):
    """The same as JSON: all that is about the models together, and a list of them."""

    def run(*arguments, **options):
        code, out, err = icshift(*ASKED, *EXACT, "--points", 5, *arguments, "--json", **options)
        assert (code, err) == (0, "")
        found = json.loads(out)
        return found, found["models"]

    return run


def test_loss_gradient_and_eigenvalues_are_those_of_the_exact_hessian(measured, folder):
    about, (found,) = measured("--top", 4)
    model = network.loaded(folder / "step-60.pt")
    loss, theta = network.loss_of(model), network.vector(model)
    assert found["loss"] == pytest.approx(float(loss(theta)), rel=1e-10)
    assert found["gradient_norm"] == pytest.approx(float(torch.func.grad(loss)(theta).norm()), rel=1e-8)
    values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, theta)).flip(0).tolist()
    assert [one["value"] for one in found["eigenvalues"]] == pytest.approx(values[:4], rel=1e-4)
    for one, value in zip(found["eigenvalues"], values[:4], strict=True):
        assert abs(one["value"] - value) <= one["error"] + 1e-9
    assert found["smallest"] == pytest.approx(values[-1], abs=1e-4 * values[0])
    assert found["parameters"] == len(theta)
    assert found["largest_step"] == pytest.approx(2 / values[0], rel=1e-4)
    assert found["lambda_lr"] is None
    assert found["along_gradient"] is None
    assert (about["examples"], about["batches"], about["batch_norm"]) == (60, 1, "batch")


def test_steps_along_the_gradient(measured, folder):
    _, (found,) = measured("--lr", 0.3)
    model = network.loaded(folder / "step-60.pt")
    loss, theta = network.loss_of(model), network.vector(model)
    gradient = torch.func.grad(loss)(theta)
    assert found["lambda_lr"] == pytest.approx(0.3 * found["eigenvalues"][0]["value"])
    steps = np.arange(0.5, 4.5, 0.5)
    apart = [float((torch.func.grad(loss)(theta - 0.3 * s * gradient) - gradient).norm()) for s in steps]
    losses = [float(loss(theta - 0.3 * s * gradient)) for s in steps]
    along = found["along_gradient"]
    assert [along["loss_min"], along["loss_max"]] == pytest.approx([min(losses), max(losses)])
    assert [along["predictiveness_min"], along["predictiveness_max"]] == pytest.approx([min(apart), max(apart)])
    beta = [value / (s * float(gradient.norm())) for value, s in zip(apart, steps, strict=True)]
    assert along["beta_rate"] == pytest.approx(max(beta))
    assert along["beta_step"] == steps[int(np.argmax(beta))]


def test_the_slice_has_the_losses_of_its_plane(icshift, measured, folder, tmp_path):
    _, (found,) = measured()
    arguments = *ASKED, *EXACT, "--points", 5, "--radius", 0.5
    assert icshift(*arguments, "-o", tmp_path / "slice.csv")[0] == 0
    table = pd.read_csv(tmp_path / "slice.csv")
    assert tuple(table.columns) == ("model", "alpha", "beta", "loss")
    assert len(table) == 25
    model = network.loaded(folder / "step-60.pt")
    loss, theta = network.loss_of(model), network.vector(model)
    values, vectors = torch.linalg.eigh(torch.autograd.functional.hessian(loss, theta))
    here = table.set_index(["alpha", "beta"])["loss"]
    assert here[0, 0] == pytest.approx(float(loss(theta)))
    # The signs of eigenvectors are free.
    options = [
        [float(loss(theta + a * alpha * vectors[:, -1] + b * beta * vectors[:, -2])) for alpha, beta in here.index]
        for a in (1, -1)
        for b in (1, -1)
    ]
    assert min(np.abs(here.to_numpy() - option).max() for option in options) < 1e-4
    assert found["slice"]["elongation"] == pytest.approx(float((values[-1] / values[-2]).sqrt()), rel=1e-3)
    lowest = table.loc[table["loss"].idxmin()]
    _, (asked,) = measured("--radius", 0.5)
    assert asked["slice"]["lowest"] == {
        "alpha": pytest.approx(lowest["alpha"]),
        "beta": pytest.approx(lowest["beta"]),
        "loss": pytest.approx(lowest["loss"]),
        "on_edge": bool(max(abs(lowest["alpha"]), abs(lowest["beta"])) == 0.5),
    }


def test_batches_count_by_their_examples(measured, folder):
    about, (found,) = measured("--batch-size", 25)
    model = network.loaded(folder / "step-60.pt")
    assert about["batches"] == 3
    # Which examples a batch has is not told; what all of them have together is: by running averages.
    _, (whole,) = measured("--eval-mode")
    _, (parts,) = measured("--eval-mode", "--batch-size", 25)
    assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-12)
    model.eval()
    assert whole["loss"] == pytest.approx(float(network.loss_of(model)(network.vector(model))), rel=1e-10)
    assert found["loss"] != pytest.approx(whole["loss"], rel=1e-3)


def test_running_averages_have_another_curvature(measured, icshift, folder):
    early = {"saved": ("step-20.pt",)}
    about, (found,) = measured("--eval-mode", **early)
    _, (batch,) = measured(**early)
    assert about["batch_norm"] == "running averages"
    model = network.loaded(folder / "step-20.pt").eval()
    hessian = torch.autograd.functional.hessian(network.loss_of(model), network.vector(model))
    exact = float(torch.linalg.eigvalsh(hessian)[-1])
    assert found["eigenvalues"][0]["value"] == pytest.approx(exact, rel=1e-4)
    assert batch["eigenvalues"][0]["value"] != pytest.approx(exact, rel=3e-2)
    assert "batch norm by the batch, as in training" in icshift(*ASKED, "--points", 3)[1]
    assert "batch norm by its running averages" in icshift(*ASKED, "--points", 3, "--eval-mode")[1]


BOTH = {"saved": ("step-20.pt", "step-60.pt")}


def test_several_models_lie_in_the_plane_of_the_first(measured, folder):
    _, (first, second) = measured(**BOTH)
    assert (first["model"], second["model"]) == ("step 20", "step 60")
    assert first["moved"] is None
    models = [network.loaded(folder / f"step-{step}.pt") for step in (20, 60)]
    thetas = [network.vector(model) for model in models]
    spectra = [
        torch.linalg.eigh(torch.autograd.functional.hessian(network.loss_of(model), theta))
        for model, theta in zip(models, thetas, strict=True)
    ]
    apart, plane = thetas[1] - thetas[0], spectra[0].eigenvectors[:, [-1, -2]]
    moved = second["moved"]
    assert moved["distance"] == pytest.approx(float(apart.norm()))
    assert np.abs(moved["place"]) == pytest.approx((apart @ plane).abs().tolist(), rel=1e-3)
    assert moved["off_plane"] == pytest.approx(float((apart - plane @ (plane.T @ apart)).norm()), rel=1e-4)
    cosine = float(spectra[0].eigenvectors[:, -1] @ spectra[1].eigenvectors[:, -1])
    assert moved["cosine"] == pytest.approx(abs(cosine), abs=1e-3)
    # The second's own loss, along the directions of the first.
    within = plane.T @ torch.autograd.functional.hessian(network.loss_of(models[1]), thetas[1]) @ plane
    values = torch.linalg.eigvalsh(within)
    if values[0] > 0:
        assert second["slice"]["elongation"] == pytest.approx(float((values[1] / values[0]).sqrt()), rel=1e-3)
    assert second["slice"]["curvatures"] == pytest.approx(values.flip(0).tolist(), rel=1e-3)


def test_the_first_is_the_one_that_is_named_first(measured):
    _, models = measured("--slice", "none", saved=("step-60.pt", "step-20.pt"))
    assert [one["model"] for one in models] == ["step 60", "step 20"]
    assert models[0]["moved"] is None


def test_a_slice_reaches_to_twice_the_loss_unless_told(measured, icshift):
    for extra in ((), ("--eval-mode",)):
        _, (found,) = measured(*extra)
        reach = (2 * found["loss"] / found["eigenvalues"][0]["value"]) ** 0.5
        assert found["slice"]["radius"] == float(f"{reach:.0e}")
    assert "about where the quadratic at the model doubles the loss" in icshift(*ASKED, "--points", 3)[1]
    _, (found,) = measured("--slice", "random")
    assert found["slice"]["radius"] == 1


@pytest.mark.parametrize(
    ("loss", "steepest", "expected"),
    [(2.0, 4.0, 1.0), (-2.0, 4.0, 1.0), (2.0, 1e-9, 50.0), (2.0, -1.0, 50.0), (0.0, 4.0, 0.005)],
    ids=["doubled", "a negative loss", "flat", "downwards", "no loss"],
)
def test_how_far_a_slice_reaches(loss, steepest, expected):
    assert fitting_radius(loss, steepest, 50.0) == expected
    assert fitting_radius(loss, steepest, 0.0) > 0


def test_random_planes_are_drawn_by_their_seed(measured):
    planes = [measured("--slice", "random", "--seed", seed, **BOTH)[1] for seed in (0, 0, 1)]
    places = [models[1]["moved"]["place"] for models in planes]
    assert places[0] == places[1] != places[2]
    assert planes[0][0]["slice"]["seed"] == 0
    lengths = planes[0][0]["slice"]["lengths"]
    assert planes[0][1]["slice"]["lengths"] == pytest.approx(lengths)
    assert lengths[0] == pytest.approx(lengths[1])


def test_without_a_slice(measured, icshift):
    _, (first, second) = measured("--slice", "none", **BOTH)
    assert first["slice"] is second["slice"] is None
    assert second["moved"]["place"] is None
    assert second["moved"]["distance"] > 0
    assert icshift(*ASKED, "--slice", "none", **BOTH)[0] == 0


@pytest.mark.parametrize("saved", [("step-60.pt",), ("step-20.pt", "step-60.pt")], ids=["one", "two"])
@pytest.mark.parametrize("extra", [(), ("--lr", 0.2, "--slice", "random")], ids=["plain", "with a rate"])
def test_what_it_prints(icshift, saved, extra):
    code, out, err = icshift(*ASKED, "--points", 5, *extra, saved=saved)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[1] == "60 examples of train.npz in one batch"
    assert lines[2] == "batch norm by the batch, as in training; dropout off"
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert "…" not in out
    assert lines[-1].startswith("Next: ")
    words = " ".join(out.split())
    if len(saved) == 1:
        assert re.search(r"loss 0\.\d+, gradient norm 0\.\d+ Hessian \d+ parameters, \d+ products", words)
        assert re.search(r"largest (\d\.\d+±\de-0\d,? ){5}smallest", words)
    else:
        assert "How far they are from step 20" in out
    if extra:
        assert "Santurkar et al. 2018" in words
        assert "Cohen et al. 2021" in words
        assert "random directions, seed 0" in words
    else:
        assert "top two eigenvectors" in words


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("suffix", "begins"),
    [
        pytest.param(".png", b"\x89PNG", marks=pytest.mark.thorough),
        (".svg", b"<svg"),
        (".pdf", b"%PDF"),
        (".html", b"<!DOCTYPE html>"),
    ],
)
def test_charts(icshift, tmp_path, suffix, begins):
    path = tmp_path / f"chart{suffix}"
    code, out, _ = icshift(*ASKED, "--points", 5, "-o", path, **BOTH)
    assert code == 0
    assert f"Chart in {path}" in " ".join(out.split())
    content = path.read_bytes()
    assert content.lstrip().startswith(begins)
    assert len(content) > 10_000
    if suffix in (".svg", ".html"):
        text = content.decode()
        assert "step 20" in text
        assert "along the top eigenvector" in text
    if suffix == ".html":
        assert not re.search(r"<(script|link)[^>]*\s(src|href)=", text)
        assert not re.search(r"(src|href)\s*=\s*.?https?:", text)
        assert "cdn.jsdelivr" not in text


def test_the_slice_in_every_format(icshift, tmp_path):
    arguments = *ASKED, "--points", 4
    paths = {suffix: tmp_path / f"slice{suffix}" for suffix in (".csv", ".json", ".parquet")}
    for path in paths.values():
        assert icshift(*arguments, "-o", path, **BOTH)[0] == 0
    tables = [
        pd.read_csv(paths[".csv"]),
        pd.DataFrame(json.loads(paths[".json"].read_text())),
        pd.read_parquet(paths[".parquet"]),
    ]
    for table in tables:
        pd.testing.assert_frame_equal(table, tables[0])
    # An even number of points leaves the model out: it has a row of its own.
    assert tables[0].groupby("model").size().to_dict() == {"step 20": 17, "step 60": 17}
    assert ((tables[0]["alpha"] == 0) & (tables[0]["beta"] == 0)).sum() == 2


def test_nothing_is_overwritten(icshift, tmp_path):
    for name in ("slice.csv", "chart.svg"):
        path = tmp_path / name
        path.write_text("mine")
        code, out, err = icshift(*ASKED, "--points", 3, "-o", path)
        assert (code, out) == (2, "")
        assert "exists and is kept" in err
        assert path.read_text() == "mine"
        assert icshift(*ASKED, "--points", 3, "-o", path, "-f")[0] == 0
        assert path.read_text() != "mine"


def test_losses_that_are_not_finite_are_counted(icshift, measured):
    _, (found,) = measured("--radius", 1e308)
    assert found["slice"]["nonfinite"] == 24
    out = icshift(*ASKED, *EXACT, "--points", 5, "--radius", 1e308, "--lr", 1e308)[1]
    assert "24 of 25 losses of its slice are not finite" in out
    assert "β·lr – the loss or its gradient is not finite" in out


def test_steps_that_rounding_swallows_have_no_beta(icshift):
    words = " ".join(icshift(*ASKED, "--points", 3, "--lr", 1e-9)[1].split())
    assert "β·lr – such steps are lost in rounding: --dtype float64 resolves shorter ones" in words
    assert "(reference 2), attained at" in icshift(*ASKED, *EXACT, "--points", 3, "--lr", 1e-9)[1]


def test_examples_that_are_not_finite_are_left_out(icshift):
    code, out, _ = icshift("--data", "broken.npz", "--loss", "ce", "--slice", "none", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["examples"] == 57
    assert found["notes"] == ["broken.npz: 3 examples with values that are not finite are left out"]
    assert np.isfinite(found["models"][0]["loss"])


def test_a_model_that_is_somebodys_is_left_as_it_was(icshift):
    owned = network.OWNED
    owned.train()
    before = {name: value.clone() for name, value in owned.state_dict().items()}
    places = {name: parameter.data_ptr() for name, parameter in owned.named_parameters()}
    drawn = torch.get_rng_state()
    code, _, _ = icshift(*ASKED, *EXACT, "--points", 3, "-q", model=("--model", "tests.zoo.with_targets:OWNED"))
    assert code == 0
    assert all(torch.equal(value, before[name]) for name, value in owned.state_dict().items())
    assert {name: parameter.data_ptr() for name, parameter in owned.named_parameters()} == places
    assert all(module.training for module in owned.modules())
    assert all(parameter.grad is None for parameter in owned.parameters())
    assert torch.equal(torch.get_rng_state(), drawn)


def test_a_loss_of_ones_own(icshift, folder):
    (folder / "mine.py").write_text("def half(output, target):\n    return output[:, target].square().mean() / 2\n")
    code, out, _ = icshift("--data", "train.npz", "--loss", "mine.py:half", "--slice", "none", *EXACT, "--json")
    model, (inputs, classes) = network.loaded(folder / "step-60.pt"), network.data()
    with torch.no_grad():
        expected = model(inputs.double())[:, classes].square().mean() / 2
    assert code == 0
    assert json.loads(out)["models"][0]["loss"] == pytest.approx(float(expected), rel=1e-10)


def test_own_loss_of_a_language_model(tmp_path, monkeypatch, capsys):
    import transformers

    size = {"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 11, "n_positions": 8}
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**size))
    ids = torch.randint(0, 11, (12, 6))
    monkeypatch.chdir(tmp_path)
    model.save_pretrained("model")
    np.savez("text.npz", input_ids=ids.numpy(), labels=ids.numpy())
    assert _run(["landscape", "model", "--data", "text.npz", "--loss", "own", "--points", "3", "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    logits = model.eval()(input_ids=ids).logits.detach()
    expected = nn.functional.cross_entropy(logits[:, :-1].reshape(-1, 11), ids[:, 1:].reshape(-1))
    assert found["models"][0]["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert found["loss_function"] == "own"
    np.savez("unlabelled.npz", input_ids=ids.numpy())
    assert _run(["landscape", "model", "--data", "unlabelled.npz", "--loss", "own"]) == 2
    assert "without a loss: name an array" in capsys.readouterr().err


NORMALISED = {
    "none": ((nn.Identity,), "no batch norm", "no batch norm"),
    "batch norm": ((nn.BatchNorm1d,), "batch norm by the batch, as in training", "batch norm by its running averages"),
    "batch norm without averages": (
        (partial(nn.BatchNorm1d, track_running_stats=False),),
        "batch norm by the batch, as in training",
        "batch norm by the batch, as in training",
    ),
    "batch norm with and without averages": (
        (nn.BatchNorm1d, partial(nn.BatchNorm1d, track_running_stats=False)),
        "batch norm by the batch, as in training",
        "batch norm by running averages, by the batch where it has none",
    ),
    "instance norm": ((nn.InstanceNorm1d,), "instance norm by the example", "instance norm by the example"),
    "instance norm with averages": (
        (partial(nn.InstanceNorm1d, track_running_stats=True),),
        "instance norm by the example",
        "instance norm by its running averages",
    ),
    "both": (
        (nn.BatchNorm1d, nn.InstanceNorm1d),
        "batch norm by the batch, instance norm by the example",
        "batch norm by its running averages, instance norm by the example",
    ),
    "both with averages": (
        (nn.BatchNorm1d, partial(nn.InstanceNorm1d, track_running_stats=True)),
        "batch norm by the batch, instance norm by the example",
        "batch norm and instance norm by their running averages",
    ),
}


def normalised(name):
    """A model with such layers, each of three channels of four values."""
    torch.manual_seed(0)
    layers = [layer if layer is nn.Identity else layer(3, affine=True) for layer in NORMALISED[name][0]]
    if layers == [nn.Identity]:
        layers = [nn.Identity()]
    return nn.Sequential(nn.Linear(5, 12), nn.Unflatten(1, (3, 4)), *layers, nn.Flatten(), nn.Linear(12, 3))


@pytest.mark.some(3)
@pytest.mark.parametrize("name", NORMALISED)
def test_normalisation_is_named_for_what_it_is(name, icshift, folder):
    torch.save(normalised(name).state_dict(), folder.parent / "normalised.pt")
    (folder / "normalising.py").write_text("from tests.cli.test_landscape import normalised as make\n")
    options = {
        "saved": (folder.parent / "normalised.pt",),
        "model": ("--model", "normalising.py:make", "--model-arg", f"name={name}"),
    }
    _, training, evaluating = NORMALISED[name]
    asked = *ASKED, "--slice", "none", "--top", 1
    for words, extra in ((training, ()), (evaluating, ("--eval-mode",))):
        code, out, err = icshift(*asked, *extra, **options)
        assert (code, err) == (0, "")
        assert f"{words}; dropout off" in out.splitlines()
        assert max(map(len, out.splitlines())) <= 80


def test_running_averages_of_instance_norm_make_a_difference_to_the_loss(icshift, folder):
    model = normalised("instance norm with averages")
    (folder / "normalising.py").write_text("from tests.cli.test_landscape import normalised as make\n")
    model(network.data()[0])
    torch.save(model.state_dict(), folder.parent / "instances.pt")
    options = {
        "saved": (folder.parent / "instances.pt",),
        "model": ("--model", "normalising.py:make", "--model-arg", "name=instance norm with averages"),
    }
    asked = *ASKED, "--slice", "none", "--top", 1, "--json"
    found = [json.loads(icshift(*asked, *extra, **options)[1]) for extra in ((), ("--eval-mode",))]
    assert [about["instance_norm"] for about in found] == ["example", "running averages"]
    assert [about["batch_norm"] for about in found] == [None, None]
    losses = [about["models"][0]["loss"] for about in found]
    inputs, classes = network.data()
    with torch.no_grad():  # Eval mode first: a forward in training mode moves the averages.
        evaluated, trained = (
            float(nn.functional.cross_entropy(model.train(on)(inputs), classes)) for on in (False, True)
        )
    assert losses == pytest.approx([trained, evaluated], rel=1e-5)
    assert losses[0] != pytest.approx(losses[1], rel=1e-4)


MISTAKES = {
    "a loss": (("--data", "train.npz", "--loss", "cross_entrop"), "did you mean cross_entropy"),
    "no targets": (("--data", "unlabelled.npz", "--loss", "ce"), "holds no target, but x [60, 5]: name it target"),
    "their name": ((*ASKED, "--target", "digit"), "no array 'digit'; known: x, target"),
    "own": (("--data", "train.npz", "--loss", "own", "--target", "target"), "own takes no --target"),
    "no own": (("--data", "unlabelled.npz", "--loss", "own"), "the model gives Tensor without a loss"),
    "classes": (("--data", "shifted.npz", "--loss", "ce"), "classes from 1 to 3, and the output has 3"),
    "shapes": (("--data", "values.npz", "--loss", "mse"), "output [60, 3] float32 and target [60, 2] float32"),
    "no data": (("--data", "nowhere.npz", "--loss", "ce"), "no such file: nowhere.npz"),
    "a rate": ((*ASKED, "--lr", 0), "--lr must be a number above 0"),
    "a rate of nothing": ((*ASKED, "--lr", "nan"), "--lr must be a number above 0"),
    "a radius": ((*ASKED, "--radius", -1), "--radius must be a number above 0"),
    "a plane": ((*ASKED, "--slice", "pca"), "'pca' is not one of"),
    "one a batch": (
        (*ASKED, "--batch-size", 1),
        "[1, 5] float32 is too small for batch norm by the batch: take more",
    ),
    "a format": ((*ASKED, "-o", "slice.xlsx"), "no format of a slice '.xlsx'"),
    "a chart's format": ((*ASKED, "-o", "chart.jpg"), "no format of a slice '.jpg'; did you mean"),
    "no folder": ((*ASKED, "-o", "none/chart.png"), "there is no directory none"),
    "no folder, before any work": (
        ("--data", "none.npz", "--loss", "mse", "-o", "none/slice.csv"),
        "there is no directory none",
    ),
    "nothing to draw": ((*ASKED, "--slice", "none", "-o", "chart.png"), "--slice none makes nothing to write"),
    "a device": ((*ASKED, "--device", "tpu9"), "device 'tpu9' cannot be used"),
    "a model": ((*ASKED, "--model-arg", "hidden=7"), "fc1.weight: 6×5 in the file, 7×5 in the model"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_one_line(name, icshift, folder):
    arguments, said = MISTAKES[name]
    before = sorted(folder.iterdir())
    code, out, err = icshift(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("icshift: ")
    assert err.count("\n") == 1
    assert said in err
    assert sorted(folder.iterdir()) == before


def test_charts_without_the_extra(icshift, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    code, _, err = icshift(*ASKED, "-o", "chart.png")
    assert code == 2
    assert 'charts need vl_convert: pip install "icshift[charts]"' in err


def test_quiet_leaves_the_hint_out(icshift):
    out = icshift(*ASKED, "--points", 3, "-q")[1]
    assert "Next: " not in out
    assert out.splitlines()[0] == "step-60.pt · Net, cross_entropy"


THREADS = set()


def noting_threads(output, target):
    THREADS.add(torch.get_num_threads())
    return nn.functional.cross_entropy(output, target)


class Large(nn.Module):
    """Enough work for several threads (60 examples are 240 million operations), and three parameters to measure."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(5, 4000), nn.Linear(4000, 500), nn.Linear(500, 3))
        self.fc.requires_grad_(False)
        self.fc[-1].bias.requires_grad_(True)

    def forward(self, x):
        return self.fc(x)


def test_small_models_are_measured_in_one_thread(icshift, folder):
    torch.save(Large().state_dict(), folder.parent / "large.pt")
    noting = "--data", "train.npz", "--loss", "tests.cli.test_landscape:noting_threads", "--slice", "none"
    found = sys.modules["tests.cli.test_landscape"].THREADS
    torch.set_num_threads(2)
    try:
        assert icshift(*noting, "-q")[0] == 0
        assert found == {1}
        large = "--model", "tests.cli.test_landscape:Large"
        assert icshift(*noting, "--top", 1, saved=(folder.parent / "large.pt",), model=large)[0] == 0
        assert found == {1, 2}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
