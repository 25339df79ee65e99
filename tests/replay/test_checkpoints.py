"""What the command records, and that it leaves everything else alone."""

import copy
import json
import os
import pty
import subprocess
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from icshift.analysis.drift import drift
from icshift.cli.main import _run
from icshift.inputs.specs import build_model
from icshift.runs.reader import StoredRun
from tests.bounded import limited
from tests.oracles.scipys import assert_scipys, raw
from tests.replay import network
from tests.replay.conftest import SPEC
from tests.warm.starting import icshift

AXES = {"conv": 1, "norm": 1, "fc1": 1, "fc2": 1}
METRICS = ("w1", "w1_sd")


def test_training_order_and_names(analyzed, saved, tmp_path):
    run = analyzed(*sorted(saved.iterdir(), reverse=True))
    names = [(window.index, window.name, window.first_step) for window in run.window_list]
    assert names == [(1, "epoch 0", 0), (2, "epoch 1", 1), (3, "epoch 2", 2), (4, "epoch 3", 3)]
    for place, name in enumerate(("step 2.pt", "step 10.pt", "step 1.pt")):
        torch.save({"global_step": (20, 100, 10)[place], "state_dict": network.state(place)}, tmp_path / name)
    run = analyzed(*tmp_path.glob("step*.pt"), output=tmp_path / "steps")
    names = [(window.name, window.first_step, window.last_step) for window in run.window_list]
    assert names == [("step 10", 10, 10), ("step 20", 20, 20), ("step 100", 100, 100)]


def test_how_far_the_parameters_moved(analyzed, saved):
    vectors = [torch.cat([p.detach().double().flatten() for p in model.parameters()]) for model in network.epochs()]
    expected = [float((b - a).norm()) for a, b in pairwise(vectors)]
    first, *changes = [window.parameter_change for window in analyzed(saved).window_list]
    assert first is None
    assert changes == pytest.approx(expected, rel=1e-9)


def test_names_where_nothing_is_stored(analyzed, tmp_path):
    (tmp_path / "saved").mkdir()
    for number in (10, 9, 1):
        torch.save(network.state(0), tmp_path / "saved" / f"net{number}.pt")
    run = analyzed(tmp_path / "saved")
    assert [window.name for window in run.window_list] == ["net1.pt", "net9.pt", "net10.pt"]
    # The same weights on the same inputs: nothing moved, not even by sampling.
    assert (drift(run, metrics=METRICS)["value"] == 0).all()


def test_batch_norm_in_training(analyzed, saved):
    """Phase probe-batch: batch statistics, everything else in eval mode; SciPy's numbers too."""
    run = analyzed(saved, options=["--train-mode", "--samples", "all", "--batch-size", "300"])
    assert run.phases == ["probe", "probe-batch"]
    # The examples are shuffled, but one batch is one batch.
    windows = [raw(model, network.images(), AXES, training=["norm"]) for model in map(copy.deepcopy, network.epochs())]
    found = drift(run, metrics=METRICS, phase="probe-batch").query("site != 'conv'")
    assert_scipys(found, windows)
    # Without statistics that lag behind there is nothing but shape, scale and place of the layer's own.
    means = run.windows().query("site == 'norm' and phase == 'probe-batch'").groupby("window")["mean"]
    for window, model in enumerate(network.epochs(), start=1):
        np.testing.assert_allclose(means.get_group(window), model.norm.bias.detach(), atol=1e-5)


def test_batch_norm_by_statistics_of_all_the_data_or_by_running_averages(analyzed, saved):
    run = analyzed(saved, options=["--running", "--samples", "all"])
    assert run.phases == ["probe", "probe-running"]
    assert_scipys(
        drift(run, metrics=METRICS), [network.as_trained(model, network.images(), AXES) for model in network.epochs()]
    )
    windows = [raw(model, network.images(), AXES) for model in network.epochs()]
    assert_scipys(drift(run, metrics=METRICS, phase="probe-running"), windows)


def test_other_phases_add_nothing_to_the_probe(analyzed, saved, tmp_path):
    """The pass over the data that computes statistics, batch norm by the batch, once counted as one more probe."""
    plain = analyzed(saved, output=tmp_path / "plain")
    more = analyzed(saved, options=["--running", "--train-mode"], output=tmp_path / "more")
    found = more.windows().query("phase == 'probe'").reset_index(drop=True)
    pd.testing.assert_frame_equal(found, plain.windows())
    counts = more.windows().groupby("phase")["count"].unique()
    assert len({tuple(of_phase) for of_phase in counts}) == 1


