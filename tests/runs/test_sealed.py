"""Whatever bit of a file is another, its checksums say so; what was written by others is read without them."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icshift.runs import sealed
from tests.mutants import flip

TABLE = pa.table({"a": list(range(200)), "b": [x / 7 for x in range(200)]}, metadata={b"icshift": b'{"index": 1}'})


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file.parquet"
    path.write_bytes(sealed.parquet(TABLE, compression="lz4"))
    return path


def test_it_is_a_file_of_parquet_with_checksums_of_its_pages(file):
    found = pq.read_table(file, page_checksum_verification=True)
    assert found.equals(TABLE)
    assert found.schema.metadata[b"icshift"] == b'{"index": 1}'
    whole = file.read_bytes()
    file.write_bytes(whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(file, page_checksum_verification=True)


def test_every_flipped_bit_is_found(file):
    before = file.read_bytes()
    for seed in range(300):
        file.write_bytes(flip(before, random.Random(seed)))
        with pytest.raises(ValueError):  # noqa: PT011  In whichever words.
            sealed.content(file, 1 << 20)


def test_a_flipped_bit_in_the_checksums_or_the_words_around_them_is_found(file):
    whole = file.read_bytes()
    end = whole[-sealed.end_length(whole) :]
    start = end.index(sealed.CHECKSUMS)
    stop = start + len(sealed.CHECKSUMS) + 60
    assert b"of the footer " in end[start:stop]
    for place in range(start, stop):
        for bit in range(8):
            changed = end[:place] + bytes([end[place] ^ 1 << bit]) + end[place + 1 :]
            with pytest.raises(ValueError, match="checksum"):
                sealed.verified(changed)


def test_a_footer_is_checked_without_the_rest(file):
    whole = file.read_bytes()
    assert sealed.footer(file).num_rows == 200
    file.write_bytes(whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
    assert sealed.footer(file).num_rows == 200
    place = whole.rindex(b'"index": 1')
    file.write_bytes(whole[:place] + b'"index": 3' + whole[place + 10 :])
    with pytest.raises(ValueError, match="differs from its footer"):
        sealed.footer(file)


def test_a_file_without_checksums_is_read(file):
    pq.write_table(TABLE, file)
    assert not sealed.is_sealed(file)
    assert sealed.footer(file).metadata[b"icshift"] == b'{"index": 1}'
    assert sealed.content(file, 1 << 20) == file.read_bytes()


def test_a_table_is_sealed_anew(file):
    """As where a series is thinned."""
    table = pq.read_table(file).slice(0, 100)
    file.write_bytes(sealed.parquet(table))
    assert sealed.is_sealed(file)
    sealed.content(file, 1 << 20)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1\0\0\0\0", b"\xff" * 100, b"PAR1" + b"\xff\xff\xff\x7fPAR1"])
def test_what_is_no_file_of_parquet_is_refused(file, content):
    file.write_bytes(content)
    with pytest.raises((ValueError, OSError)):
        sealed.footer(file)
