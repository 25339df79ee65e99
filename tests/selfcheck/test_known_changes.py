"""The checks on known changes fail where they should, and allow what comes by chance."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from icshift.noise.movement import UNKNOWN_DEPENDENCE, Movement
from icshift.selfcheck import known_changes
from icshift.selfcheck.known_changes import SHIFTED, UNITS, Seen

NAN = float("nan")
NOTHING = np.zeros(UNITS, bool)


def judgement(*called, units=NOTHING, unknown=()):
    told = {} if unknown else {"fc2": 0.5, "fc3": 0.5}
    all_told = {"fc3": np.ones_like(units)}
    return Movement(called, told, {"fc3": units}, all_told, dict.fromkeys(unknown, "why"), UNKNOWN_DEPENDENCE)


SOUND = Seen(
    still=(judgement(),) * 20,
    ratio=1.25,
    probe=0.0,
    jumped=0.4,
    shift=judgement("fc3", units=SHIFTED),
    changed=judgement("fc2"),
    path=1.25,
    displacement=0.25,
    straightness=0.2,
)


def test_false_alarms_are_allowed_as_often_as_they_come_by_chance():
    allowed = known_changes.allowed_alarms(20)
    assert stats.binom.sf(allowed, 20, 0.05) <= known_changes.RARE < stats.binom.sf(allowed - 1, 20, 0.05)


def test_still():
    def judged(**changed):
        return known_changes.judge_still(replace(SOUND, **changed)).passed

    def some(wrong, number):
        return (wrong,) * number + (judgement(),) * (20 - number)

    allowed = known_changes.allowed_alarms(20)
    assert judged()
    assert judged(still=some(judgement("fc2"), allowed))
    assert not judged(still=some(judgement("fc2"), allowed + 1))
    assert not judged(still=some(judgement(unknown=["fc1"]), allowed + 1))
    assert not any(judged(ratio=ratio) for ratio in (0.0125, 0.7, 1.6, 6.0, NAN))
    assert not any(judged(probe=drift) for drift in (1e-7, NAN))


def test_shift():
    def judged(**changed):
        return known_changes.judge_shift(replace(SOUND, **changed)).passed

    missed = SHIFTED & (np.arange(UNITS) > 0)
    assert judged()
    assert not judged(shift=judgement(units=SHIFTED))
    assert not judged(shift=judgement("fc3", units=missed))
    assert not judged(shift=judgement("fc3", units=~NOTHING))
    assert not judged(changed=judgement())
    assert not any(judged(jumped=drift) for drift in (0.0, NAN))


@pytest.mark.parametrize("name", ["path", "displacement", "straightness"])
def test_path(name):
    assert known_changes.judge_path(SOUND).passed
    for wrong in (1.0002 * getattr(SOUND, name), NAN):
        assert not known_changes.judge_path(replace(SOUND, **{name: wrong})).passed


def test_health():
    columns = ["dead", "saturated", "near_constant", "nonfinite"]
    table = pd.DataFrame(
        [[3, NAN, 0, 0], [NAN, NAN, 0, 0], [NAN, 5, 0, 0], [NAN, NAN, 2, 1]], ["fc1", "fc2", "norm", "fc3"], columns
    )
    assert known_changes.judge_health(table).passed
    for site, of_site in known_changes.TROUBLE.items():
        for column, number in of_site.items():
            for wrong in (number + 1, NAN):
                changed = table.copy()
                changed.loc[site, column] = wrong
                assert not known_changes.judge_health(changed).passed
    assert not known_changes.judge_health(table.drop(index="norm")).passed
