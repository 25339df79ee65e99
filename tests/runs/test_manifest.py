"""Every entry of a manifest is of its type and in its range when it has been read, or one line says which is not."""

import json
import random
import shutil

import pytest

from icshift.errors import RunError
from icshift.runs.format import MANIFEST, NOT_CALLED, Seen, Window
from icshift.runs.manifest import read_manifest, read_manifests, site_of, window_of, with_checksum
from icshift.runs.typed import UnexpectedError
from tests.mutants import flip
from tests.recorded import change_manifest

ODD = {
    "format true": ({"format": True}, "format is true: expected a whole number from 1"),
    "format 0": ({"format": 0}, "format is 0: expected a whole number from 1"),
    "format -1": ({"format": -1}, "format is -1: expected a whole number from 1"),
    "format as text": ({"format": "3"}, 'format is "3": expected a whole number from 1'),
    "format null": ({"format": None}, "format is null: expected"),
    "finished": ({"finished": "yes"}, 'finished is "yes": expected true or false'),
    "steps": ({"steps": 1.5}, "steps is 1.5: expected a whole number from 0"),
    "parameters": ({"parameters": -1}, "parameters is -1"),
    "model": ({"model": ["Net"]}, r'model is \["Net"\]: expected text'),
    "settings": ({"settings": []}, r"settings is \[\]: expected an object"),
    "samples": ({"settings": {"samples": "many"}}, 'settings.samples is "many"'),
    "overhead": ({"overhead": {"recording_seconds": "1", "wall_seconds": 2}}, "overhead.recording_seconds"),
    "unmasked": ({"unmasked": {"mask": {"hidden": 3, "positions": 0, "hiding": True}}}, "unmasked.mask.positions is 0"),
    "thinned": ({"thinned": {"steps_left_out": 4}}, "thinned.strides is missing"),
    "stopped": ({"stopped": "disk full"}, 'stopped is "disk full": expected an object'),
    "gaps": ({"gaps": [{"first_step": 1}]}, r"gaps\[0\].last_step is missing"),
    "both ends": ({"stopped": {"reason": "", "step": 1, "time": ""}, "finished": True}, "stopped and finished at once"),
    "more unheard steps than steps": ({"unheard_steps": 10**6}, "unheard_steps is 1000000, of 20 steps"),
    "files": ({"files": {"windows": -1}}, "files.windows is -1"),
    "ledger": ({"ledger": [{"module": "a", "state": 1, "reason": ""}]}, r"ledger\[0\].state is 1"),
}


@pytest.fixture
def file(two_windows, tmp_path):
    return shutil.copy(two_windows / MANIFEST, tmp_path / MANIFEST)


@pytest.mark.parametrize(("changes", "told"), ODD.values(), ids=ODD)
def test_an_odd_entry_is_named_in_one_line(file, changes, told):
    change_manifest(file, **changes)
    with pytest.raises(RunError, match=told) as caught:
        read_manifest(file)
    assert str(caught.value).startswith(f"{file} is damaged: ")
    assert "\n" not in str(caught.value)


OF_SITES = {
    "units": ({"units": -3}, r"sites\[0\].units is -3"),
    "kept out of order": ({"kept": [3, 1]}, r"sites\[0\].kept lists units that are not in order"),
    "kept of others": ({"kept": [1, 800]}, r"sites\[0\].kept lists units that are not in order, or not among the 8"),
    "in steps": ({"kept": [1, 2], "in_steps": [3]}, "in_steps has units that are not in"),
    "feeds": ({"feeds": "ReLU"}, r'sites\[0\].feeds is "ReLU": expected a list'),
    "twice": ({"name": "fc2"}, "is 'fc2' as is that of another"),
}


@pytest.mark.parametrize(("changes", "told"), OF_SITES.values(), ids=OF_SITES)
def test_an_odd_site_is_named_in_one_line(file, changes, told):
    sites = json.loads(file.read_text())["sites"]
    change_manifest(file, sites=[{**sites[0], **changes}, *sites[1:]])
    with pytest.raises(RunError, match=told):
        read_manifest(file)


