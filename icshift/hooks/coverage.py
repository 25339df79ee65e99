"""The coverage ledger: what became of every module, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from icshift.model import names as naming
from icshift.model.sites import is_leaf, owns_weights, type_name

_BYPASSED = (
    "its weights were used (they have gradients), but not by calling it: its forward is called directly, or fused into "
    "its parent; call the module, or watch its parent"
)
_FUSED = "MultiheadAttention uses its weights directly; the attention's own output is the site"
_TORCHSCRIPT = "TorchScript takes no hooks; record the model it was made from"
_WITH_PARTS = (
    "not among the chosen sites, as its parts are; it has weights of its own too: choose it by name to record it"
)
_SHARED = "the same module as {}: its calls are told apart by #2, #3, …"
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
        self._used: set[str] = set()

    def note_no_tensor(self, name: str, output: Any) -> None:
        """Note that a module returned no tensor at all. Never raises."""
        self._without.setdefault(name, f"{type(output).__name__}, no tensor")

    def note_gradients(self, watched: Mapping[str, nn.Module]) -> None:
        """Note modules that have gradients although they were never called, while these gradients exist."""
        called = set(self.owners.values()) | self._without.keys()
        for name in watched.keys() - called:
            if any(parameter.grad is not None for parameter in watched[name].parameters()):
                self._used.add(name)

    def ledger(
        self,
        model: nn.Module,
        watched: Mapping[str, nn.Module],
        sites: Iterable[str],
        failed: Mapping[str, str],
        other: Mapping[str, str],
    ) -> list[dict[str, str]]:
        """Returns an entry a module, with the keys module (its name), type, state and reason ("": it was recorded).

        `watched` are the chosen modules, by name; `sites` those recorded, `failed` those given up, with the reason,
        `other` those that held no activations, with what they held. States: observed, failed, not a tensor, bypassed,
        never called, excluded. Modules without weights that only hold others are left out.
        """
        recorded = {self.owners.get(site, site) for site in sites}
        broken = {self.owners.get(site, site): reason for site, reason in failed.items()}
        empty = self._without | {self.owners.get(site, site): held for site, held in other.items()}
        names = _names(model)
        attention = [name for module, (name, *_) in names.items() if isinstance(module, nn.MultiheadAttention)]
        fused = {"out_proj" if name == naming.ROOT else f"{name}.out_proj" for name in attention}
        entries = []
        for module, (name, *aliases) in names.items():
            weightless = not owns_weights(module) or "parametrizations" in name
            if name not in watched and naming.takes_hooks(module) and not is_leaf(module) and weightless:
                continue
            states = (
                (name in broken, "failed", broken.get(name, "")),
                (name in recorded and name not in watched, "observed", "until another module took its name"),
                (name in recorded and bool(aliases), "observed", _SHARED.format(", ".join(aliases))),
                (name in recorded, "observed", ""),
                (name in empty, "not a tensor", f"it gave {empty.get(name)}; watch a module around it"),
                (name in fused, "bypassed", _FUSED),
                (not naming.takes_hooks(module), "excluded", _TORCHSCRIPT),
                (name not in watched and is_leaf(module), "excluded", "not among the chosen sites"),
                (name not in watched, "excluded", _WITH_PARTS),
                (name in self._used, "bypassed", _BYPASSED),
                (True, "never called", _NEVER),
            )
            state, reason = next((state, reason) for holds, state, reason in states if holds)
            entries.append(_entry(name, type_name(module), state, reason))
        there = {entry["module"] for entry in entries}
        return entries + [_entry(name, "–", "observed", "until it left the model") for name in sorted(recorded - there)]


def _entry(module: str, kind: str, state: str, reason: str) -> dict[str, str]:
    return {"module": module, "type": kind, "state": state, "reason": reason}


def _names(model: nn.Module) -> dict[nn.Module, list[str]]:
    """Every module with all of its names."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in naming.every_name(model):
        names.setdefault(module, []).append(name)
    return names
