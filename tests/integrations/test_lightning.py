"""Recording from a Lightning trainer, under both names of the package."""

import logging
import pickle
import subprocess
import sys

import lightning.pytorch
import numpy as np
import pandas as pd
import pytest
import pytorch_lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import icshift
from icshift.integrations import lightning as integration
from icshift.integrations.lightning import RecorderCallback
from tests.integrations.trainers import (
    drift,
    hooks_on,
    names_icshift,
    numbers,
    recorded_drift,
    same_parameters,
    steps_of_windows,
    watched,
)
from tests.warm.starting import python

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:FutureWarning")


BOTH = [lightning.pytorch, pytorch_lightning]
"""The second is the first under another name: one test is of both, the others of it are `thorough`."""


@pytest.fixture(params=[BOTH[0], pytest.param(BOTH[1], marks=pytest.mark.thorough)], ids=lambda one: one.__name__)
def pl(request, tmp_path, monkeypatch):
    for name in ("lightning.pytorch", "pytorch_lightning", "lightning.fabric"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.ERROR)
    monkeypatch.chdir(tmp_path)
    return request.param


def loader(examples=64, batch=16, seed=1):
    random = torch.Generator().manual_seed(seed)
    inputs = torch.randn(examples, 6, generator=random)
    return DataLoader(TensorDataset(inputs, (inputs.sum(1) > 0).long()), batch_size=batch)


PROBE = next(iter(loader(seed=3)))[0]


def network(dropout):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2))


def classifier(pl, dropout=0.2, **methods):
    """A LightningModule; `methods` are added to it."""

    class Classifier(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network(dropout)

        def forward(self, inputs):
            return self.net(inputs)

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch, _):
            self(batch[0])

        test_step = predict_step = validation_step

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    for name, method in methods.items():
        setattr(Classifier, name, method)
    return Classifier()


def trainer(pl, *callbacks, epochs=3, **options):
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": any(isinstance(callback, pl.callbacks.Checkpoint) for callback in callbacks),
    }
    return pl.Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, callbacks=list(callbacks), **{**quiet, **options}
    )


@pytest.mark.parametrize("pl", BOTH, ids=lambda one: one.__name__, indirect=True)
def test_an_epoch_is_a_window_as_a_recorder_by_hand_would_have_it(pl, tmp_path):
    trainer(pl, RecorderCallback("a", probe=PROBE)).fit(classifier(pl, dropout=0), loader(), loader(seed=2))
    model = classifier(pl, dropout=0)
    optimizer = model.configure_optimizers()
    with icshift.Recorder(model, tmp_path / "b", optimizer=optimizer, probe=PROBE) as recorder:
        for _ in range(3):
            for batch in loader():
                optimizer.zero_grad()
                model.training_step(batch, 0).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for batch in loader(seed=2):
                    model.validation_step(batch, 0)
            model.train()
            recorder.epoch()
    for ours, by_hand in zip(numbers("a"), numbers("b"), strict=True):
        pd.testing.assert_frame_equal(ours, by_hand)
    run = icshift.open("a")
    assert run.finished
    assert run.phases == ["train", "eval", "probe"]
    assert steps_of_windows("a") == [(0, 3), (4, 7), (8, 11)]
    assert set(run.windows()[lambda row: row.phase == "eval"]["count"]) == {64}


def test_drift_is_that_of_plain_hooks(pl):
    model = classifier(pl)
    witness = watched(model.net[0])
    epochs = pl.callbacks.LambdaCallback(on_train_epoch_end=lambda *_: witness.end())
    trainer(pl, RecorderCallback("a", samples="all"), epochs).fit(model, loader())
    np.testing.assert_allclose(recorded_drift("a", "net.0"), drift(witness), rtol=1e-5)


@pytest.mark.some(1)
@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2, "precision": "bf16-mixed"}], ids=str)
def test_training_is_bit_identical(pl, options):
    models, states = [], []
    for callbacks in ([], [RecorderCallback("a", sites="*", probe=PROBE, window=2)]):
        models.append(classifier(pl))
        trainer(pl, *callbacks, **options).fit(models[-1], loader(), loader(seed=2))
        states.append(torch.get_rng_state())
    assert same_parameters(*models)
    assert torch.equal(*states)
    assert hooks_on(models[1]) == 0
    assert len(icshift.open("a").steps())


