"""A distribution that reads of itself what it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from icshift.runs.attributes import KINDS
from icshift.runs.stored import Stored
from tests import laws
from tests.recorded import of_zoo

WHOLE = of_zoo("normal", 700)
OF_KIND = {"values": ["values"], "blocks": ["blocks"], "examples": ["examples"], "tails": ["tails"]}


def stored(asked: list[str]) -> Stored:
    def read(kind: str) -> Mapping[str, Any]:
        asked.append(kind)
        others = [name for names in OF_KIND.values() for name in names]
        names = OF_KIND.get(kind, [name for name in vars(WHOLE) if name not in others])
        return {name: getattr(WHOLE, name) for name in names}

    return Stored.at(WHOLE.units, read)


def test_a_kind_is_read_once_and_when_it_is_asked_for() -> None:
    asked: list[str] = []
    one = stored(asked)
    assert one.units == WHOLE.units
    assert asked == []
    assert np.array_equal(one.mean, WHOLE.mean)
    assert np.array_equal(one.std, WHOLE.std)
    assert one.rank_error == WHOLE.rank_error
    assert asked == ["moments"]
    assert one.blocks is WHOLE.blocks
    assert one.blocks is WHOLE.blocks
    assert asked == ["moments", "blocks"]
    laws.assert_identical(one, WHOLE)
    assert sorted(asked) == sorted(KINDS)


def test_it_is_a_distribution_like_any_other() -> None:
    laws.assert_identical(replace(stored([]), rank_error=0.5), replace(WHOLE, rank_error=0.5))
    laws.assert_identical(stored([]).take(np.array([2, 0])), WHOLE.take(np.array([2, 0])))
    laws.assert_identical(stored([]).merge(WHOLE), WHOLE.merge(WHOLE))
    assert np.array_equal(stored([]).quantile([0.1, 0.5]), WHOLE.quantile([0.1, 0.5]))
