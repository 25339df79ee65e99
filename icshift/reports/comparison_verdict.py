"""What two groups of runs show, in words: only what interval and test say, and what cannot be said."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from icshift.replicates.inference import CONFIDENCE
from icshift.replicates.values import LAST, PATH
from icshift.reports.tables import records

if TYPE_CHECKING:
    import pandas as pd

    from icshift.replicates.compare import RunComparison

NOISY = 0.5
"""Share of measurement error in a value from which on nothing is said about its ratio."""


def verdict(compared: RunComparison) -> str:
    """Returns what path and last window say, a line each, or why there is no statement about the methods."""
    design = compared.design
    if not design.enough:
        return _too_few(design.a, design.b)
    spans = (("Path", PATH), ("Last window", LAST))
    lines = [_of_span(compared, name, span, by) for by in compared.alignment.ways for name, span in spans]
    if design.least_p > 1 - CONFIDENCE:
        lines.append(
            f"{design.a} pairs cannot give a p below {design.least_p:.3f}: here the intervals say it, which take log "
            "ratios to be about normal. From 6 pairs on the test can say it alone."
        )
    lines.append("This is of these networks on these data; it is not whether a method trains better.")
    return "\n".join(lines)


def held(compared: RunComparison) -> dict[str, str]:
    """Returns by phase how many times as far A went as B along the whole path, where interval and test say so."""
    if not compared.design.enough:
        return {}
    rows = records(_over_all(compared, PATH, compared.alignment.ways[0]))
    return {row["phase"]: ratio(row["ratio"]) for row in rows if _decided(row, compared.design.least_p)}


def _over_all(compared: RunComparison, span: str, by: str) -> pd.DataFrame:
    """Returns the rows of all sites together, one a phase."""
    table = compared.ratios
    chosen = table[(table["site_a"] == "") & (table["by"] == by) & (table["metric"] == "w1_sd")]
    return chosen[chosen["span"] == span]


def _decided(row: dict[str, Any], least_p: float) -> bool:
    """Whether a ratio is known, not of noise, and apart from 1 by its interval and by its test."""
    apart = row["low"] > 1 or row["high"] < 1
    tested = row["p_adjusted"] <= max(1 - CONFIDENCE, least_p) * (1 + 1e-9)
    return bool(math.isfinite(row["ratio"]) and row["noise"] < NOISY and apart and tested)


def _too_few(a: int, b: int) -> str:
    if max(a, b) == 1:
        return "One seed: no statement about the method. Each run's value, with its error of measurement:"
    fewest = f"{a} seeds" if a == b else f"{a} and {b} runs"
    return f"{fewest}: too few for a statement about the method. Each run's value, with its error of measurement:"


def _of_span(compared: RunComparison, name: str, span: str, by: str) -> str:
    rows = {row["phase"]: row for row in records(_over_all(compared, span, by))}
    said = [f"{phase}: {_said(rows[phase], compared.design.least_p)}" for phase in compared.phases]
    how = f" by {by}" if len(compared.alignment.ways) > 1 else ""
    return f"{name}{how}, {'. '.join(said)}."


def _said(row: dict[str, Any], least_p: float) -> str:
    if not math.isfinite(row["ratio"]):
        return "not known, no site has a value above 0 in all runs"
    measured = f"{ratio(row['ratio'])} times as far as B (95 % {ratio(row['low'])} to {ratio(row['high'])})"
    if not row["noise"] < NOISY:
        return "mostly sampling noise, no statement" if row["noise"] >= NOISY else "its sampling noise is not known"
    apart = row["low"] > 1 or row["high"] < 1
    if not apart:
        return f"no difference shown, A went {measured}"
    return (
        f"A went {measured}"
        if _decided(row, least_p)
        else f"unclear, A went {measured} but p = {p_value(row['p_adjusted'])}"
    )


def ratio(value: float) -> str:
    """Returns a ratio with three significant digits.

    >>> ratio(0.48312), ratio(12.0), ratio(153.2)
    ('0.483', '12.0', '153')
    """
    if not 0.001 <= value < 1000:
        return f"{value:.2g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def p_value(p: float) -> str:
    """Returns a p-value with three decimals, none below 0.001."""
    return "–" if not math.isfinite(p) else "<0.001" if p < 0.001 else f"{p:.3f}"
