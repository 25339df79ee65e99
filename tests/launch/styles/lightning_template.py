"""Lightning's template: a network in a LightningModule, a DataModule, a sanity check before and a test after it."""

import lightning as L
import torch
from fingerprint import fingerprint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class SimpleDenseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(8, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))

    def forward(self, x):
        return self.model(x.view(x.size(0), -1))


class LitModule(L.LightningModule):
    def __init__(self, net, lr):
        super().__init__()
        self.save_hyperparameters(logger=False, ignore=["net"])
        self.net = net
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, x):
        return self.net(x)

    def model_step(self, batch):
        x, y = batch
        logits = self.forward(x)
        return self.criterion(logits, y), (logits.argmax(1) == y).float().mean()

    def training_step(self, batch, batch_idx):
        loss, acc = self.model_step(batch)
        self.log("train/acc", acc, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        loss, acc = self.model_step(batch)
        self.log_dict({"val/loss": loss, "val/acc": acc})

    def test_step(self, batch, batch_idx):
        _, acc = self.model_step(batch)
        self.log("test/acc", acc)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.trainer.model.parameters(), lr=self.hparams.lr)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val/loss"}}


class DataModule(L.LightningDataModule):
    def setup(self, stage):
        x = torch.randn(260, 2, 4, generator=torch.Generator().manual_seed(1))
        data = TensorDataset(x, x.flatten(1)[:, :3].argmax(1))
        self.parts = [torch.utils.data.Subset(data, range(*span)) for span in ((0, 160), (160, 220), (220, 260))]

    def train_dataloader(self):
        return DataLoader(self.parts[0], batch_size=20, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.parts[1], batch_size=20)

    def test_dataloader(self):
        return DataLoader(self.parts[2], batch_size=20)


def train():
    L.seed_everything(12345, verbose=False)
    datamodule = DataModule()
    model = LitModule(SimpleDenseNet(), lr=0.01)
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model=model, datamodule=datamodule)
    print(f"val {trainer.callback_metrics['val/acc'].item():.4f}")
    trainer.test(model=model, datamodule=datamodule, verbose=False)
    print(f"test {trainer.callback_metrics['test/acc'].item():.4f}")
    print(fingerprint(model))


if __name__ == "__main__":
    train()
