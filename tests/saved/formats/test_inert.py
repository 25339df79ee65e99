"""Pickles read as data: the same values as pickle gives, and nothing is ever imported or called."""

import io
import pickle
import sys
from collections import OrderedDict

import pytest

from icshift.errors import ModelError
from icshift.saved.formats import inert
from icshift.saved.formats.inert import Made, Name
from tests.saved import zoo


def read(content):
    return inert.parse(io.BytesIO(content))


SHARED = [1, 2]
VALUES = [
    None,
    True,
    {"epoch": 3, "loss": -0.25, "name": "é\n\x00", "raw": b"\x00\xff", "big": 1 << 200, "small": -5},
    [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [[]], {}],
    {"a": SHARED, "b": SHARED, (1, "x"): {2.5: SHARED}},
    "x" * 300,
    b"y" * 300,
    list(range(-3, 70_000, 997)),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_values_are_those_that_pickle_gives(value, protocol):
    content = pickle.dumps(value, protocol)
    if b"_codecs" in content:  # Before protocol 3 bytes are a call, which is not made.
        assert Name("_codecs", "encode") in read(content).names
    else:
        assert read(content).value == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_calls_stay_notes(protocol):
    found = read(zoo.armed_pickle(sys.exit, 3, protocol=protocol))
    assert found.value.what == Name("sys", "exit")
    assert found.value.arguments == (3,)
    assert list(found.names) == [Name("sys", "exit")]


def test_objects_keep_their_state():
    found = read(b"\x80\x02cnowhere\nThing\n)\x81}X\x01\x00\x00\x00aK\x07sb.")
    assert isinstance(found.value, Made)
    assert (found.value.what, found.value.state) == (Name("nowhere", "Thing"), {"a": 7})


def test_nothing_is_imported():
    assert "this" not in sys.modules
    read(b"cthis\ns\n.")
    read(b"\x80\x04\x8c\x04this\x8c\x01s\x93.")
    read(b"(ithis\ns\n.")
    assert "this" not in sys.modules


def test_ordered_dictionaries_are_dictionaries():
    value = OrderedDict(a=1, b=OrderedDict(c=2))
    assert read(pickle.dumps(value, 2)).value == value


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"(K\x01K\x022.", 2),  # DUP
        (b"K\x05K\x060.", 5),  # POP
        (b"K\x05(K\x06K\x071.", 5),  # POP_MARK
        (b"(lp0\nI1\nag0\na0g0\n.", None),
        (b"K\x01q\xff0h\xff.", 1),
        (b"K\x01r\xff\xff\xff\xff0j\xff\xff\xff\xff.", 1),  # A memo of four thousand million places, to pickle
        (b"\x80\x04\x8f(K\x01K\x01\x90.", [1, 1]),  # A set, unhashed
        (b"(K\x01K\x02d.", {1: 2}),
        (b"\x82\x07.", Name("copyreg", "extension 7")),
    ],
)
def test_rare_instructions(content, value):
    if value is None:
        value = read(content).value
        assert value[0] == 1
        assert value[1] is value
    else:
        assert read(content).value == value


def test_one_pickle_is_read_and_no_more():
    file = io.BytesIO(pickle.dumps(1) + pickle.dumps([2]) + b"rest")
    assert [inert.parse(file).value, inert.parse(file).value, file.read()] == [1, [2], b"rest"]


def nested(count, content=b"K\x01"):
    """A tuple of two of itself, many times over: a few bytes that unfold to 2**count values."""
    return content + b"q\x00h\x00\x86" * count


HOSTILE = {
    "a tuple that unfolds": b"\x80\x02" + nested(64) + b".",
    "a key that unfolds": b"\x80\x02}" + nested(64) + b"K\x01s.",
    "tuples in tuples": b"\x80\x02K\x01" + b"\x85" * 300_000 + b".",
    "a call on the same list again and again": b"\x80\x02]q\x00("
    + b"K\x01" * 9000
    + b"e"
    + b"c__builtin__\nset\nq\x010"
    + b"h\x01h\x00\x85R0" * 9000
    + b"h\x00.",
    "no stop": b"\x80\x02}",
    "nothing on the stack": b"\x80\x02.",
    "a mark that is missing": b"\x80\x02e.",
    "a memo that is empty": b"\x80\x02h\x07.",
    "text of terabytes": b"\x80\x04\x8d" + (1 << 42).to_bytes(8, "little") + b"x.",
    "bytes of exabytes": b"\x80\x05\x96" + (1 << 62).to_bytes(8, "little") + b"x.",
    "an odd number of keys and values": b"\x80\x02}(K\x01K\x02K\x03u.",
    "no pickle": b"not a pickle",
    "a buffer from outside": b"\x80\x05\x97.",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=list(HOSTILE))
def test_what_is_broken_or_endless_is_refused_at_once(content):
    with pytest.raises((ModelError, ValueError, IndexError, KeyError)):
        read(content)


def test_a_key_that_has_no_hash_is_a_key_all_the_same():
    assert list(read(b"\x80\x02}]K\x01s.").value.values()) == [1]


def test_lists_may_be_as_deep_as_they_like():
    found = read(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")
    assert isinstance(found.value, list)


def test_more_than_any_model_has_is_refused(monkeypatch):
    monkeypatch.setattr(inert, "_MOST_BYTES", 1000)
    with pytest.raises(ModelError, match="more than 0 MB"):
        read(pickle.dumps(["x" * 600, "y" * 600]))
    monkeypatch.setattr(inert, "_MOST_INSTRUCTIONS", 10)
    with pytest.raises(ModelError, match="more than 10 instructions"):
        read(pickle.dumps(list(range(20))))


def test_a_small_file_has_few_instructions(monkeypatch):
    monkeypatch.setattr(inert, "_FEW_INSTRUCTIONS", 10)
    assert read(pickle.dumps([0.5] * 100 + ["text"] * 100, 2)).value[0] == 0.5
    assert read(pickle.dumps({f"layer.{number}.weight": number / 2 for number in range(100)}, 2)).value
    with pytest.raises(ModelError, match="for what it holds"):
        read(b"\x80\x02" + b"N0" * 100 + b"N.")
