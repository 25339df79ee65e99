"""Checkpoints as Lightning and Transformers themselves write them."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from icshift.saved.find import find
from icshift.saved.fit import fit
from icshift.saved.load import build, load
from tests.saved import zoo


def test_checkpoints_of_lightning(tmp_path):
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.save_hyperparameters({"rate": 0.01, "note": "kept beside the weights"})
            self.net = zoo.Digits()

        def training_step(self, batch):
            images, classes = batch
            return nn.functional.cross_entropy(self.net(images), classes)

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
    found = find([tmp_path])
    assert [(one.label, one.step, one.path.name) for one in found] == [
        (f"epoch {epoch}", 2 * epoch, f"checkpoint-{2 * epoch}") for epoch in (1, 2, 3)
    ]
    last = trainer.model.state_dict()
    assert all(torch.equal(tensor, last[name]) for name, tensor in build(found[-1]).state_dict().items())
    model = zoo.vit()
    fit(model, load(found[-1]).state)
    assert all(torch.equal(tensor, last[name]) for name, tensor in model.state_dict().items())