def test_one_model_alone(analyze, saved, tmp_path):
    code, out, err = analyze(saved / "epoch-3.pt")
    assert (code, err) == (0, "")
    assert "one window, nothing to compare" in out
    assert "health" in out
    windows = StoredRun(tmp_path / "run").windows()
    activations = network.as_trained(network.epochs()[3], network.images(), AXES)["fc1"]
    rows = windows.query("site == 'fc1'")
    np.testing.assert_allclose(rows["mean"], activations.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows["sd"], activations.std(0), rtol=1e-5)
    np.testing.assert_allclose(rows["q50"], np.median(activations, 0), rtol=1e-4, atol=1e-5)


def test_report_units_and_export_work_on_it(analyze, saved, tmp_path, capfd):
    code, out, _ = analyze(saved)
    assert code == 0
    assert "window epoch 3 against epoch 2" in out
    assert "Paired: the same inputs in every window, 300 values a unit" in out
    run = str(tmp_path / "run")
    for command in (["report", run], ["units", run, "--site", "fc1"]):
        assert _run(command) == 0, command
    capfd.readouterr()
    assert _run(["export", run, "-o", "-"]) == 0
    exported = capfd.readouterr().out.splitlines()
    assert len(exported) == 1 + 3 * (3 + 3 + 12 + 10) * 2
    assert _run(["check", run, "--fail-on", "nonfinite > 0"]) == 0
    assert _run(["report", run, "--reference", "first"]) == 0
    assert _run(["info", run]) == 0
    assert "4 (epoch 0 to epoch 3)" in capfd.readouterr().out


def test_json(analyze, saved, tmp_path):
    code, out, err = analyze(saved, options=["--json"])
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["run"] == str(tmp_path / "run")
    assert [site["site"] for site in report["sites"]] == list(AXES)


def test_health_and_links_are_those_of_a_recording(analyzed, saved):
    sites = {site.name: site for site in analyzed(saved).sites}
    assert sites["norm"].feeds == ("ReLU",)
    assert sites["norm"].follows == "conv"


def test_chosen_sites(analyzed, saved):
    assert [site.name for site in analyzed(saved, options=["--sites", "fc*", "--sites", "relu"]).sites] == [
        "relu",
        "fc1",
        "fc2",
    ]


def test_values_that_are_not_finite_are_counted(analyze, saved, tmp_path):
    images = network.images().clone()
    images[7, 0, 0, :2] = torch.tensor([torch.nan, torch.inf])
    images[9, 0, 0, 0] = -torch.inf
    np.save(tmp_path / "broken.npy", images.numpy())
    code, _, err = analyze(saved, inputs=tmp_path / "broken.npy")
    assert code == 0
    assert err == f"icshift: values of {tmp_path / 'broken.npy'} that are not finite: 3\n"
    run = StoredRun(tmp_path / "run")
    assert run.distribution("probe", "fc1", 1).nonfinite.tolist() == [2] * 12
    assert run.manifest["settings"]["probe_nonfinite"] == 3
    finite = [
        network.as_trained(model, network.images()[[i for i in range(300) if i not in (7, 9)]], AXES)
        for model in network.epochs()
    ]
    assert_scipys(drift(run, metrics=METRICS, sites=["fc1"]), finite)


def test_every_kind_of_data(analyzed, saved, tmp_path):
    """The same inputs, the same run."""
    expected = drift(analyzed(saved, output=tmp_path / "npy"))
    np.savez(tmp_path / "images.npz", images=network.images().numpy())
    torch.save(network.images(), tmp_path / "images.pt")
    for name, inputs in (
        ("npz", tmp_path / "images.npz"),
        ("pt", tmp_path / "images.pt"),
        ("callable", SPEC + "images"),
    ):
        found = drift(analyzed(saved, output=tmp_path / name, inputs=inputs))
        pd.testing.assert_frame_equal(found.drop(columns="run"), expected.drop(columns="run"), check_exact=True)
    # In another order: all the same but for rounding, where every value counts.
    found = drift(analyzed(saved, output=tmp_path / "pairs", inputs=SPEC + "pairs"), sites=["fc*"])
    expected = expected[expected["site"].str.startswith("fc")].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.drop(columns="run"), expected.drop(columns="run"), rtol=1e-5)


def test_a_model_that_is_somebody_elses_is_left_as_it_was(analyzed, saved):
    """`--model` may name a model itself; and models may write on themselves, and draw random numbers."""
    for name in ("instance", "restless"):
        model = getattr(network, name)
        model.train()
        model.norm.eval()
        places = [vars(module).copy() for module in model.modules()]
        identities = {key: id(value) for key, value in [*model.named_parameters(), *model.named_buffers()]}
        before = copy.deepcopy(model)
        analyzed(saved, model=SPEC + name, options=["--train-mode", "--running", "--dtype", "float64", "--force"])
        assert {key: id(value) for key, value in [*model.named_parameters(), *model.named_buffers()]} == identities
        for one, other in zip(model.modules(), before.modules(), strict=True):
            assert one.training == other.training
            assert not one._forward_hooks
            assert not one._forward_pre_hooks
        for one, other in zip(
            [*model.parameters(), *model.buffers()], [*before.parameters(), *before.buffers()], strict=True
        ):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)
        assert [list(vars(module)) for module in model.modules()] == [list(place) for place in places]


