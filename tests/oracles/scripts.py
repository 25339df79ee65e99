"""Runs a training and keeps every activation with plain PyTorch hooks: the oracle of `icshift run`.

    python scripts.py OUT.npz CLASS[,CLASS…] SCRIPT|-m MODULE [args…]

It knows nothing of icshift. For every model whose class is named CLASS, and each of its modules that has parameters
of its own or normalises, OUT.npz holds under CLASS/MODULE/PHASE, PHASE after the mode the model is in:

    …/values   every activation [n, units]
    …/step     optimizer steps (of any optimizer) done before each of them [n]
    …/forward  forwards of the model in train mode done before each of them [n]

Under torchrun each rank writes its own OUT.rankN.npz. `torch.compile` compiles nothing here.
"""

import os
import runpy
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
CHANNEL_SECOND = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)


class Watch:
    """The models that were met, and what their modules gave."""

    def __init__(self, classes):
        self.classes = classes
        self.steps = 0
        self.forwards = {}
        self.kept = {}
        self._places = {}
        register_module_forward_pre_hook(self._enter)
        register_module_forward_hook(self._leave)
        register_optimizer_step_post_hook(self._stepped)

    def _stepped(self, *_):
        self.steps += 1

    def _enter(self, module, _):
        kind = type(module).__name__
        if kind in self.classes and kind not in self.forwards:
            self.forwards[kind] = 0
            for name, part in module.named_modules():
                if any(True for _ in part.parameters(recurse=False)) or isinstance(part, NORMS):
                    self._places[part] = (kind, name, module)

    def _leave(self, module, _, output):
        if torch._C._current_graph_task_id() != -1:
            return
        if module in self._places:
            kind, name, model = self._places[module]
            output = output[0] if isinstance(module, nn.RNNBase) else output
            axis = 1 if isinstance(module, CHANNEL_SECOND) else output.ndim - 1
            values = output.detach().movedim(axis, -1).reshape(-1, output.shape[axis]).double().numpy().copy()
            phase = "train" if model.training else "eval"
            self.kept.setdefault(f"{kind}/{name}/{phase}", []).append((values, self.steps, self.forwards[kind]))
        kind = type(module).__name__
        if kind in self.forwards and module.training:
            self.forwards[kind] += 1

    def save(self, path):
        """Write what was kept."""
        arrays = {}
        for key, calls in self.kept.items():
            lengths = [len(values) for values, _, _ in calls]
            arrays[f"{key}/values"] = np.concatenate([values for values, _, _ in calls])
            arrays[f"{key}/step"] = np.repeat([step for _, step, _ in calls], lengths)
            arrays[f"{key}/forward"] = np.repeat([forward for _, _, forward in calls], lengths)
        np.savez(path, **arrays)


def main(path, classes, *command):
    """Run the script as Python would, and save whatever happens to it."""
    if "RANK" in os.environ:
        path = str(Path(path).with_suffix(f".rank{os.environ['RANK']}.npz"))
    watch = Watch(classes.split(","))
    torch.compile = lambda model, **_: model
    own = os.getpid()
    try:
        run(command)
    finally:
        if os.getpid() == own:
            watch.save(path)


def run(command):
    """Run a script or `-m` and a module as Python would."""
    if command[0] == "-m":
        sys.argv, sys.path[0] = list(command[1:]), str(Path.cwd())
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = list(command), str(Path(command[0]).parent)
        runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
