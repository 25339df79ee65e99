"""Models of the same layers, as a network and what `torch.fx` traced it to: recorded is the one that is called."""

from __future__ import annotations

from collections.abc import Mapping

from icshift.model.names import modules, own_parameters
from icshift.record.recorder import Recorder


def called_through_another(recorders: Mapping[str, Recorder]) -> dict[str, str]:
    """Returns the names of models that were never called, each with one that was and has all of their layers."""
    called = {
        name: set(modules(recorder.model).values()) for name, recorder in recorders.items() if recorder.forwards.called
    }
    found = {}
    for name, recorder in recorders.items():
        if not recorder.forwards.called:
            layers = {part for part in modules(recorder.model).values() if own_parameters(part)}
            of = next((other for other, parts in called.items() if layers and layers <= parts), None)
            if of is not None:
                found[name] = of
    return found
