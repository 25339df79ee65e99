"""The columns of a window's file, in the kinds in which they are asked for."""

from __future__ import annotations

from dataclasses import fields

import pytest

from icshift.distribution import Distribution
from icshift.runs.attributes import COLUMNS, KINDS, WHOSE, attributes
from icshift.runs.held import held
from icshift.runs.window_table import window_table
from tests.recorded import distribution, of_zoo, probe, site
from tests.zoo.distributions import draw

SEEN = {"normal": of_zoo("normal", 700), "few": distribution(draw("relu", 5)), "probe": probe(draw("normal", 300))}


@pytest.mark.parametrize("name", SEEN)
def test_the_kinds_are_all_there_is_of_a_distribution(name: str) -> None:
    table = window_table(1, {("train", site("a")): SEEN[name]})
    assert set(table.column_names) | {"odd_sampled"} == set(COLUMNS)
    found = {
        key: value
        for kind, columns in KINDS.items()
        for key, value in attributes(kind, held(_of(table, columns))).items()
    }
    assert set(found) == {field.name for field in fields(Distribution)}
    assert found["values"].tolist() == SEEN[name].values.tolist()
    assert (found["blocks"] is None) == (SEEN[name].blocks is None)
    assert (found["examples"] is None) == (SEEN[name].examples is None)


def test_what_a_row_is_of_is_no_attribute() -> None:
    assert not set(WHOSE) & {name for columns in KINDS.values() for name in columns}


def test_lists_of_several_lengths_are_refused() -> None:
    table = window_table(1, {("train", site("a")): of_zoo("normal", 7), ("train", site("b")): of_zoo("normal", 8)})
    with pytest.raises(ValueError, match="lists of several lengths"):
        attributes("values", held(table))


def _of(table, columns):
    return table.select([name for name in columns if name in table.column_names])
