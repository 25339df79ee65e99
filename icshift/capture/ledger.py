"""The coverage ledger: what became of every module, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from icshift.capture.sites import ROOT, is_leaf, takes_hooks


def ledger(
    model: nn.Module, watched: Mapping[str, nn.Module], sites: Iterable[str], failed: Mapping[str, str]
) -> list[dict[str, str]]:
    """One entry a module (module, type, state, reason); containers that were not chosen are left out.

    States: observed, failed, never called, excluded.
    """
    observed = {_module_of(site, watched) for site in sites}
    broken = {_module_of(site, watched): reason for site, reason in failed.items()}
    attention = {
        f"{name}.out_proj" for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)
    }
    entries = []
    for path, module in model.named_modules():
        name = path or ROOT
        if name in broken:
            state, reason = "failed", broken[name]
        elif name in observed:
            state, reason = "observed", ""
        elif name in attention:
            state, reason = "never called", "MultiheadAttention uses its weights directly; its own output is the site"
        elif name in watched:
            state, reason = "never called", f"{name} is watched but gave no floating-point tensor while recording"
        elif not takes_hooks(module):
            state, reason = "excluded", "TorchScript takes no hooks"
        elif is_leaf(module):
            state, reason = "excluded", "not among the chosen sites"
        else:
            continue
        entries.append({"module": name, "type": type(module).__name__, "state": state, "reason": reason})
    return entries


def _module_of(site: str, watched: Mapping[str, nn.Module]) -> str:
    """The longest watched module name that a site's name begins with: `lstm#2[0]` comes from `lstm`."""
    names = [name for name in watched if site == name or site.startswith((f"{name}#", f"{name}[", f"{name}."))]
    return max(names, key=len, default=site)
