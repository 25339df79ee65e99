"""Checkpoints as trainers themselves write them, and what of their directories becomes windows."""

from argparse import Namespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from icshift.errors import ModelError
from icshift.saved.find import find
from icshift.saved.fit import fit
from icshift.saved.load import Wanted, build, load
from icshift.saved.trajectory import trajectory
from tests.saved import zoo


def test_checkpoints_of_lightning(tmp_path):
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.save_hyperparameters({"rate": 0.01, "net": zoo.Digits(), "loss": nn.CrossEntropyLoss(torch.ones(10))})
            self.net, self.loss = zoo.Digits(), nn.CrossEntropyLoss(torch.ones(10))

        def training_step(self, batch):
            images, classes = batch
            return self.loss(self.net(images), classes)

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), self.hparams.rate)

    keep = lightning.pytorch.callbacks.ModelCheckpoint(dirpath=tmp_path / "kept", save_top_k=-1, save_last=True)
    module = Module()
    trainer = lightning.Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[keep],
        logger=False,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, DataLoader(TensorDataset(*zoo.digits()), batch_size=100))
    found = find([tmp_path / "kept"])
    assert [(one.epoch, one.step) for one in found] == [(0, 4), (1, 8), (2, 12), (2, 12)]
    assert [one.label for one in found] == [
        "epoch=0-step=4.ckpt",
        "epoch=1-step=8.ckpt",
        "epoch=2-step=12.ckpt",
        "last.ckpt",
    ]
    assert [one.label for one in find([one.path for one in found[:3]])] == ["epoch 0", "epoch 1", "epoch 2"]
    told = trajectory(found, zoo.Digits(), Wanted())
    assert [one.label for one in told.models] == ["epoch 0", "epoch 1", "epoch 2"]
    assert told.notes == [
        "one window for a model and its copy with the same weights: last.ckpt of epoch=2-step=12.ckpt",
        "left aside, since the model has no such: 1 tensor of the files (loss.weight)",
    ]
    for model in (zoo.Digits(), Module()):
        assert fit(model, load(found[2]).state).left == ""
        inner = getattr(model, "net", model)
        assert all(torch.equal(tensor, module.net.state_dict()[name]) for name, tensor in inner.state_dict().items())


def test_checkpoints_of_transformers(tmp_path):
    from transformers import Trainer, TrainingArguments

    images, classes = zoo.digits()
    data = [{"pixel_values": image, "labels": label} for image, label in zip(images[:80], classes[:80], strict=True)]
    arguments = TrainingArguments(
        tmp_path,
        num_train_epochs=3,
        per_device_train_batch_size=40,
        save_strategy="epoch",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(zoo.vit(), arguments, train_dataset=data)
    trainer.train()
    trainer.save_model()
    told = trajectory(find([tmp_path]), zoo.vit(), Wanted())
    found = told.models
    assert [(one.label, one.step, one.path.name) for one in found] == [
        (f"epoch {epoch}", 2 * epoch, f"checkpoint-{2 * epoch}") for epoch in (1, 2, 3)
    ]
    copies = f"one window for a model and its copy with the same weights: {tmp_path.name} of checkpoint-6"
    assert told.notes == [copies]
    last = trainer.model.state_dict()
    assert all(torch.equal(tensor, last[name]) for name, tensor in build(found[-1]).state_dict().items())
    model = zoo.vit()
    fit(model, load(found[-1]).state)
    assert all(torch.equal(tensor, last[name]) for name, tensor in model.state_dict().items())


def steps(epochs):
    """A small model and its optimizer, after each epoch."""
    torch.manual_seed(0)
    model = zoo.Digits()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    images, classes = zoo.digits()
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[:50]), classes[:50]).backward()
        optimizer.step()
        yield model, optimizer


