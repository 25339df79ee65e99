"""Runs a training and keeps every activation with plain PyTorch hooks, and what else is true of it: an oracle.

    python trainings.py OUT CLASS[,CLASS…] EPOCH SCRIPT|-m MODULE [args…]

It knows nothing of icshift. EPOCH is a Python expression for the script's own counter of epochs, in the words of the
script (`epoch`, `trainer.current_epoch`); whatever function of the script knows its names has them. Of every model
whose class is named CLASS it writes OUT/CLASS.npz (OUT/CLASS-2.npz for the second one that an optimizer steps, and so
on; under torchrun OUT/rank1/CLASS.npz), with the arrays

    SITE/PHASE/values     every activation [n, units]
    SITE/PHASE/at         of each of them [n, 5]: its forward, the epoch, how many steps of the model and how many
                          forwards in the phase `train` there were before it, and whether there was such a forward
                          since the last step
    steps, forwards       the epoch of each step of the model, of each forward in the phase `train`
    sites                 the names of all modules that are sites
    never, used, empty    of those that were never called, of those whose weights had gradients at a step although they
                          were not called before it, and of those that never gave a row
    unheard               how many steps came after no forward that is `train`
    masked                how many positions an argument `attention_mask` had, and how many of them were 0

and OUT/training.json: how many `steps` of optimizers there were, how many models of each class were `trained`, and
how many of them were never called (`silent`).

A SITE is a module that has parameters of its own and no parts that have some, or that normalises; from its second call
within a forward on with the call's number, which from the 16th on is `16+`. A forward is a call of the outermost part
of the model that is a site or has parts itself. Its PHASE is of the mode of that part: `train`, `no-grad` (training
mode without gradients), or `eval`, where batches come from loaders of several data sets apart: `eval-train` on those
that are trained on, `eval-2` on the second of the others. A step is a step of an optimizer that holds parameters of the
model, after a forward that is `train` or, where there is none, after another step of the same optimizer.
`torch.compile` compiles nothing here.
"""

import json
import os
import sys
from collections import Counter
from functools import wraps
from pathlib import Path

import numpy as np
import torch
from scripts import CHANNEL_SECOND, NORMS, run
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.utils.rnn import PackedSequence
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.checkpoint import CheckpointFunction
from torch.utils.data.dataloader import _BaseDataLoaderIter

POOLED = 16

FIRST_ALONE = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)


class Epoch:
    """The script's own counter."""

    def __init__(self, expression):
        self._code = compile(expression, "epoch", "eval")
        self._latest = -1

    def now(self):
        """Its value, and the last one known where no function that runs knows it."""
        frames = []
        frame = sys._getframe()
        while frame is not None:
            frames.append(frame)
            frame = frame.f_back
        for frame in reversed(frames):
            if "site-packages" in frame.f_code.co_filename or frame.f_globals is globals():
                continue
            try:
                self._latest = int(eval(self._code, frame.f_globals, frame.f_locals))
            except (NameError, AttributeError, TypeError, IndexError):
                continue
            break
        return self._latest


class Loaders:
    """What is drawn from: data sets, and the examples of them that a sampler names."""

    def __init__(self):
        self._drawn = self._latest = None
        self._sources = []
        self._trained = set()
        self._evaluated = {}
        following = _BaseDataLoaderIter.__next__

        @wraps(following)
        def followed(iterator):
            batch = following(iterator)
            self._drawn = self._latest = self._source(iterator)
            return batch

        _BaseDataLoaderIter.__next__ = followed

    def _source(self, iterator):
        chosen = getattr(getattr(iterator._index_sampler, "sampler", None), "indices", None)
        for place, (dataset, indices) in enumerate(self._sources):
            if dataset is iterator._dataset and indices is chosen:
                return place
        self._sources.append((iterator._dataset, chosen))
        return len(self._sources) - 1

    def stepped(self):
        """The batch that was drawn last was trained on."""
        self._trained.add(self._latest)
        self._drawn = None

    def phase(self, model):
        """The phase of an evaluation of a model."""
        if self._drawn is None:
            return "eval"
        if self._drawn in self._trained:
            return "eval-train"
        met = self._evaluated.setdefault(model, [])
        if self._drawn not in met:
            met.append(self._drawn)
        place = met.index(self._drawn) + 1
        return "eval" if place == 1 else f"eval-{place}"


