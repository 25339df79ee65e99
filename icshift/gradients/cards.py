"""How a `Spectrum` and a `Slice` show themselves: their numbers with the errors of these, and a small chart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from icshift.card import bars, card, cells, number

if TYPE_CHECKING:
    from icshift.gradients.hessian import Spectrum
    from icshift.gradients.slices import Slice

DRAWN = 41
"""Points of a slice that are drawn, at most, along each direction."""


def spectrum_line(spectrum: Spectrum) -> str:
    """Returns a spectrum in one line."""
    largest = _measured(spectrum.eigenvalues[0], spectrum.errors[0]) if len(spectrum.eigenvalues) else "–"
    smallest = _measured(spectrum.smallest, spectrum.smallest_error)
    converged = "" if spectrum.converged else ", not converged"
    condition = number(spectrum.condition)
    return (
        f"<Spectrum of {spectrum.parameters:,} parameters: {largest} to {smallest}, condition {condition}{converged}>"
    )


def spectrum_card(spectrum: Spectrum) -> str:
    """Returns a spectrum as a card for a notebook."""
    known = math.isfinite(spectrum.condition)
    facts = [
        *(
            (f"eigenvalue {place}", _measured(value, error))
            for place, (value, error) in enumerate(zip(spectrum.eigenvalues, spectrum.errors, strict=True), 1)
        ),
        ("smallest", _measured(spectrum.smallest, spectrum.smallest_error)),
        ("condition", number(spectrum.condition) if known else "– (the smallest is not positive, or not known to 5 %)"),
        ("products with the Hessian", f"{spectrum.products:,}"),
        ("errors below the tolerance", "yes" if spectrum.converged else "no"),
    ]
    values = [*spectrum.eigenvalues.tolist(), spectrum.smallest]
    names = [*(f"{place}" for place in range(1, len(values))), "smallest"]
    chart = bars(values, names, "largest eigenvalues and the smallest")
    between = f"Of {spectrum.parameters:,} eigenvalues those between are not known."
    return card("Spectrum of a Hessian", facts, chart, between if spectrum.parameters > len(values) else "")


def slice_line(plane: Slice) -> str:
    """Returns a slice in one line."""
    size = f"{len(plane.first)} × {len(plane.second)}"
    edge = " at the edge" if plane.at_edge else ""
    one, two = map(number, plane.curvatures)
    return f"<Slice of {size} losses: lowest {number(plane.lowest[2])}{edge}, curvatures {one} and {two}>"


def slice_card(plane: Slice) -> str:
    """Returns a slice as a card for a notebook."""
    least = _point(plane.minimum) if not plane.minimum_gap else f"– ({plane.minimum_gap})"
    lost = int(np.count_nonzero(~np.isfinite(plane.losses)))
    facts = [
        (
            "lowest point",
            _point(plane.lowest) + (", at the edge: it may fall further outside" if plane.at_edge else ""),
        ),
        ("minimum between points", least),
        ("curvatures", " and ".join(map(number, plane.curvatures))),
        ("elongation", number(plane.elongation)),
        ("lengths of the directions", " and ".join(map(number, plane.lengths))),
        ("cosine of their angle", number(plane.cosine)),
        *([("losses that are not finite", f"{lost:,}, crossed out")] if lost else []),
    ]
    every = max(math.ceil(len(plane.first) / DRAWN), math.ceil(len(plane.second) / DRAWN), 1)
    drawn = plane.losses[::every, ::every].tolist()
    ends = f"second direction {number(plane.second[0])}", number(plane.second[-1])
    chart = cells(drawn, ends, "loss: darker is larger; the first direction goes down")
    note = "" if every == 1 else f"One point of {every} along each direction is drawn."
    return card(f"Slice of {len(plane.first)} × {len(plane.second)} losses", facts, chart, note)


def _measured(value: float, error: float) -> str:
    return f"{number(value)} ± {number(error)}"


def _point(point: tuple[float, float, float]) -> str:
    first, second, loss = map(number, point)
    return f"{loss} at ({first}, {second})"