def test_forwards_around_an_epoch_are_in_its_window(pl):
    def look(self):
        self.eval()
        with torch.no_grad():
            self(PROBE)
        self.train()

    model = classifier(pl, on_train_start=look, on_train_epoch_end=look)
    trainer(pl, RecorderCallback("a")).fit(model, loader())
    assert steps_of_windows("a") == [(0, 3), (4, 7), (8, 11)]
    windows = icshift.open("a").windows()
    counts = windows[(windows.phase == "eval") & (windows.site == "net.0") & (windows.unit == 0)]["count"]
    assert list(counts) == [32, 16, 16]


def test_validation_within_an_epoch_is_in_its_window(pl):
    trainer(pl, RecorderCallback("a"), val_check_interval=2).fit(classifier(pl), loader(), loader(seed=2))
    windows = icshift.open("a").windows()
    assert list(windows[windows.phase == "eval"].groupby("window")["count"].max()) == [128, 128, 128]


def test_with_windows_of_steps_epochs_end_none(pl):
    trainer(pl, RecorderCallback("a", window=5)).fit(classifier(pl), loader())
    assert steps_of_windows("a") == [(0, 4), (5, 9), (10, 11)]


def test_accumulated_batches_are_one_step(pl):
    train = trainer(pl, RecorderCallback("a"), accumulate_grad_batches=3)
    train.fit(classifier(pl), loader())
    assert train.global_step == 6
    assert steps_of_windows("a") == [(0, 1), (2, 3), (4, 5)]
    assert list(icshift.open("a").steps().groupby("step")["count"].max()) == [48, 16] * 3


def test_manual_optimisation_with_two_optimizers(pl):
    def training_step(self, batch, _):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(nn.functional.cross_entropy(self(batch[0]), batch[1]))
            optimizer.step()

    def configure_optimizers(self):
        return torch.optim.SGD(self.net[0].parameters(), lr=0.1), torch.optim.Adam(self.net[3].parameters())

    model = classifier(pl, training_step=training_step, configure_optimizers=configure_optimizers)
    model.automatic_optimization = False
    train = trainer(pl, RecorderCallback("a"))
    train.fit(model, loader())
    assert train.global_step == 24
    assert steps_of_windows("a") == [(0, 7), (8, 15), (16, 23)]


@pytest.mark.parametrize("use", ["validate", "test", "predict"])
def test_other_uses_of_the_trainer_record_nothing(pl, tmp_path, use):
    getattr(trainer(pl, RecorderCallback("a")), use)(classifier(pl), loader())
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_was_recorded_before_an_exception_is_kept(pl, error):
    def fail(_, __, batch_index):
        if batch_index == 2:
            raise error

    model = classifier(pl, on_train_batch_start=fail)
    with pytest.raises((ValueError, SystemExit)):
        trainer(pl, RecorderCallback("a", probe=PROBE)).fit(model, loader())
    assert icshift.open("a").finished
    assert steps_of_windows("a") == [(0, 0), (1, 1)]
    assert hooks_on(model) == 0


def test_a_second_fit_overwrites_nothing(pl):
    model = classifier(pl)
    train = trainer(pl, RecorderCallback("a"))
    train.fit(model, loader())
    before = numbers("a")
    train.fit_loop.max_epochs = 6
    with pytest.raises(icshift.RunError, match="force"):
        train.fit(model, loader())
    for now, then in zip(numbers("a"), before, strict=True):
        pd.testing.assert_frame_equal(now, then)
    assert hooks_on(model) == 0


def test_a_recording_of_nothing_warns_and_ends_no_training(pl):
    model = classifier(pl)
    model.unused = nn.Linear(2, 2)
    train = trainer(pl, RecorderCallback("a", sites="unused"))
    with pytest.warns(RuntimeWarning, match="nothing was recorded"):
        train.fit(model, loader())
    assert train.state.finished


def test_checkpoints_know_nothing_of_the_recording(pl, tmp_path):
    found = []
    for name in ("with", "without"):
        save = pl.callbacks.ModelCheckpoint(tmp_path / name, filename="mid", every_n_train_steps=5)
        model = classifier(pl)
        pickled = pl.callbacks.LambdaCallback(
            on_train_batch_end=lambda *_, to=tmp_path / name, m=model: torch.save(m.net, to / "net.pt")
        )
        (tmp_path / name).mkdir()
        trainer(pl, *([RecorderCallback("a")] if name == "with" else []), save, pickled).fit(model, loader())
        found.append(torch.load(tmp_path / name / "mid.ckpt", weights_only=False))
    assert names_icshift(tmp_path / "with") == []
    assert found[0].keys() == found[1].keys()
    assert found[0]["callbacks"].keys() == found[1]["callbacks"].keys()
    assert all(torch.equal(found[0]["state_dict"][key], value) for key, value in found[1]["state_dict"].items())
    code = """
import sys, torch
sys.modules["icshift"] = None
state = torch.load("with/mid.ckpt", weights_only=False)["state_dict"]
net = torch.load("with/net.pt", weights_only=False)
net.load_state_dict({name.removeprefix("net."): value for name, value in state.items()})
net(torch.zeros(1, 6))
"""
    subprocess.run([python(), "-c", code], check=True, timeout=600)


