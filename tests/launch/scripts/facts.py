"""Prints what a script can know of how it was started, after a step of training."""

import atexit
import inspect
import io
import json
import pickle
import sys
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Point:
    x: int


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x):
        return self.fc(x)


def saved_and_loaded(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def facts():
    return {
        "argv": sys.argv,
        "name": __name__,
        "doc": __doc__,
        "file": __file__,
        "package": __package__,
        "spec": __spec__ and __spec__.name,
        "path": sys.path,
        "main": vars(sys.modules["__main__"]) is globals(),
        "pickle": pickle.loads(pickle.dumps(Point(3))) == Point(3),
        "pickled as": Point.__module__,
        "source": inspect.getsource(Point),
        "loaded": type(saved_and_loaded(model)) is Net,
        "threads": torch.get_num_threads(),
        "random": torch.rand(1).item(),
        "grad": torch.is_grad_enabled(),
    }


if __name__ == "__main__":
    atexit.register(lambda: print("at exit", Point(4)))
    torch.manual_seed(17)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(3, 2)).sum().backward()
    optimizer.step()
    print(json.dumps(facts(), indent=1))
