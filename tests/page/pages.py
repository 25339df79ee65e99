"""Pages of given or random content, without a run."""

from dataclasses import replace

import numpy as np

from icshift.analysis.atlas import Series
from icshift.analysis.metrics import metric
from icshift.analysis.pictures import BINS, LEVELS, Densities, Fans, half_and_half
from icshift.page import look
from icshift.page.model import Line, Page, SiteOnPage, Table, Units, WindowOnPage
from icshift.page.pairs import Mark, Pair, Pairs, Ratio
from icshift.page.several import PageOfRun, Pages

HOSTILE = (
    "</script><script>document.title='owned'</script>",
    '"><img src=x onerror=alert(1)>',
    "a" * 300,
    "läyer.\u202e.名前\n\t",
    "__proto__",
)
SHOWN = tuple(name.replace("\u202e", "\ufffd") for name in HOSTILE)
"""The same on a page, where none turns round what stands after it."""


def site_of(random, name, units, windows, *, pictures=32, noise=False):
    """A site whose units drift from 0.5 to 20 times their floor."""
    ratio = (
        2.0 ** random.uniform(-1, 4, (units, windows))
        if noise
        else np.tile(2.0 ** random.uniform(-1, 4, (units, 1)), windows)
    )
    floor = np.full_like(ratio, 0.02)
    drift = ratio * floor
    scale = look.Scale(True, 0.0, 5.0, "drift over its floor", ((0.0, "1×"), (5.0, "32×")))
    codes = scale.codes(drift, floor, np.zeros(drift.shape, bool)) if units else np.zeros((0, windows), np.uint8)
    if windows:
        codes[:, 0] = look.ABSENT
    worst = ratio[:, 1:].max(1) if windows > 1 else np.full(units, np.nan)
    order = np.argsort(-worst, kind="stable")
    at = np.argmax(ratio[:, 1:], 1) + 1 if windows > 1 else np.full(units, -1)
    places = half_and_half(units, pictures)
    middle = np.median(drift, 0) if units else np.full(windows, np.nan)
    middle[:1] = np.nan
    level = np.where(np.isnan(middle), np.nan, 0.02)
    ridges = np.arange(min(windows, 25))
    quantiles = np.sort(random.normal(size=(len(places), windows, 5)), axis=2)
    heights = random.integers(0, LEVELS + 1, (len(places), len(ridges), BINS)).astype(np.uint8)
    return SiteOnPage(
        name=name,
        block=name.rpartition(".")[0],
        type="Linear",
        of=units,
        n=640,
        note="",
        affine=False,
        onset=None,
        onset_how="",
        onset_unknown="",
        drift=middle,
        floor=level,
        ratio=middle / level,
        moved=np.where(np.isnan(middle), np.nan, 0.5),
        why=("",) * windows,
        parts=np.where(np.isnan(middle)[:, None], np.nan, [0.2, 0.3, 0.5]),
        dead=np.full(windows, -1),
        constant=np.zeros(windows, np.int64),
        nonfinite=np.zeros(windows, np.int64),
        codes=scale.codes(middle, level, np.zeros(windows, bool)),
        units=Units(np.arange(units)[order], worst[order], at[order].astype(np.int64), codes[order]),
        fans=Fans(places, quantiles),
        densities=Densities(places, ridges, np.tile([-3.0, 3.0], (len(places), 1)), heights),
        series=Series(np.arange(100) * 3, np.sort(random.normal(size=(100, 5)), axis=1)),
    )


def page_of_sites(sites=4, units=40, windows=12, *, names=None, seed=0, **options):
    """A page of random sites; some have marks of their own: what is not finite, unknown, dead, and left its band."""
    random = np.random.default_rng(seed)
    names = names or [f"block{at // 3}.layer{at}" for at in range(sites)]
    found = [site_of(random, name, units, windows, **options) for name in names]
    if windows > 2:
        found[0] = replace(
            found[0],
            onset=12,
            onset_how="sd 2.000, band 0.500 to 1.000 of steps 0 to 8",
            nonfinite=_at(windows, 2),
            dead=_at(windows, 1, 3),
        )
        found[-1] = replace(found[-1], why=("", *["steps depend on each other"] * (windows - 1)))
    scale = look.Scale(True, 0.0, 5.0, "drift (w1_sd) over its floor", ((0.0, "1×"), (5.0, "32×")))
    rows = tuple(((one.name, None), ("Linear", None), (f"{at}.5", at + 0.5)) for at, one in enumerate(found))
    return Page(
        title="run",
        subtitle="runs/run · Net · phase train",
        command="icshift report runs/run -o run.html",
        sentences=("layer0 left the band of its past at step 12.", "Second.", "Third.", "Fourth."),
        facts=(("Cost", "1 s"),),
        warnings=(),
        notes=("a note",),
        versions="icshift 0",
        metric=metric("w1_sd").name,
        unit="sd",
        phase="train",
        reference="previous",
        window=windows - 1,
        scale=scale,
        windows=tuple(WindowOnPage(at + 1, str(at + 1), 10 * at, 10 * at + 9) for at in range(windows)),
        lines=(Line("loss", np.linspace(2, 1, windows)),),
        sites=tuple(found),
        tables=(Table("Sites in the last window", ("site", "type", "value"), rows),),
    )


def _at(windows, place, count=1):
    counts = np.zeros(windows, np.int64)
    counts[place] = count
    return counts


def pairs_of_groups(runs=5, *, names=("fc1 : norm1", "fc2"), tested=None):
    """Two groups of runs with known paths: B goes half as far as A; of 5 runs and more there are ratios."""
    paths = {group: [scale * (1 + 0.1 * at) for at in range(runs)] for group, scale in (("A", 2.0), ("B", 1.0))}
    pairs = tuple(
        Pair(
            name,
            (name.split(" : ")[0], name.split(" : ")[-1]),
            {
                phase: tuple(
                    Mark(group, at + 1, value * (place + 1), value / 9 if phase == "train" else 0.0)
                    for group, values in paths.items()
                    for at, value in enumerate(values)
                )
                for phase in ("train", "probe")
            },
            RATIOS if (runs >= 5 if tested is None else tested) else {},
        )
        for place, name in enumerate(names)
    )
    groups = tuple(tuple(f"runs/{group}{at}" for at in range(runs)) for group in "ab")
    return Pairs(groups, ("train", "probe"), "w1_sd", "sd", "A went twice as far as B.", ("a note on pairs",), pairs)


RATIOS = {"train": Ratio(2.0, 1.5, 2.7, 0.03, noisy=False), "probe": Ratio(0.5, 0.2, 1.1, 0.5, noisy=True)}


def pages_side_by_side(runs=5, **options):
    """Two groups of runs, and the pages of the first of each, whose sites are those of the pairs."""
    pairs = pairs_of_groups(runs, **options)
    made = []
    for place, group in enumerate("AB"):
        names = [pair.sites[place] for pair in pairs.pairs]
        page = replace(page_of_sites(names=names, units=12, windows=5, seed=place), title=f"run {group}")
        made.append(PageOfRun(page, f"{group}: runs/{group.lower()}0", group, 1))
    return Pages(tuple(made), "A: a0 · B: b0", pairs.notes, pairs)
