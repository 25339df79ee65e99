"""One model, evaluated on several data sets, by the loops of those who do: each is a phase of its own."""

import textwrap

import pytest

import icshift
from tests.launch.launching import icshift_run

DATA = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)
train = DataLoader(TensorDataset(torch.randn(64, 8), torch.randint(2, (64,))), batch_size=16, shuffle=True)
test = DataLoader(TensorDataset(torch.randn(32, 8) + 3, torch.randint(2, (32,))), batch_size=16)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""

PLAIN = """
for epoch in range(3):
    model.train()
    for x, y in train:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()
    for loader in (train, test):
        for x, _ in loader:
            with torch.no_grad():
                model(x)
"""

ACCELERATE = """
from accelerate import Accelerator
accelerator = Accelerator(cpu=True)
model, optimizer, train, test = accelerator.prepare(model, optimizer, train, test)
for epoch in range(3):
    model.train()
    for x, y in train:
        with accelerator.accumulate(model):
            accelerator.backward(F.cross_entropy(model(x), y))
            optimizer.step()
            optimizer.zero_grad()
    model.eval()
    for loader in (test, train):
        for x, y in loader:
            with torch.no_grad():
                accelerator.gather_for_metrics((model(x), y))
"""

IGNITE = """
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.metrics import Accuracy
trainer = create_supervised_trainer(model, optimizer, nn.CrossEntropyLoss())
evaluator = create_supervised_evaluator(model, {"accuracy": Accuracy()})
@trainer.on(Events.EPOCH_COMPLETED)
def evaluate(_):
    evaluator.run(train)
    evaluator.run(test)
trainer.run(train, max_epochs=3)
"""

FASTAI = """
from torch.utils.data.dataloader import _SingleProcessDataLoaderIter
class Loader:
    '''As fastai's: it makes torch's iterators itself.'''
    def __init__(self, loader): self.loader = loader
    def __iter__(self): yield from _SingleProcessDataLoaderIter(self.loader)
def fit(batches):
    model.train()
    for x, y in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
before = {name: value.clone() for name, value in model.state_dict().items()}
fit(Loader(train))
fit(x for x, _ in zip(Loader(train), range(2)))
model.load_state_dict(before)
for epoch in range(3):
    fit(Loader(train))
    model.eval()
    with torch.no_grad():
        for x, _ in Loader(test):
            model(x)
"""


def test_a_search_for_a_rate_is_no_epoch(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(DATA + FASTAI)
    done = icshift_run("-q", "-o", tmp_path / "runs", script)
    assert done.returncode == 0, done.stderr
    run = icshift.open(tmp_path / "runs" / "model")
    assert [(window.name, window.first_step, window.last_step) for window in run.window_list] == [
        ("undone-1", 0, 5),
        ("3", 6, 9),
        ("4", 10, 13),
        ("5", 14, 17),
    ]
    counts = [run.distribution(phase, "0", 3).count[0] for phase in ("train", "eval")]
    assert counts == [64, 32]
    assert len(run.drift(phase="train")) == 2 * 18


@pytest.mark.some(3)
@pytest.mark.parametrize("loop", [PLAIN, ACCELERATE, IGNITE], ids=["plain", "accelerate", "ignite"])
@pytest.mark.parametrize("options", [(), ("--window", "4")], ids=["epochs", "--window"])
def test_an_epoch_is_a_window_and_each_data_set_a_phase(loop, options, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(DATA + textwrap.dedent(loop))
    done = icshift_run("-q", "-o", tmp_path / "runs", *options, script)
    assert done.returncode == 0, done.stderr
    run = icshift.open(tmp_path / "runs" / "model")
    assert [(window.first_step, window.last_step) for window in run.window_list] == [(0, 3), (4, 7), (8, 11)]
    expected = {"train": 64, "eval": 32, "eval-train": 64}
    for window in run.window_list:
        counts = {phase: int(run.distribution(phase, "0", window.index).count[0]) for phase in run.phases}
        assert counts == expected, window
