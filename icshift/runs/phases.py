"""The names of phases: which forwards of a run belong together.

A recorder writes `train` and `eval`, after the mode of the model, or the label that `Recorder.phase` gives. Phases that
begin with `probe` show the same inputs in every window. `icshift shift` writes `reference` and `data`.
"""

from __future__ import annotations

TRAIN = "train"
EVAL = "eval"

PROBE = "probe"
"""The same inputs in every window, with the model in eval mode."""

PROBE_TRAIN = "probe-train"
"""A recorder's probe with the whole model in training mode: batch norm by the batch, dropout drawn anew."""

PROBE_BATCH = "probe-batch"
"""A saved model's inputs with batch norm by the batch and everything else in eval mode."""

PROBE_PRECISE = "probe-precise"
"""The same inputs while batch norm uses statistics that were computed from all of them."""

REFERENCE, DATA = "reference", "data"
"""The two data sets that `icshift shift` compares."""


def is_probe(phase: str) -> bool:
    """Whether a phase holds the same inputs in every window, so that its drift has no sampling noise."""
    return phase.startswith(PROBE)


def normalises_by_its_own_inputs(phase: str) -> bool:
    """Whether batch norm used the mean and variance of this phase's own inputs, so that its own weight and bias set
    the mean and standard deviation of what it gives."""
    return phase in (TRAIN, PROBE_TRAIN, PROBE_BATCH, PROBE_PRECISE)
