"""The grammar of conditions: what is read from their text, and what is refused with which words."""

import pytest

from icshift.analysis.conditions import parse
from icshift.errors import SelectionError

READ = {
    "w1_sd > 0.5": (None, "w1_sd", "median", ">", 0.5, ""),
    "fc1 w1_sd>0.5": ("fc1", "w1_sd", "median", ">", 0.5, ""),
    "  fc*   ks  >=  20 % ": ("fc*", "ks", "median", ">=", 0.2, "%"),
    "blocks.[0-3].relu#2 w1 < 3": ("blocks.[0-3].relu#2", "w1", "median", "<", 3, ""),
    "lstm[1].h p90(w1_sd) <= .5": ("lstm[1].h", "w1_sd", "p90", "<=", 0.5, ""),
    "max(psi) > 1e-3": (None, "psi", "max", ">", 0.001, ""),
    "median(w1) > 2.": (None, "w1", "median", ">", 2, ""),
    "w1_sd > 3x floor": (None, "w1_sd", "median", ">", 3, "x floor"),
    "w1_sd > 1.5 × floor": (None, "w1_sd", "median", ">", 1.5, "x floor"),
    "moved > 50%": (None, "moved", "", ">", 0.5, "%"),
    "nonfinite > 0": (None, "nonfinite", "", ">", 0, ""),
    "dead dead > 12.5%": ("dead", "dead", "", ">", 0.125, "%"),
    "a layer of mine near_constant >= 1": ("a layer of mine", "near_constant", "", ">=", 1, ""),
    "[!f]* zero_share > 7%": ("[!f]*", "zero_share", "median", ">", 0.07, "%"),
    "js > 0.3": (None, "js", "median", ">", 0.3, ""),
}


@pytest.mark.parametrize("text", READ)
def test_conditions_are_read(text):
    found = parse(text)
    expected = READ[text]
    assert (found.site, found.quantity, found.over, found.comparison, found.scale) == (*expected[:4], expected[5])
    assert found.limit == pytest.approx(expected[4], rel=1e-15)


@pytest.mark.parametrize("text", READ)
def test_what_is_shown_of_a_condition_reads_as_the_same(text):
    found = parse(text)
    assert parse(str(found)) == found


REFUSED = {
    "": "cannot read the condition ''; expected",
    "w1_sd": "cannot read the condition 'w1_sd'; expected .*'fc\\* w1_sd > 0.5'",
    "w1_sd 0.5": "cannot read",
    "> 0.5": "cannot read",
    "w1_sd >": "cannot read",
    "0.1 < w1_sd < 0.5": "cannot read",
    "w1_sd > 0.5 and ks > 0.2": "cannot read",
    "w1_sd == 0.5": "no comparison '=='.*known: >, >=, <, <=",
    "w1_sd => 0.5": "no comparison '=>'",
    "w1_sd != 0.5": "no comparison '!='",
    "w1sd > 0.5": "no metric or condition 'w1sd'; did you mean w1_sd",
    "w1_sd fc1 > 0.5": "no metric or condition 'fc1'",
    "deed > 3": "did you mean dead",
    "mean(w1_sd) > 0.5": "no statistic 'mean'; did you mean median",
    "p90(w1sd) > 0.5": "no metric or condition 'w1sd'",
    "max(dead) > 3": "dead counts units: there is no max of it",
    "w1_sd > high": "no limit 'high' in 'w1_sd > high'; expected a number, a percentage",
    "w1_sd > nan": "no limit 'nan'",
    "w1_sd > 1e999": "no limit '1e999'",
    "w1_sd > 0,5": "no limit '0,5'",
    "w1_sd > 3x": "no limit '3x'",
    "w1_sd > 0.5 sd": "no limit '0.5 sd'",
    "w1_sd > -1": "w1_sd is never below 0",
    "dead > -1": "dead is never below 0",
    "dead > 0.2": "dead counts units: give a whole number or a percentage, not 0.2",
    "dead > 3x floor": "dead counts units and has no floor",
    "moved > 2x floor": "moved counts units and has no floor",
    "displacement > 2x floor": "displacement compares the same examples in both windows and has no floor",
    "p90(cka_distance) > 0.1": "cka_distance is one number a site: there is no p90 of it",
    "cka_distance > 2": "cka_distance is never above 1",
    "w1_sd > 20%": r"w1_sd is no share \(its unit: sd\)",
    "ks > 20": "ks is never above 1: no limit 20",
    "js > 2": "js is never above 1",
    "dead > 120%": "dead is never above 100%: no limit 120%",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_read_is_refused_in_words(text):
    with pytest.raises(SelectionError, match=REFUSED[text]):
        parse(text)
