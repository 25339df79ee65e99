"""ignite: a trainer, and evaluators on the training and on the validation data after every epoch."""

import torch
from fingerprint import fingerprint
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.metrics import Accuracy, Loss
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 3)
        self.bn = nn.BatchNorm1d(4)
        self.fc = nn.Linear(24, 3)

    def forward(self, x):
        return self.fc(torch.relu(self.bn(self.conv(x))).flatten(1))


torch.manual_seed(2)
x = torch.randn(220, 1, 8)
y = x[:, 0, :3].argmax(1)
train_loader = DataLoader(TensorDataset(x[:160], y[:160]), batch_size=20, shuffle=True)
val_loader = DataLoader(TensorDataset(x[160:], y[160:]), batch_size=30)
model = Net()
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.005)
criterion = nn.CrossEntropyLoss()
trainer = create_supervised_trainer(model, optimizer, criterion)
val_metrics = {"accuracy": Accuracy(), "loss": Loss(criterion)}
train_evaluator = create_supervised_evaluator(model, metrics=val_metrics)
val_evaluator = create_supervised_evaluator(model, metrics=val_metrics)


@trainer.on(Events.EPOCH_COMPLETED)
def log_training_results(trainer):
    train_evaluator.run(train_loader)
    metrics = train_evaluator.state.metrics
    print(f"Training   {trainer.state.epoch}: accuracy {metrics['accuracy']:.2f} loss {metrics['loss']:.2f}")


@trainer.on(Events.EPOCH_COMPLETED)
def log_validation_results(trainer):
    val_evaluator.run(val_loader)
    metrics = val_evaluator.state.metrics
    print(f"Validation {trainer.state.epoch}: accuracy {metrics['accuracy']:.2f} loss {metrics['loss']:.2f}")


trainer.run(train_loader, max_epochs=3)
print(fingerprint(model))
