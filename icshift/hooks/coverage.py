"""The coverage ledger: what became of every module, why, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from icshift.hooks.attachment import Attachment
from icshift.hooks.observer import Observer
from icshift.model import names as naming
from icshift.model.copies import is_within
from icshift.model.parameters import has_gradients
from icshift.model.sites import is_default, is_leaf, owns_weights, type_name

_BYPASSED = (
    "its weights were used (they have gradients), but not by calling it: its forward is called directly, or fused into "
    "its parent; call the module, or watch its parent"
)
_BYPASSED_WITHIN = (
    "its weights were used (they have gradients), but not by calling it; the output of {}, which holds it, is recorded"
)
_OTHER_CALLS = (
    "steps were computed without calling it, by its forward or by other code that uses its weights: recorded are the "
    "other calls of it; call the module in the training, too"
)
_AROUND = "watched since parts of it were found to be bypassed"
_FUSED = "MultiheadAttention uses its weights directly; the attention's own output is the site"
_TORCHSCRIPT = "TorchScript takes no hooks; record the model it was made from"
_WITH_PARTS = (
    "not among the chosen sites, as its parts are; it has weights of its own too: choose it by name to record it"
)
_SHARED = "the same module as {}: its calls are told apart by #2, #3, …"
_COPY = (
    "{} is a copy of {} that is not trained, as an average of its weights is: give it a recorder of its own, or choose "
    "its modules by name"
)
_NO_ROWS = "it was called, always with 0 rows (or nothing but padding): nothing reached it"
_TIED = (
    "no forward went through it while recording; its weights are those of {} too, whose calls are recorded: what else "
    "uses them is not seen"
)
_NEVER = "it is watched, but no forward went through it while recording; was the model itself called?"


class Coverage:
    """Notes, while recording, what becomes of every module.

    There is no state for what was compiled before the recording: it is compiled again, with the hooks
    (`compiled.compile_again`).
    """

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}
        """The name of the module that returned each site's tensor, by site."""
        self._without: dict[str, str] = {}
        self._bypassed: set[str] = set()
        self._trained: set[str] = set()
        self.around: set[str] = set()
        """Modules that are watched although they were not chosen, since parts of theirs were bypassed."""

    def note_no_tensor(self, name: str, output: Any) -> None:
        """Note that a module returned no tensor at all. Never raises."""
        self._without.setdefault(name, f"{type(output).__name__}, no tensor")

    def note_gradients(self, watched: Mapping[str, nn.Module], trained: Iterable[str]) -> None:
        """Note modules that have gradients although none of these sites is theirs, while these gradients exist.

        What a module shares with one that was called (tied weights) may have its gradients from there.
        """
        called = {self.owners.get(site, site) for site in trained} | self._without.keys()
        self._trained |= called
        suspects = watched.keys() - called - self._bypassed
        if suspects:
            of_called = _parameters(watched[name] for name in called & watched.keys())
            self._bypassed |= {name for name in suspects if has_gradients(watched[name], besides=of_called)}

    def signs(self) -> tuple[int, ...]:
        """Returns what changes where the ledger does."""
        return tuple(map(len, (self.owners, self._without, self._bypassed, self._trained, self.around)))

    def never_called(self) -> set[str]:
        """The modules whose weights were trained so far, and never by calling them."""
        return self._bypassed - self._trained

    def ledger(
        self,
        model: nn.Module,
        attachment: Attachment,
        observer: Observer,
    ) -> list[dict[str, str]]:
        """Returns an entry a module, with the keys module (its name), type, state and reason ("": it was recorded).

        `attachment` knows the chosen modules and those left out, `observer` knows the sites that were recorded, those
        given up, and those that held no activations. States: observed, always 0 rows, failed, not a tensor, bypassed,
        bypassed in training (other calls were recorded), never called, in a copy, excluded. Modules without weights
        that only hold others are left out.
        """
        watched, copies = attachment.watched, attachment.left_out
        recorded = {self.owners.get(site, site) for site in observer.sites}
        filled = {self.owners.get(site, site) for site in observer.filled}
        broken = {self.owners.get(site, site): reason for site, reason in observer.failed.items()}
        empty = self._without | {self.owners.get(site, site): held for site, held in observer.other.items()}
        names = _names(model)
        attention = [name for module, (name, *_) in names.items() if isinstance(module, nn.MultiheadAttention)]
        fused = {"out_proj" if name == naming.ROOT else f"{name}.out_proj" for name in attention}
        entries = []
        for module, (name, *aliases) in names.items():
            weightless = not owns_weights(module) or "parametrizations" in name
            if name not in watched and naming.takes_hooks(module) and not is_leaf(module) and weightless:
                continue
            holder = _holder(name, recorded)
            states = (
                (name in broken, "failed", broken.get(name, "")),
                (name in recorded - filled, "always 0 rows", _NO_ROWS),
                (name in recorded & self._bypassed - self._trained, "bypassed in training", _OTHER_CALLS),
                (name in recorded and name not in watched, "observed", "until another module took its name"),
                (name in recorded and bool(aliases), "observed", _SHARED.format(", ".join(aliases))),
                (name in recorded, "observed", _AROUND if name in self.around else ""),
                (name in empty, "not a tensor", f"it gave {empty.get(name)}; watch a module around it"),
                (name in fused, "bypassed", _FUSED),
                (not naming.takes_hooks(module), "excluded", _TORCHSCRIPT),
                (
                    (copy := is_within(name, copies)) is not None and is_default(module),
                    "in a copy",
                    _COPY.format(copy, copies.get(copy or "")),
                ),
                (name not in watched and is_leaf(module), "excluded", "not among the chosen sites"),
                (name not in watched, "excluded", _WITH_PARTS),
                (name in self._bypassed and holder != "", "bypassed", _BYPASSED_WITHIN.format(holder)),
                (name in self._bypassed, "bypassed", _BYPASSED),
                (bool(ties := _ties(module, watched, recorded)), "never called", _TIED.format(", ".join(ties))),
                (True, "never called", _NEVER),
            )
            state, reason = next((state, reason) for holds, state, reason in states if holds)
            entries.append(_entry(name, type_name(module), state, reason))
        there = {entry["module"] for entry in entries}
        return entries + [_entry(name, "–", "observed", "until it left the model") for name in sorted(recorded - there)]