def test_an_instance_is_left_as_it_was_after_a_mistake(analyze, saved, tmp_path):
    before = copy.deepcopy(network.instance.state_dict())
    np.save(tmp_path / "flat.npy", np.zeros((50, 64), np.float32))
    code, _, _ = analyze(saved, model=SPEC + "instance", inputs=tmp_path / "flat.npy", options=["--dtype", "float64"])
    assert code == 2
    assert all(torch.equal(value, before[name]) for name, value in network.instance.state_dict().items())
    assert network.instance.fc1.weight.dtype == torch.float32


@pytest.mark.thorough
def test_a_model_that_changes_its_inputs(analyzed, saved):
    """Every model and every phase gets the inputs as they are."""
    run = analyzed(saved, model=SPEC + "Restless", options=["--train-mode", "--running", "--samples", "all"])
    windows = [network.as_trained(model, network.images() - 0.5, AXES) for model in network.epochs()]
    assert_scipys(drift(run, metrics=METRICS), windows)


@pytest.mark.thorough
def test_lazy_modules(analyzed, saved, tmp_path):
    found = drift(analyzed(saved, model=SPEC + "Lazy", output=tmp_path / "lazy"))
    expected = drift(analyzed(saved))
    pd.testing.assert_frame_equal(found.drop(columns="run"), expected.drop(columns="run"), check_exact=True)


def test_partly_loaded_models(analyze, saved, tmp_path):
    """What a file lacks is as the model was initialised, the same in every window, and told."""
    state = network.state(1)
    torch.save({"epoch": 1.5, "model": {name: state[name] for name in state if "conv" not in name}}, tmp_path / "x.pt")
    paths = [saved / "epoch-1.pt", saved / "epoch-2.pt", tmp_path / "x.pt"]
    code, _, err = analyze(*paths, model=SPEC + "Headless", options=["--partial"])
    assert code == 0
    assert err.count("\n") == 4
    assert "left aside, since the model has no such: 4 tensors of the files (fc1.weight, fc1.bias" in err
    assert "2 of 9 tensors stayed at their initialisation: head.weight, head.bias" in err
    assert "x.pt: 4 of 9 tensors stayed" in err
    fresh = build_model(SPEC + "Headless", {})
    fresh.norm.load_state_dict(network.epochs()[1].norm.state_dict())
    activations = network.as_trained(fresh, network.images(), {"conv": 1, "head": 1})
    place = [window.name for window in StoredRun(tmp_path / "run").window_list].index("x.pt") + 1
    windows = StoredRun(tmp_path / "run").windows().query(f"window == {place}")
    for site, found in activations.items():
        np.testing.assert_allclose(windows.query(f"site == '{site}'")["mean"], found.mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.thorough
def test_doubles(analyzed, saved):
    run = analyzed(saved, options=["--dtype", "float64", "--samples", "all"])
    windows = [
        network.as_trained(copy.deepcopy(model).double(), network.images().double(), AXES) for model in network.epochs()
    ]
    assert_scipys(drift(run, metrics=METRICS), windows)


@pytest.mark.thorough
def test_a_model_of_hugging_face(analyzed, tmp_path):
    """Built from its directory, without --model; keyword arguments by name."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    config = ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=10, **sizes)
    inputs = {"pixel_values": network.images()[:100]}
    np.savez(tmp_path / "images.npz", **{name: value.numpy() for name, value in inputs.items()})
    model, windows = ViTForImageClassification(config), []
    axes = {"classifier": -1, "vit.layernorm": -1}
    for step in (8, 16, 128):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(tmp_path / "saved" / f"checkpoint-{step}")
        windows.append(raw(model, inputs, axes))
    run = analyzed(tmp_path / "saved", model=None, inputs=tmp_path / "images.npz", options=["--samples", "all"])
    assert [window.name for window in run.window_list] == ["checkpoint-8", "checkpoint-16", "checkpoint-128"]
    assert_scipys(drift(run, metrics=METRICS, sites=list(axes)), windows)


def test_a_progress_bar_on_a_terminal(saved, data, tmp_path):
    command = [icshift(), "analyze", saved, "--model", SPEC + "Digits", "--data", data]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm"}
    arguments = list(map(str, [*command, "-o", tmp_path / "run"]))
    shown = b""
    with (
        subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=theirs, env=environment) as process,
        limited(process),
    ):
        os.close(theirs)
        with suppress(OSError):  # The end of a terminal.
            while part := os.read(ours, 4096):
                shown += part
    os.close(ours)
    assert process.returncode == 0
    assert b"reading" in shown
    assert b"replaying" in shown
