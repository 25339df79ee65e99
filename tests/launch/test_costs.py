"""Blocks of work within one another, and what recorders count themselves, count once."""

import time

from icshift.launch.costs import Costs


class Counted:
    whole = 0.0

    @property
    def stopwatch(self):
        return self


def test_what_recorders_count_is_not_counted_twice():
    costs, recorder = Costs(), Counted()
    with costs.counting([recorder]), costs.counting([recorder]):
        time.sleep(0.02)
        recorder.whole += 0.01
    assert 0.02 <= costs.whole([recorder]) < 5
    assert costs.whole([recorder]) - costs.whole([]) == 0.01
    costs.add(1)
    assert costs.whole([]) >= 1.01
