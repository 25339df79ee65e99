"""What a recording will take on disk, told at its first step: later it is spent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from icshift.record.recorder import Recorder
from icshift.runs.disk import SERIES_BYTES, expected, in_words

WORTH_TELLING = 1e6
"""Bytes of a window from which on a line on it is no noise between those of the script."""


def room(recorders: Mapping[str, Recorder], folder: Path) -> str:
    """Returns a line on the room that the models in training will take, from what was seen of them so far.

    It is empty where that is little.
    """
    sites = [site for recorder in recorders.values() for site in recorder.sites]
    each = expected(sites)
    if each.window < WORTH_TELLING:
        return ""
    models = f"{', '.join(recorders)}: " if len(recorders) < 4 else f"{len(recorders)} models: "
    return (
        f"{models}about {in_words(each.window)} a window and phase, and {in_words(each.step)} a step up to "
        f"{in_words(SERIES_BYTES)} a model, will be written to {folder}"
    )