def test_an_epoch_resumed_in_its_middle_ends_at_its_end(pl, tmp_path):
    save = pl.callbacks.ModelCheckpoint(tmp_path, filename="mid", every_n_train_steps=6)
    trainer(pl, save, epochs=2).fit(classifier(pl), loader())
    model = classifier(pl)
    trainer(pl, RecorderCallback("a"), epochs=4).fit(model, loader(), ckpt_path=tmp_path / "mid.ckpt")
    first, *whole = [last - first + 1 for first, last in steps_of_windows("a")]
    assert first < 4
    assert whole == [4, 4]


def test_the_callback_is_one_of_the_package_in_use(pl, monkeypatch):
    assert issubclass(integration._base(), pl.Callback)
    for package in (lightning.pytorch, pytorch_lightning):
        if package is not pl:
            monkeypatch.delitem(sys.modules, package.__name__)
    assert integration._base().__bases__ == (pl.Callback,)
    pickle.loads(pickle.dumps(RecorderCallback("a", probe=PROBE)))


def test_without_either_package_the_remedy_is_told(monkeypatch):
    monkeypatch.setattr(integration, "_PACKAGES", ("absent.pytorch", "absent_lightning"))
    with pytest.raises(icshift.RecordingError, match=r"pip install 'icshift\[lightning\]'"):
        integration._base()


def test_losses_and_metrics_are_kept(pl):
    losses = []

    def training_step(self, batch, _):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        losses.append(loss.item())
        self.log("mean", loss, on_step=False, on_epoch=True)
        return {"loss": loss, "double": 2 * loss.detach(), "output": self(batch[0]).detach(), "name": "a word"}

    def validation_step(self, *_):
        self.log("checked", float(self.current_epoch))

    module = classifier(pl, dropout=0, training_step=training_step, validation_step=validation_step)
    train = trainer(
        pl, RecorderCallback("a"), epochs=4, accumulate_grad_batches=2, check_val_every_n_epoch=2, log_every_n_steps=1
    )
    train.fit(module, loader(), loader(seed=2))
    logged = icshift.open("a").logged()
    by_name = dict(list(logged.groupby("name")))
    assert by_name.keys() == {"loss", "double", "mean", "checked"}
    assert by_name["loss"]["value"].tolist() == pytest.approx(losses)
    assert by_name["double"]["value"].tolist() == pytest.approx([2 * loss for loss in losses])
    assert by_name["loss"]["step"].tolist() == [step for step in range(8) for _ in range(2)]
    assert by_name["mean"]["value"].tolist() == pytest.approx(np.reshape(losses, (4, 4)).mean(1))
    assert by_name["mean"]["window"].tolist() == [1, 2, 3, 4]
    assert by_name["checked"]["window"].tolist() == [2, 4]
    assert by_name["checked"]["value"].tolist() == [1.0, 3.0]


def test_a_training_that_is_resumed_is_recorded_as_one_that_nobody_stopped(pl, tmp_path):
    def fail(module, _, batch_index):
        if module.current_epoch == 1 and batch_index == 2:
            raise ValueError("preempted")

    save = pl.callbacks.ModelCheckpoint(tmp_path / "saved", filename="last", every_n_epochs=1)
    with pytest.raises(ValueError, match="preempted"):
        trainer(pl, RecorderCallback("a", probe=PROBE), save).fit(
            classifier(pl, dropout=0, on_train_batch_start=fail), loader()
        )
    assert steps_of_windows("a") == [(0, 3), (4, 5)]
    again = trainer(pl, RecorderCallback("a", probe=PROBE, resume=True))
    again.fit(classifier(pl, dropout=0), loader(), ckpt_path=str(tmp_path / "saved" / "last.ckpt"))
    trainer(pl, RecorderCallback("b", probe=PROBE)).fit(classifier(pl, dropout=0), loader())
    assert steps_of_windows("a") == steps_of_windows("b")
    for resumed, whole in zip(numbers("a"), numbers("b"), strict=True):
        pd.testing.assert_frame_equal(resumed, whole)
