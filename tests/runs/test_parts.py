"""Of files whose numbers lie within those of another one, that one stands."""

from itertools import permutations
from pathlib import Path

from icshift.runs.parts import name_of, part_of, parts_in, standing

NAMES = ("000001-000016", "000003", "000017-000032", "000020-000025", "000033", "000034")


def parts(names, rank=0):
    return [part_of(Path(f"{name}.rank{rank}.parquet")) for name in names]


def test_names_come_back():
    for first, last in ((1, 1), (1, 16), (999_999, 1_000_001)):
        part = part_of(Path(name_of(first, last, 3)))
        assert (part.first, part.last, part.rank) == (first, last, 3)
    for odd in (".000001.rank0.parquet.7", "1-2-3.rank0.parquet", "-2.rank0.parquet", "1-.rank0.parquet"):
        assert part_of(Path(odd)) is None


def test_what_lies_within_another_does_not_stand_in_whatever_order():
    kept = parts(("000001-000016", "000017-000032", "000033", "000034"))
    for order in permutations(parts(NAMES)):
        assert standing(order) == kept


def test_only_a_file_of_the_same_process_takes_the_place_of_another():
    mixed = [*parts(("000001-000016",)), *parts(("000003",), rank=1)]
    assert standing(mixed) == mixed


def test_files_that_only_overlap_all_stand():
    both = parts(("000001-000016", "000010-000030"))
    assert standing(both) == both


def test_a_folder_is_listed_in_the_order_of_numbers(tmp_path):
    for name in (
        "1000000.rank0.parquet",
        "999999.rank0.parquet",
        "000001-000002.rank0.parquet",
        "a",
        "5.rank7.parquet",
    ):
        (tmp_path / name).touch()
    assert [part.first for part in parts_in(tmp_path, 2)] == [1, 999_999, 1_000_000]
