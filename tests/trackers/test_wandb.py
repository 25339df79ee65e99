"""What is in the file that `wandb sync` sends, read as W&B writes it: a log of LevelDB's with its own messages.

W&B is not among what the tests install: its twenty packages are no part of icshift's. `pip install 'icshift[wandb]'` in
an environment of its own runs this test.
"""

import json
import struct

import pytest

from icshift.api import Run
from icshift.trackers.series import Asked, sent

pytest.importorskip("wandb", reason="an extra with many packages of its own: pip install 'icshift[wandb]'")

from wandb.proto.wandb_internal_pb2 import Record

from icshift.trackers.wandb import write

BLOCK, HEADER = 32 * 1024, 7
FULL, FIRST, LAST = 1, 2, 4


def records(file):
    """LevelDB's format: blocks of 32 kB hold pieces of records, each after a checksum, its length and its kind."""
    data, at, parts = file.read_bytes(), HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        parts = (
            data[at + HEADER : at + HEADER + length] if kind in (FULL, FIRST) else parts + data[at + HEADER :][:length]
        )
        at += HEADER + length
        if kind in (FULL, LAST):
            yield Record.FromString(parts)


def test_every_series_is_in_the_file_that_is_sent(with_batch_norm, tmp_path):
    series = list(sent(Run(with_batch_norm), Asked(("w1_sd",))))
    written = write(tmp_path, Run(with_batch_norm), series)
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    found, config = {}, {}
    for record in records(file):
        items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for name in set(items) - {"_step", "_runtime", "_timestamp"}:
            found.setdefault(name, {})[items.get("_step", record.history.step.num)] = items[name]
        config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
    assert config["model"] == "Sequential"
    expected = {}
    for of in series:
        for one in of.scalars:
            expected[f"{of.phase}/{one.name}"] = dict(zip(one.steps.tolist(), one.values.tolist(), strict=True))
        for many in of.histograms:
            kept = {"_type": ["histogram"] * len(many.each)}
            kept |= {"values": [each.counts.tolist() for each in many.each]}
            kept |= {"bins": [each.edges.tolist() for each in many.each]}
            for part, values in kept.items():
                at = [each.step for each in many.each]
                expected[f"{of.phase}/{many.name}/{part}"] = dict(zip(at, values, strict=True))
    assert found == expected
    assert written.scalars + 3 * written.histograms == len(expected)
