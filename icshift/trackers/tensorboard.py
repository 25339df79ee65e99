"""Event files for TensorBoard, by its own writer: every phase is a run of it, so that phases share their charts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from icshift.trackers.series import Histogram, Sent, Written

if TYPE_CHECKING:
    from icshift.runs.reader import StoredRun


def write(folder: Path, _: StoredRun, series: Iterable[Sent]) -> Written:
    """Writes one event file a phase, each in a folder of its own."""
    sent = list(series)
    for of_phase in sent:
        writer = EventFileWriter(str(folder / _named(of_phase.phase)), filename_suffix=".icshift")
        try:
            for event in _events(of_phase):
                writer.add_event(event)
        finally:
            writer.close()
    return Written.all_of(sent)


def _named(phase: str) -> str:
    """Returns the name of a folder for a phase, whose name may be any word that somebody's training gave."""
    name = quote(phase, safe=" ")
    return name.replace(".", "%2E") if name.startswith(".") else name


def _events(series: Sent) -> Iterable[Event]:
    now = time.time()
    for one in series.scalars:
        for step, value in zip(one.steps.tolist(), one.values.tolist(), strict=True):
            yield _event(now, step, Summary.Value(tag=one.name, metadata=_words(one.meaning), simple_value=value))
    for many in series.histograms:
        for each in many.each:
            value = Summary.Value(tag=many.name, metadata=_words(many.meaning), histo=_histogram(each))
            yield _event(now, each.step, value)


def _event(now: float, step: int, value: Summary.Value) -> Event:
    return Event(wall_time=now, step=step, summary=Summary(value=[value]))


def _words(meaning: str) -> SummaryMetadata:
    return SummaryMetadata(summary_description=meaning)


def _histogram(each: Histogram) -> HistogramProto:
    return HistogramProto(
        min=each.edges[0],
        max=each.edges[-1],
        num=each.counts.sum(),
        sum=each.sum,
        sum_squares=each.squares,
        bucket_limit=each.edges[1:].tolist(),
        bucket=each.counts.tolist(),
    )
