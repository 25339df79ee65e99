"""A network that stands still does not move under a probe, whatever it normalises by, and its reports say so truly."""

import numpy as np
import pytest
import torch
from torch import nn

import icshift
from icshift.analysis.distances import w1_sd
from icshift.cli.main import _run
from icshift.errors import RecordingError


class Twice(nn.Module):
    """One batch norm that is called twice in a forward."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(16, 12), nn.BatchNorm1d(12), nn.Linear(12, 12)

    def forward(self, x):
        return self.norm(self.second(torch.relu(self.norm(self.first(x)))))


def dense(norm):
    return nn.Sequential(nn.Linear(16, 12), norm, nn.ReLU(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


def images(norm):
    return nn.Sequential(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 6, 3, padding=1), norm, nn.ReLU(), nn.Flatten())


NETWORKS = {
    "batch norm": lambda: dense(nn.BatchNorm1d(12)),
    "synchronised batch norm": lambda: dense(nn.SyncBatchNorm(12)),
    "batch norm without running averages": lambda: dense(nn.BatchNorm1d(12, track_running_stats=False)),
    "batch norm of images": lambda: images(nn.BatchNorm2d(6)),
    "averages of equal weight": lambda: images(nn.BatchNorm2d(6, momentum=None)),
    "instance norm with running averages": lambda: images(nn.InstanceNorm2d(6, affine=True, track_running_stats=True)),
    "instance norm": lambda: images(nn.InstanceNorm2d(6)),
    "group norm": lambda: images(nn.GroupNorm(2, 6)),
    "layer norm": lambda: dense(nn.LayerNorm(12)),
    "a batch norm that is called twice": Twice,
}


def train(path, model, *, batch=60, rate=0.0, probe=None, windows=3, examples=300):
    """Train on fresh inputs, batches of so many, and record; the learning rate is 0 unless it is given."""
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    probe = icshift.Probe(torch.randn(examples, 16) * 2 + 1, running=has_averages(model)) if probe is None else probe
    with icshift.Recorder(model, path, optimizer=optimizer, sites="all", probe=probe) as recorder:
        for _ in range(windows):
            for _ in range(8):
                optimizer.zero_grad()
                model(torch.randn(batch, 16) + 1).square().mean().backward()
                optimizer.step()
            recorder.epoch()
    return icshift.open(path)


def has_averages(model):
    return any(getattr(module, "running_mean", None) is not None for module in model.modules())


def averages(model):
    return [buffer.clone() for name, buffer in model.named_buffers() if "running" in name]


@pytest.mark.some(4)
@pytest.mark.covering(1)
@pytest.mark.parametrize("batch", [8, 60])
@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_a_frozen_network_shows_no_drift_at_any_site(build, batch, tmp_path, capsys):
    torch.manual_seed(0)
    model = build()
    before = averages(model)
    run = train(tmp_path / "run", model, batch=batch)
    assert all(not torch.equal(a, b) for a, b in zip(before, averages(model), strict=True))  # It was training.
    for reference in ("previous", "first"):
        drift = run.drift(["w1", "w1_sd", "w2", "ks", "displacement"], phase="probe", reference=reference)
        assert len(drift) > 100
        assert (drift["value"] == 0).all()
        assert not drift["moved"].any()
    assert _run(["report", str(tmp_path / "run"), "--phase", "probe"]) == 0
    assert "so there is no sampling noise" in " ".join(capsys.readouterr().out.split())
    assert _run(["check", str(tmp_path / "run"), "--phase", "probe", "--fail-on", "w1_sd > 0"]) == 0


@pytest.mark.some(3)
@pytest.mark.parametrize("build", [build for name, build in NETWORKS.items() if has_averages(build())])
def test_running_averages_have_a_floor_and_a_frozen_network_stays_within_it(build, tmp_path, capsys):
    torch.manual_seed(0)
    run = train(tmp_path / "run", build(), batch=8)
    drift = run.drift(phase="probe-running")
    assert (drift["value"] > 0).any()  # That of the averages, which is not that of the network.
    for site, last in drift.query("window == 3").groupby("site"):
        own, running = ([run.distribution(name, site, window) for window in (2, 3)] for name in run.phases[1:])
        lags = [w1_sd(a, b) for a, b in zip(own, running, strict=True)]
        np.testing.assert_array_equal(last["floor"], np.max(lags, axis=0))
    assert _run(["report", str(tmp_path / "run"), "--phase", "probe-running"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "no sampling noise" not in out
    assert "floor: how far running averages put a window from what it is by the statistics of its own inputs" in out
    assert _run(["path", str(tmp_path / "run"), "--phase", "probe-running"]) == 0
    assert "no sampling noise" not in " ".join(capsys.readouterr().out.split())
    assert not drift.loc[drift["value"] <= drift["floor"], "moved"].any()
    assert _run(["check", str(tmp_path / "run"), "--phase", "probe-running", "--fail-on", "w1_sd > 2x floor"]) == 0


def test_what_trains_still_moves(tmp_path):
    torch.manual_seed(0)
    run = train(tmp_path / "run", dense(nn.BatchNorm1d(12)), rate=0.1)
    drift = run.drift(phase="probe")
    assert (drift.groupby("site")["value"].max() > 0).all()
    assert drift["moved"].mean() > 0.9
    report = run.report(phase="probe")
    assert report.set_index("site")["affine_moments"].to_dict() == {site: site in ("1", "4") for site in report["site"]}


def test_the_probe_is_batch_norm_by_the_statistics_of_its_own_inputs(tmp_path):
    torch.manual_seed(0)
    model, inputs = dense(nn.BatchNorm1d(12)), torch.randn(200, 16) * 3
    run = train(tmp_path / "run", model, probe=icshift.Probe(inputs))
    expected = model[1].train()(model[0](inputs)).detach().double().numpy()
    found = run.distribution("probe", "1", 3)
    np.testing.assert_allclose(found.mean, expected.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.std, expected.std(0), rtol=1e-5)


def test_layers_that_the_training_keeps_in_eval_mode_use_their_running_averages(tmp_path):
    """As in training: there they are constants of the function."""
    torch.manual_seed(0)
    model, inputs = dense(nn.BatchNorm1d(12)), torch.randn(200, 16) * 3
    model(inputs)
    model[1].eval()
    run = train(tmp_path / "run", model, probe=icshift.Probe(inputs))
    expected = model[1](model[0](inputs)).detach().double().numpy()
    found = run.distribution("probe", "1", 3)
    np.testing.assert_allclose(found.mean, expected.mean(0), atol=1e-6)
    assert not np.allclose(found.mean, 0, atol=1e-3)
    assert (run.drift(phase="probe")["value"] == 0).all()


@pytest.mark.parametrize("examples", [1, 257])
def test_a_probe_too_small_for_its_statistics_is_refused_before_the_training(examples, tmp_path):
    model, probe = dense(nn.BatchNorm1d(12)), torch.randn(examples, 16)
    before = averages(model)
    with pytest.raises(RecordingError, match=rf"\({examples} example.*too small.*give the probe more examples"):  # noqa: SIM117
        with icshift.Recorder(model, tmp_path / "run", probe=probe):
            pytest.fail("the block was entered")
    assert not (tmp_path / "run").exists()
    assert all(torch.equal(a, b) for a, b in zip(before, averages(model), strict=True))


def test_running_averages_of_a_model_that_has_none_are_refused(tmp_path):
    probe = icshift.Probe(torch.randn(5, 4), running=True)
    with pytest.raises(RecordingError, match="Linear has no layer with running averages"):  # noqa: SIM117
        with icshift.Recorder(nn.Linear(4, 3), tmp_path / "run", probe=probe):
            pytest.fail("the block was entered")


class Counting(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)
        self.calls = []

    def forward(self, x):
        self.calls.append(len(x))
        return super().forward(x)


@pytest.mark.parametrize(("norm", "calls"), [(nn.LayerNorm(4), 1), (nn.BatchNorm1d(4), 2)])
def test_a_model_without_running_averages_is_sent_the_probe_once(norm, calls, tmp_path):
    model = nn.Sequential(Counting(), norm)
    with icshift.Recorder(model, tmp_path / "run", probe=torch.randn(6, 4)) as recorder:
        assert model[0].calls == [6] * calls
        model(torch.randn(5, 4))
        recorder.epoch()
    assert model[0].calls == [6] * calls + [5] + [6] * calls
    expected = {nn.LayerNorm: None, nn.BatchNorm1d: "own inputs"}[type(norm)]
    assert icshift.open(tmp_path / "run").settings["probe_statistics"] == expected