class Model:
    """One model, the forward that it is in, and what its modules gave."""

    def __init__(self, root):
        self.root = root
        self.place = None
        self.steps = []
        self.kept = {}
        self.called = set()
        self.used = set()
        self.forwards = []
        self._open = []
        self._calls = Counter()
        self._phase = None
        self.masked = [0, 0]
        self._begun = False
        self._stepped = None
        self._unheard = 0
        self._forward = -1

    def sites(self):
        """The names of its sites, by module."""
        names = {}
        for name, part in self.root.named_modules():
            own = any(True for _ in part.parameters(recurse=False))
            whole = isinstance(part, FIRST_ALONE) or not any(True for c in part.children() for _ in c.parameters())
            if isinstance(part, NORMS) or (own and whole):
                names[part] = name or "(model)"
        return names

    def enter(self, module, name, epoch, loaders):
        parts = any(True for _ in module.children())
        if not self._open and name is None and not parts:
            return
        if not self._open:
            self._calls.clear()
            mode = "train" if torch.is_grad_enabled() or _within_checkpoint() else "no-grad"
            self._phase = mode if module.training else loaders.phase(self)
            self._forward += 1
            self._where = [self._forward, epoch.now(), len(self.steps), len(self.forwards), self._begun]
            if self._phase == "train":
                self._begun = True
                self.forwards.append(self._where[1])
        if not self._open or parts:
            self._open.append(module)

    def leave(self, module):
        if self._open and self._open[-1] is module:
            self._open.pop()

    def keep(self, module, name, output):
        self.called.add(name)
        within = bool(self._open) and (len(self._open) > 1 or self._open[0] is not module)
        self._calls[name] += 1
        number = self._calls[name] if within else 1
        while isinstance(output, tuple) and not isinstance(output, PackedSequence):
            output = output[0]
        output = output.data if isinstance(output, PackedSequence) else output
        if not isinstance(output, torch.Tensor) or not output.numel():
            return
        axis = 1 if isinstance(module, CHANNEL_SECOND) else output.ndim - 1
        values = output.detach().movedim(axis, -1).reshape(-1, output.shape[axis]).double().numpy().copy()
        site = name if number == 1 else f"{name}#{number if number < POOLED else f'{POOLED}+'}"
        self.kept.setdefault((site, self._phase), []).append((values, self._where))

    def stepped(self, optimizer, epoch):
        again = self._stepped is None or optimizer in self._stepped
        for module, name in self.sites().items():
            unheard = name not in self.called or (again and not self._begun)
            if unheard and any(p.grad is not None for p in module.parameters()):
                self.used.add(name)
        if self._begun or again:
            self._unheard += not self._begun
            self.steps.append(epoch.now())
            self._begun, self._stepped = False, set()
        self._stepped.add(optimizer)

    def save(self, path):
        names = set(self.sites().values())
        arrays = {
            "sites": np.array(sorted(names), str),
            "unheard": np.array(self._unheard),
            "masked": np.array(self.masked),
            "steps": np.array(self.steps, int),
            "forwards": np.array(self.forwards, int),
        }
        given = {site.split("#")[0] for site, _ in self.kept}
        for key, some in (("never", names - self.called), ("used", self.used), ("empty", self.called - given)):
            arrays[key] = np.array(sorted(some & names), str)
        for (site, phase), calls in self.kept.items():
            arrays[f"{site}/{phase}/values"] = np.concatenate([values for values, _ in calls])
            arrays[f"{site}/{phase}/at"] = np.concatenate([np.tile(at, (len(values), 1)) for values, at in calls])
        np.savez(path, **arrays)


def _within_checkpoint():
    """Whether this is the first forward of what reentrant checkpointing computes again with gradients."""
    frame = sys._getframe()
    while frame is not None and frame.f_code is not CheckpointFunction.forward.__code__:
        frame = frame.f_back
    return frame is not None


