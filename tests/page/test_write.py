"""The file of a page: whole in itself, whatever the names in it are, and no larger than it may be."""

import hashlib
import json
import re
from base64 import b64encode
from importlib.resources import files

import numpy as np
import pytest

from icshift.page.write import html
from tests.page.pages import HOSTILE, SHOWN, page_of_sites


def parts(text):
    """Policy, style, data of the first run and script of a file."""
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    whole = json.loads(re.search(r'id="meta">(.*?)</script>', text, re.DOTALL)[1])
    data = whole["runs"][0]
    script = re.search(r"<script>(.*)</script>", text, re.DOTALL)[1]
    return policy, style, data, script


def test_the_policy_allows_this_style_and_this_script_and_nothing_else():
    policy, style, _, script = parts(html(page_of_sites()).decode())
    allowed = [f"'sha256-{b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in (style, script)]
    assert policy.split("; ")[0] == "default-src 'none'"
    assert policy.endswith(f"style-src {allowed[0]}; script-src {allowed[1]}")


def test_nothing_in_it_is_elsewhere():
    text = html(page_of_sites()).decode()
    assert not re.search(r"https?://|url\(|@import|<link|<img|src=", text)


def test_names_cannot_end_the_element_that_they_are_in():
    plain, hostile = (html(page_of_sites(names=names)).decode() for names in (["a", "b", "c", "d", "e"], list(HOSTILE)))
    assert plain.count("<") == hostile.count("<")
    assert [site["name"] for site in parts(hostile)[2]["sites"]] == list(SHOWN)


def test_nothing_is_put_in_as_markup():
    script = files("icshift.page").joinpath("assets", "page.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|setAttribute\(\"on", script)


def test_the_same_page_is_the_same_file():
    assert html(page_of_sites()) == html(page_of_sites())


@pytest.mark.parametrize(("noise", "units"), [(True, 256), (False, 1024)])
def test_it_is_folded_by_its_bytes_until_it_fits_and_says_so(noise, units):
    """Of the same size, noise takes more room than units that go the same way in all windows."""
    page = page_of_sites(sites=6, units=1024, windows=50, noise=noise)
    data = parts(html(page, bound=400_000).decode())[2]
    assert max(site["block_of"]["kept"] for site in data["sites"]) <= units + 32
    assert ("256 are here" in " ".join(data["folded"])) == noise
    assert len(html(page, bound=400_000)) <= 400_000


def test_the_promised_size_by_a_tenth_of_it():
    """60 sites x 4,096 units x 50 windows in 5 MB: a tenth of the sites in a tenth of that, of 1,024 recorded units."""
    page = page_of_sites(sites=6, units=1024, windows=50, noise=True)
    assert len(html(page, bound=500_000)) <= 500_000


def test_all_numbers_are_numbers_of_json():
    page = page_of_sites(sites=1, units=1, windows=1)
    data = parts(html(page).decode())[2]
    assert data["sites"][0]["codes"] == page.sites[0].codes.tolist()
    assert np.isnan(page.sites[0].drift).all()
