"""What is kept of steps while they are recorded, in one stretch and in several that are joined."""

import numpy as np
import pytest

from icshift.sketch.ended import distribution_of
from tests import laws
from tests.recorded import accumulator, observe
from tests.zoo.distributions import FINITE, draw

pytestmark = pytest.mark.usefixtures("either_kernel")


def in_parts(steps, length):
    """The distribution of steps of values [units, n], in parts of so many steps; and the parts."""
    whole, parts = accumulator(3), []
    for number, values in enumerate(steps):
        if number and number % length == 0:
            parts.append(distribution_of(whole.part_ended()))
            whole.next_part()
        observe(whole, values)
        whole.tick(number)
    parts.append(distribution_of(whole.part_ended()))
    return distribution_of(whole.ended()), parts


@pytest.mark.some(5)
@pytest.mark.covering(1)
@pytest.mark.parametrize("length", [1, 4, 30])
@pytest.mark.parametrize("name", FINITE)
def test_a_window_in_parts_is_the_window(name, length):
    values = draw(name, 6400)
    whole, parts = in_parts(np.split(values, 100, axis=1), length)
    laws.assert_stands_for(whole, values)
    assert whole.blocks.steps.sum() == 100
    assert set(whole.blocks.steps[:-1].tolist()) == {8}
    assert sum(part.count[0] for part in parts) == whole.count[0]


def test_blocks_of_parts_hold_what_those_of_one_stretch_do():
    steps = np.split(draw("normal", 6400), 100, axis=1)
    in_one, _ = in_parts(steps, 1000)
    whole, _ = in_parts(steps, 4)
    np.testing.assert_array_equal(whole.blocks.steps, in_one.blocks.steps)
    np.testing.assert_array_equal(whole.blocks.sampled, in_one.blocks.sampled)
    np.testing.assert_allclose(whole.blocks.slices, in_one.blocks.slices, rtol=1e-5, atol=1e-6)


def test_what_is_left_open_belongs_to_the_next_part():
    whole = accumulator(3)
    values = draw("normal", 20)
    observe(whole, values)
    whole.tick(0)
    assert whole.holding
    whole.next_part()
    assert whole.holding
    assert not whole.ticks
    observe(whole, values)
    whole.tick(1)
    assert distribution_of(whole.part_ended()).count.tolist() == [20] * 3
    assert distribution_of(whole.ended()).count.tolist() == [40] * 3
    whole.restart()
    assert not whole.holding
