"""What all figures share: the file, the theme, names, and what to install."""

import builtins
from dataclasses import replace

import pytest

from icshift.errors import IcshiftError, SelectionError
from icshift.figures.atlas import atlas
from icshift.figures.frame import elided, facts, in_reference, named, require, samples, written
from icshift.page.look import exact
from tests.figures.reading import DARK, drawn
from tests.page.pages import page_of_sites

MAGIC = {".svg": b"<svg", ".png": b"\x89PNG\r\n", ".pdf": b"%PDF-"}


@pytest.mark.some(1)
@pytest.mark.parametrize("suffix", MAGIC)
def test_each_format_is_what_it_says(suffix):
    assert drawn(atlas(page_of_sites(sites=1, units=1, windows=2), DARK), suffix, "dark").startswith(MAGIC[suffix])


def test_dark_is_dark():
    chart = atlas(page_of_sites(sites=1, units=1, windows=2), DARK)
    assert DARK["ground"] in drawn(chart, theme="dark").decode()
    with pytest.raises(SelectionError, match="light or dark"):
        written(chart, ".svg", "grey")


def test_what_is_missing_is_named_with_how_to_get_it(monkeypatch):
    known = builtins.__import__

    def without(name, *rest, **more):
        if name == "vl_convert":
            raise ImportError(name=name)
        return known(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(IcshiftError, match=r'figures need vl_convert: pip install "icshift\[charts\]"'):
        require()


def test_names_are_data_and_long_ones_lose_their_middle():
    assert elided("a" * 38) == "a" * 38
    assert len(elided("a" * 39)) == 38
    assert named(['"];evil("'])["labelExpr"].startswith('["\\"];evil(\\""]')


def test_facts_say_what_the_numbers_are():
    page = page_of_sites()
    assert in_reference(replace(page, reference="run:other")) == "the same window of other"
    assert in_reference(replace(page, reference="phase:probe")) == "phase probe in the same window"
    assert in_reference(replace(page, reference="epoch 3")) == "window epoch 3"
    two = replace(page, sites=(page.sites[0], replace(page.sites[1], n=1280)))
    assert samples(two) == "n = 640 to 1,280 sampled activations a unit and window"
    assert "no floor is known" in facts(replace(page, scale=replace(page.scale, of_floor=False)))


def test_numbers_have_all_digits_of_a_float32():
    assert exact(1 / 3) == "0.333333333"
