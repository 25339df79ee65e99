"""Which phases are probes, and where batch norm used the inputs of the phase itself."""

import pytest

from icshift.runs import phases


@pytest.mark.parametrize(
    ("phase", "probe", "own"),
    [
        (phases.TRAIN, False, True),
        (phases.EVAL, False, False),
        (phases.PROBE_TRAIN, True, True),
        (phases.PROBE_BATCH, True, True),
        (phases.PROBE_PRECISE, True, True),
        (phases.PROBE_RUNNING, True, False),
        (phases.REFERENCE, False, False),
        (phases.DATA, False, False),
        ("fake", False, False),
    ],
)
def test_what_a_phase_is(phase, probe, own):
    assert phases.is_probe(phase) is probe
    assert phases.normalises_by_its_own_inputs(phase, {}) is own
    assert phases.normalises_by_its_own_inputs(phase, {"probe_statistics": "own inputs"}) is own


@pytest.mark.parametrize(
    ("settings", "own"), [({}, False), ({"probe_statistics": None}, False), ({"probe_statistics": "own inputs"}, True)]
)
def test_how_a_probe_normalised_is_in_the_settings(settings, own):
    """Older runs, which say nothing of it, used running averages."""
    assert phases.is_probe(phases.PROBE)
    assert phases.normalises_by_its_own_inputs(phases.PROBE, settings) is own


def test_names_are_those_of_runs_on_disk():
    """They stand in recorded files: another name would hide what older runs hold."""
    assert (phases.TRAIN, phases.EVAL, phases.PROBE) == ("train", "eval", "probe")
    assert (phases.PROBE_TRAIN, phases.PROBE_PRECISE) == ("probe-train", "probe-precise")
    assert (phases.PROBE_BATCH, phases.PROBE_RUNNING) == ("probe-batch", "probe-running")
    assert (phases.PROBE_STATISTICS, phases.OWN_INPUTS) == ("probe_statistics", "own inputs")
    assert (phases.REFERENCE, phases.DATA) == ("reference", "data")