def test_checkpoints_of_accelerate(tmp_path):
    from accelerate import Accelerator
    from accelerate.utils import ProjectConfiguration

    project = ProjectConfiguration(project_dir=str(tmp_path), automatic_checkpoint_naming=True)
    accelerator = Accelerator(cpu=True, project_config=project)
    for number, (model, optimizer) in enumerate(steps(11)):
        if number == 0:
            accelerator.prepare(model, optimizer)
        accelerator.save_state()
    told = trajectory(find([tmp_path / "checkpoints"]), zoo.Digits(), Wanted())
    assert [one.label for one in told.models] == [f"checkpoint_{number}" for number in range(11)]
    assert told.notes == []
    with pytest.raises(ModelError, match=r"holds no saved model: .*, as checkpoints in it: name those"):
        find([tmp_path])


def test_checkpoints_of_skorch(tmp_path):
    from skorch import NeuralNetClassifier
    from skorch.callbacks import Checkpoint, TrainEndCheckpoint

    images, classes = zoo.digits()
    named = Checkpoint(dirname=tmp_path, monitor=None, f_params="params_{last_epoch[epoch]}.pt", f_pickle="net.pkl")
    callbacks = [named, TrainEndCheckpoint(dirname=tmp_path)]
    options = {"criterion": nn.CrossEntropyLoss, "max_epochs": 3, "verbose": 0, "callbacks": callbacks}
    NeuralNetClassifier(zoo.Digits, **options).fit(images[:60], classes[:60])
    told = trajectory(find([tmp_path]), zoo.Digits(), Wanted())
    assert [one.label for one in told.models] == ["params_1.pt", "params_2.pt", "params_3.pt"]
    assert told.notes == [
        "left aside, since no model is read from it: criterion.pt, train_end_criterion.pt (holds no state dict: empty;"
        " save model.state_dict())",
        "one window for a model and its copy with the same weights: train_end_params.pt of params_3.pt",
    ]


def test_checkpoints_of_ignite(tmp_path):
    from ignite.engine import Events, create_supervised_trainer
    from ignite.handlers import ModelCheckpoint

    model = zoo.Digits()
    trainer = create_supervised_trainer(model, torch.optim.SGD(model.parameters(), 0.05), nn.functional.cross_entropy)
    keep = ModelCheckpoint(tmp_path, "net", n_saved=None)
    best = ModelCheckpoint(tmp_path, "best", n_saved=1, score_function=lambda engine: -engine.state.output)
    for handler in (keep, best):
        trainer.add_event_handler(Events.EPOCH_COMPLETED, handler, {"model": model})
    trainer.run(DataLoader(TensorDataset(*zoo.digits()), batch_size=100), max_epochs=3)
    told = trajectory(find([tmp_path]), zoo.Digits(), Wanted())
    assert [one.label for one in told.models] == ["net_model_4.pt", "net_model_8.pt", "net_model_12.pt"]
    assert len(told.notes) == 1
    assert told.notes[0].startswith("one window for a model and its copy with the same weights: best_model_")


def test_the_files_of_timm(tmp_path):
    for epoch, (model, optimizer) in enumerate(steps(11)):
        average = {
            name: value / 2 if value.is_floating_point() else value for name, value in model.state_dict().items()
        }
        saved = {"epoch": epoch, "arch": "digits", "state_dict": model.state_dict(), "state_dict_ema": average}
        saved |= {"optimizer": optimizer.state_dict(), "args": Namespace(lr=0.05), "metric": np.float64(epoch)}
        names = [f"checkpoint-{epoch}", "last", *(["model_best"] if epoch <= 3 else [])]
        for name in names:
            torch.save(saved, tmp_path / f"{name}.pth.tar")
    copies = (
        "one window for a model and its copy with the same weights: model_best.pth.tar of checkpoint-3.pth.tar,"
        " last.pth.tar of checkpoint-10.pth.tar"
    )
    for key, more in (
        (None, ["taken: state_dict; left aside: state_dict_ema, which --key takes"]),
        ("state_dict_ema", []),
    ):
        told = trajectory(find([tmp_path]), zoo.Digits(), Wanted(key=key))
        assert [one.label for one in told.models] == [f"epoch {epoch}" for epoch in range(11)]
        assert told.notes == [copies, *more]