def why_nothing(ledger: Sequence[Mapping[str, str]]) -> str:
    """Returns the one reason for which most of the modules that were to be recorded were not, of a ledger's entries."""
    counted = Counter(entry["reason"] for entry in ledger if entry["state"] != "excluded")
    return counted.most_common(1)[0][0] if counted else "the model has no module to record"


def _entry(module: str, kind: str, state: str, reason: str) -> dict[str, str]:
    return {"module": module, "type": kind, "state": state, "reason": reason}


def _holder(name: str, recorded: Collection[str]) -> str:
    """The innermost recorded module that holds this one; empty where there is none but the model itself."""
    parts = name.split(".")[:-1]
    return next((held for end in range(len(parts), 0, -1) if (held := ".".join(parts[:end])) in recorded), "")


def _parameters(modules: Iterable[nn.Module]) -> set[nn.Parameter]:
    return {parameter for module in modules for parameter in module.parameters()}


def _ties(module: nn.Module, watched: Mapping[str, nn.Module], recorded: Iterable[str]) -> list[str]:
    """Names of the recorded modules that hold parameters of this one, where they hold all of them."""
    own = _parameters([module])
    ties = [name for name in watched if name in recorded and own & _parameters([watched[name]])]
    return ties if own <= _parameters(watched[name] for name in ties) else []


def _names(model: nn.Module) -> dict[nn.Module, list[str]]:
    """Every module with all of its names."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in naming.every_name(model):
        names.setdefault(module, []).append(name)
    return names
