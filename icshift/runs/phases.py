"""The names of phases: which forwards of a run belong together.

A recorder writes `train`, `eval` and `no-grad`, after the mode of what is called and whether gradients are computed, or
the label that `Recorder.phase` gives. Phases that begin with `probe` show the same inputs in every window. `icshift
shift` writes `reference` and `data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TRAIN = "train"
EVAL = "eval"

NO_GRAD = "no-grad"
"""Forwards in training mode while gradients are off, as an agent's that acts: no step is computed from them."""

PROBE = "probe"
"""The same inputs in every window, with the model in eval mode, but for layers that keep running averages: these
normalise as in training, batch norm by statistics of all the inputs. (Older runs: by running averages.)"""

PROBE_RUNNING = "probe-running"
"""The same, while these layers normalise by their running averages."""

PROBE_TRAIN = "probe-train"
"""A recorder's probe with the whole model in training mode: batch norm by the batch, dropout drawn anew."""

PROBE_BATCH = "probe-batch"
"""A saved model's inputs with batch norm by the batch and everything else in eval mode."""

PROBE_PRECISE = "probe-precise"
"""What the phase `probe` is now: so older runs of `icshift analyze` call it, where `probe` is by running averages."""

REFERENCE, DATA = "reference", "data"
"""The two data sets that `icshift shift` compares."""


PROBE_STATISTICS = "probe_statistics"
"""The entry of a run's settings that says by what layers with running averages normalised in the phase `probe`: by
`OWN_INPUTS`, by `RUNNING_AVERAGES` in a program that was exported with them, or null where the model has none. Older
runs do not have it: they used running averages."""

OWN_INPUTS = "own inputs"
RUNNING_AVERAGES = "running averages"


def is_probe(phase: str) -> bool:
    """Whether a phase holds the same inputs in every window, so that its drift has no sampling noise."""
    return phase.startswith(PROBE)


def normalises_by_its_own_inputs(phase: str, settings: Mapping[str, Any]) -> bool:
    """Whether batch norm used the mean and variance of this phase's own inputs, so that its own weight and bias set
    the mean and standard deviation of what it gives. `settings` are those of the run's manifest."""
    if phase == PROBE:
        return settings.get(PROBE_STATISTICS) == OWN_INPUTS
    return phase in (TRAIN, NO_GRAD, PROBE_TRAIN, PROBE_BATCH, PROBE_PRECISE)