def test_a_format_that_is_not_named_is_told_apart_from_one_that_is_odd(file):
    change_manifest(file, without=["format"])
    with pytest.raises(RunError, match="names no format"):
        read_manifest(file)


def test_every_flipped_bit_is_refused_or_in_the_name_of_the_checksum(file):
    before, whole = file.read_bytes(), read_manifest(file)
    for seed in range(200):
        file.write_bytes(flip(before, random.Random(seed)))
        try:
            found = read_manifest(file)
        except RunError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert {**whole, "checksum": 0} == {**{key: found.get(key) for key in whole}, "checksum": 0}


def test_whoever_changes_a_manifest_leaves_the_checksum_out(file):
    text = file.read_text()
    file.write_text(text.replace('"steps": 20', '"steps": 21'))
    with pytest.raises(RunError, match="delete the entry checksum"):
        read_manifest(file)
    change_manifest(file, steps=21)
    assert read_manifest(file)["steps"] == 21


def test_entries_of_newer_versions_stay_as_they_are(file):
    change_manifest(file, weather={"sun": [1, None]})
    assert read_manifest(file)["weather"] == {"sun": [1, None]}


def test_what_older_versions_did_not_write_is_not_known(tmp_path):
    file = tmp_path / MANIFEST
    file.write_text('{"format": 2, "sites": []}')
    found = read_manifest(file)
    assert (found["model"], found["steps"], found["parameters"], found["finished"]) == ("–", None, None, False)


def test_a_huge_manifest_is_refused_before_it_takes_memory(tmp_path):
    file = tmp_path / MANIFEST
    file.write_bytes(b'{"format": 3, "sites": [' + b"[]," * 5_000_000 + b"[]]}")
    with pytest.raises(RunError, match="more than 4,000,000 values"):
        read_manifest(file)
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(RunError, match="has more than 67,108,864 bytes"):
        read_manifests(tmp_path)


def test_the_checksum_is_of_all_before_it():
    text = with_checksum('{\n "format": 3\n}\n')
    assert json.loads(text) == {"format": 3, "checksum": "152c239a"}


def test_a_site_without_what_is_newer_is_a_site():
    site = site_of({"name": "a", "type": "Linear", "axis": 1, "units": 3, "kept": [0, 2], "mood": "good"})
    assert (site.kept, site.recorded, site.unseen) == ((0, 2), 2, "the version that recorded it saw modules only")


def test_a_sentence_of_older_versions_that_said_too_much_is_the_one_of_today():
    """They looked at three forwards with gradients, and said that no forward with gradients called a module."""
    said = "no forward of the model that computes gradients called it"
    site = site_of({"name": "a", "type": "Linear", "axis": 1, "units": 3, "unseen": said})
    assert site.unseen == NOT_CALLED != said


WINDOW = {"index": 2, "name": "b", "first_step": 3, "last_step": 5, "closed": True}


def test_a_window_comes_back():
    inputs = {"train": {"examples": 4, "hash": "0" * 16, "rows": None}, "eval": None}
    found = window_of({**WINDOW, "inputs": inputs, "newer": 1, "parameter_change": float("nan")})
    assert found.inputs == {"train": Seen(4, "0" * 16, None), "eval": None}
    assert window_of(WINDOW) == Window(**WINDOW)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"index": 0}, "window.index is 0: expected a whole number from 1"),
        ({"index": True}, "window.index is true"),
        ({"name": 3}, "window.name is 3: expected text"),
        ({"first_step": -1}, "window.first_step is -1"),
        ({"last_step": 1}, "window 2 has fewer steps than it says"),
        ({"left_out": 4}, "window 2 has fewer steps than it says"),
        ({"closed": None}, "window.closed is null"),
        ({"parameter_change": "far"}, "window.parameter_change"),
        ({"inputs": {"train": {"examples": 4, "hash": "xyz", "rows": None}}}, "expected 16 hexadecimal digits"),
    ],
)
def test_an_odd_window_is_named(changes, told):
    with pytest.raises(UnexpectedError, match=told):
        window_of({**WINDOW, **changes})