class Watch:
    """The models that are met while a script runs."""

    def __init__(self, classes, epoch):
        self.steps = 0
        self.trained = 0
        self._classes = classes
        self._epoch = Epoch(epoch)
        self._loaders = Loaders()
        self._models = {}
        self._holders = {}
        self._waiting = []
        self._follow_constructions()
        register_module_forward_pre_hook(self._enter)
        register_module_forward_hook(self._leave, always_call=True)
        register_optimizer_step_post_hook(self._stepped)

    def _follow_constructions(self):
        construct = nn.Module.__init__

        # A function: a method would be copied with each model that is, and the watch with it.
        def given(module, _, options):
            mask = options.get("attention_mask")
            if isinstance(mask, torch.Tensor) and module in self._models and torch._C._current_graph_task_id() == -1:
                self._models[module].masked[0] += mask.numel()
                self._models[module].masked[1] += int((mask == 0).sum())

        @wraps(construct)
        def constructed(module, *arguments, **options):
            construct(module, *arguments, **options)
            if type(module).__name__ in self._classes:
                self._waiting.append(module)
                module.register_forward_pre_hook(given, with_kwargs=True)

        nn.Module.__init__ = constructed

    def _holding(self, module):
        """The models that a module is a part of."""
        if module not in self._holders:
            if type(module).__name__ in self._classes and module not in self._models:
                self._waiting.append(module)
            for root in self._waiting:
                if root not in self._models:
                    self._models[root] = Model(root)
            self._waiting = []
            # Models grow: all are looked through again.
            for model in self._models.values():
                names = model.sites()
                for part in model.root.modules():
                    self._holders.setdefault(part, {})[model] = names.get(part)
            self._holders.setdefault(module, {})
        return self._holders[module]

    def _enter(self, module, _):
        if torch._C._current_graph_task_id() == -1:
            for model, name in self._holding(module).items():
                model.enter(module, name, self._epoch, self._loaders)

    def _leave(self, module, _, output):
        if torch._C._current_graph_task_id() == -1:
            for model, name in self._holding(module).items():
                if name is not None and output is not None:
                    model.keep(module, name, output)
                model.leave(module)

    def _stepped(self, optimizer, *_):
        self.steps += 1
        self._loaders.stepped()
        stepped = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for module in list(self._waiting):
            self._holding(module)
        for model in self._models.values():
            if any(id(parameter) in stepped for parameter in model.root.parameters()):
                model.stepped(optimizer, self._epoch)
                if model.place is None:
                    self.trained += 1
                    model.place = self.trained

    def save(self, path):
        """Write what was kept of the models that were trained."""
        path.mkdir(parents=True, exist_ok=True)
        met = Counter()
        stepped = sorted((m for m in self._models.values() if m.place), key=lambda m: m.place)
        kinds = {type(model.root) for model in stepped}
        # Where no optimizer steps any of a class, all of them.
        for model in [*stepped, *(m for m in self._models.values() if type(m.root) not in kinds)]:
            kind = type(model.root).__name__
            met[kind] += 1
            model.save(path / (f"{kind}.npz" if met[kind] == 1 else f"{kind}-{met[kind]}.npz"))
        silent = sum(not model.kept for model in stepped)
        facts = {"steps": self.steps, "trained": dict(met), "silent": silent}
        (path / "training.json").write_text(json.dumps(facts))


def main(path, classes, epoch, *command):
    """Run the script as Python would, and save whatever happens to it."""
    path = Path(path) / f"rank{os.environ['RANK']}" if os.environ.get("RANK", "0") != "0" else Path(path)
    watch = Watch(classes.split(","), epoch)
    torch.compile = lambda model, **_: model
    torch.backends.mha.set_fastpath_enabled(False)  # It calls no module, and is not taken where one has hooks.
    own = os.getpid()
    path = path.absolute()
    try:
        run(command)
    finally:
        if os.getpid() == own:
            watch.save(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
