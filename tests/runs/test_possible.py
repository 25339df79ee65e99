"""What no recording can have seen is refused, whatever a recording can have seen is not."""

from dataclasses import replace

import numpy as np
import pytest

from icshift.runs.possible import refuse_beyond, refuse_impossible, refuse_impossible_steps
from icshift.runs.reader import StoredRun
from tests.recorded import of_zoo
from tests.zoo.distributions import ZOO

SEEN = of_zoo("normal", 300)


@pytest.mark.some(16)
@pytest.mark.parametrize("n", [1, 300, 6000])
@pytest.mark.parametrize("name", ZOO)
def test_whatever_is_recorded_is_possible(name, n):
    for dtype in (np.float32, np.float64):
        seen = of_zoo(name, n, dtype=dtype)
        both = seen.merge(of_zoo(name, n, seed=1, dtype=dtype))
        for one in (seen, both, both.merge(of_zoo(name, 40, seed=2, dtype=dtype))):
            refuse_impossible(vars(one))
            refuse_beyond(vars(one), vars(one))


CHANGES = {
    "count": ({"count": -SEEN.count}, "count is -300"),
    "nonfinite": ({"nonfinite": SEEN.nonfinite - 1}, "nonfinite is -1"),
    "std": ({"std": -SEEN.std}, "std is -"),
    "zero_share": ({"zero_share": SEEN.zero_share + 1.5}, "zero_share is not between 0 and 1"),
    "min": ({"min": SEEN.max, "max": SEEN.min}, "min, max are not in ascending order"),
    "values": ({"values": SEEN.values[:, ::-1]}, "values are not in ascending order"),
    "rank_error": ({"rank_error": float("nan")}, "rank_error is nan"),
    "blocks": ({"blocks": replace(SEEN.blocks, zeros=SEEN.blocks.sampled + 1)}, "block_zeros counts more"),
}


@pytest.mark.parametrize(("changes", "told"), CHANGES.values(), ids=CHANGES)
def test_what_cannot_be_is_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        refuse_impossible(vars(replace(SEEN, **changes)))


@pytest.mark.parametrize(
    ("column", "value"),
    [("count", -5), ("std", -1.0), ("zero_share", 2.0), ("q15", np.inf), ("step", -1)],
)
def test_steps_that_cannot_be_are_refused(two_windows, column, value):
    steps = StoredRun(two_windows).steps().rename(columns={"sd": "std"})
    refuse_impossible_steps(steps)
    with pytest.raises(ValueError, match=r"negative|between|ascending"):
        refuse_impossible_steps(steps.assign(**{column: value}))
