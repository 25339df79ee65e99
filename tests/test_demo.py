"""The demo end to end: every number it exports against SciPy on raw activations that a plain hook kept."""

import copy
import json
import re
import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import nn

import icshift
from icshift.demo import BATCH, PROBE_EXAMPLES, RATE, TRAINING_EXAMPLES, WINDOWS, load_digits, network
from icshift.runs.reader import StoredRun
from tests.conftest import DEMO_EPOCHS
from tests.covering import often
from tests.warm import starting as warm

EPOCHS = DEMO_EPOCHS
RUNS = ("plain", "batch-norm")
PATHS = ("Runs", "Saved models", "Every site", "Next")
"""How lines begin that hold paths, and are never wrapped."""


@pytest.fixture(scope="module")
def demo(demo_run):
    """The folder that `icshift demo` made, and what it printed."""
    return demo_run / "icshift-demo", (demo_run / "printed").read_text()


def raw_activations(*, batch_norm):
    """The demo's training written out again, with plain hooks: {(phase, site, window): [n, units]}."""
    torch.set_num_threads(1)
    digits = load_digits()
    model = network(batch_norm=batch_norm, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    shuffler = torch.Generator().manual_seed(1)
    kept, phase = {}, "train"

    def keep(name):
        def hook(_, __, output):
            if phase is not None:
                kept.setdefault((phase, name, window), []).append(output.detach().numpy().copy())

        return hook

    for name, module in model.named_children():
        if isinstance(module, (nn.Linear, nn.BatchNorm1d)):
            module.register_forward_hook(keep(name))
    window = 1
    for epoch in range(1, EPOCHS + 1):
        model.train()
        phase = "train"
        for batch in torch.randperm(TRAINING_EXAMPLES, generator=shuffler).split(BATCH):
            loss = nn.functional.cross_entropy(model(digits.train_images[batch]), digits.train_classes[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch % (EPOCHS // WINDOWS) == 0:
            model.eval()
            with torch.no_grad():
                phase = "eval"
                model(digits.test_images)
                probe, phase = digits.train_images[:PROBE_EXAMPLES], None
                as_trained = with_statistics_of(probe, model)
                phase = "probe"
                as_trained(probe)
            window += 1
    return {key: np.concatenate(parts) for key, parts in kept.items()}


def with_statistics_of(images, model):
    """A copy in eval mode whose running averages are statistics of these images, in batches as the probe has them."""
    copied, given = copy.deepcopy(model).train(), {}
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs: given.setdefault(layer, []).append(inputs[0].double()))
        for layer in copied
        if isinstance(layer, nn.BatchNorm1d)
    ]
    for batch in images.split(256):
        copied(batch)
    for layer, inputs in given.items():
        layer.running_mean.copy_(torch.cat(inputs).mean(0))
        layer.running_var.copy_(torch.cat(inputs).var(0, correction=0))
    for hook in hooks:
        hook.remove()
    return copied.eval()


COMPARED = often((2, WINDOWS), range(2, WINDOWS + 1))
"""Windows whose every number is."""


@pytest.mark.parametrize("name", [pytest.param("plain", marks=pytest.mark.thorough), "batch-norm"])
def test_every_exported_value_is_scipys_within_the_printed_bound(name, demo):
    folder, _ = demo
    raw = raw_activations(batch_norm=name == "batch-norm")
    table = pd.read_csv(folder / "drift.csv")
    table = table[table["run"] == name]
    phases_and_sites = {(phase, site) for phase, site, _ in raw}
    assert set(zip(table["phase"], table["site"], strict=True)) == phases_and_sites
    units = {site: activations.shape[1] for (_, site, _), activations in raw.items()}
    assert len(table) == 2 * (WINDOWS - 1) * sum(units[site] for _, site in phases_and_sites)
    exact = 0
    for (phase, site, window), rows in table[table["window"].isin(COMPARED)].groupby(["phase", "site", "window"]):
        before, after = raw[phase, site, window - 1].astype(float), raw[phase, site, window].astype(float)
        truth = np.array([wasserstein_distance(x, y) for x, y in zip(before.T, after.T, strict=True)])
        pooled = np.sqrt((before.var(0) + after.var(0)) / 2)
        expected = {"w1": truth, "w1_sd": truth / np.maximum(pooled, 0.05 * np.median(pooled))}
        for metric, values in rows.groupby("metric"):
            found = values.sort_values("unit")
            assert found["unit"].tolist() == list(range(units[site]))
            wrong = np.abs(found["value"] - expected[metric])
            # What the tables print, and float32's rounding: of the activations that are kept, and of statistics.
            rounding = 1e-5 * expected[metric] + (1e-5 if phase == "probe" else 1e-9)
            assert (wrong <= found["error"] + rounding).all(), (phase, site, window, metric)
            if (found["error"] == 0).all():
                exact += 1
    # The probe of 512 and the 397 test images fit in a window whole.
    assert exact == 2 * 2 * len(COMPARED) * len(units)


@pytest.mark.parametrize("name", RUNS)
def test_every_window_counts_every_activation(name, demo):
    folder, _ = demo
    steps = EPOCHS // WINDOWS
    counts = StoredRun(folder / name).windows().groupby("phase")["count"].unique().to_dict()
    assert {phase: found.tolist() for phase, found in counts.items()} == {
        "train": [steps * TRAINING_EXAMPLES],
        "eval": [397],
        "probe": [PROBE_EXAMPLES],
    }


def test_what_it_prints(demo):
    folder, text = demo
    assert " ".join(text.split()).startswith(
        "In one training the median of a typical input of the last hidden sigmoids wandered "
    )
    assert text.splitlines()[-1].startswith("Next: open icshift-demo/page.html in a browser ")
    assert max(len(line) for line in text.splitlines() if not line.startswith(PATHS)) <= 80
    for expected in (
        "plain",
        "batch-norm",
        "accuracy on 397 digits",
        "spent recording",
        "2 seeds: too few for a statement about the method.",
        "drift.csv",
    ):
        assert expected in text
    page = json.loads(re.search(r'id="meta">(.*?)</script>', (folder / "page.html").read_text(), re.DOTALL)[1])
    assert [run["title"] for run in page["runs"]] == list(RUNS)
    assert [len(group) for group in (page["pairs"]["rows"], page["runs"][1]["sites"])] == [4, 7]


def test_every_seed_is_a_training_of_its_own(demo):
    folder, text = demo
    runs = [[folder / name, folder / "seeds" / "2" / name] for name in RUNS]
    compared = icshift.compare(*runs)
    typed = " --with ".join(" ".join(f"icshift-demo/{path.relative_to(folder)}" for path in paths) for paths in runs)
    assert f"Every site and window: icshift compare {typed}\n" in text
    paths = compared.overall.query("span == 'path' and phase == 'probe' and metric == 'w1' and by == 'role'")
    assert len(paths) == 4
    assert paths["value"].nunique() == len(paths)


def test_what_is_next_is_there(demo):
    folder, text = demo
    (page,) = re.findall(r"^Next: open (.+?) in a browser", text, re.MULTILINE)
    assert (folder.parent / page).read_text().startswith("<!doctype html>")


def test_percentile_ribbons_of_one_unit_of_each(demo):
    _, text = demo
    assert text.count("┤") >= 8
    assert "━" in text


def test_a_second_run_is_refused_without_force(demo):
    folder, _ = demo
    command = [warm.icshift(), "demo", "--epochs", "10"]
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "force" in done.stderr


def test_batch_norm_wanders_less(demo):
    """Over the training the medians of the last hidden sigmoids' inputs wander less with batch norm."""
    folder, _ = demo
    wandered = {}
    for name, site in (("plain", "fc3"), ("batch-norm", "norm3")):
        windows = StoredRun(folder / name).windows()
        here = windows[(windows["site"] == site) & (windows["phase"] == "train")]
        medians = here.groupby("unit")["q50"]
        wandered[name] = (medians.max() - medians.min()).median() / here.groupby("window")["sd"].median().iloc[-1]
    assert wandered["batch-norm"] < wandered["plain"]
