"""The loss around saved models for the terminal, readable at 80 columns; reads what `Surface.as_dict` gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from icshift.reports.tables import facts

Found = dict[str, Any]

_ROUNDED = 0.1
"""Where rounding does more than this share of the shortest step, β is not known."""


def facts_table(found: Found) -> Table:
    """Everything about one model, a line or two each."""
    rows = [("loss", f"{_number(found['loss'])}, gradient norm {_number(found['gradient_norm'])}"), *_hessian(found)]
    if found["learning_rate"] is None:
        rows.append(("largest step", _largest_step(found)))
    else:
        rows += [("λ₁·lr", _stability(found)), *_along(found["along_gradient"])]
    if found["slice"] is not None:
        rows += [("contours", _elongation(found["slice"])), ("minimum", _minimum(found["slice"]))]
        rows += _quadratic(found["slice"])
    return facts(rows)


def models_table(models: Sequence[Found]) -> Table:
    """A row a model."""
    table = _table(models)
    rated = models[0]["learning_rate"] is not None
    sliced = models[0]["slice"] is not None
    names = ["loss", "‖g‖", "λ₁", "smallest"]
    for name in [*names, *(["λ₁·lr", "β·lr"] if rated else ["2/λ₁"]), *(["axes"] if sliced else [])]:
        table.add_column(name, justify="right", no_wrap=True)
    for found in models:
        top = found["eigenvalues"][0]
        cells = [_short(found["loss"]), _short(found["gradient_norm"])]
        cells.append(f"{_short(top['value'])} ±{_error(top['error'])}")
        values = [found["smallest"]]
        values += [found["lambda_lr"], _known_beta(found)] if rated else [found["largest_step"]]
        values += [found["slice"]["elongation"]] if sliced else []
        table.add_row(found["model"], *cells, *map(_short, values))
    return table


def moved_table(models: Sequence[Found]) -> Table:
    """A row a model after the first: where it is, seen from that; and where the minima of the slices lie."""
    sliced = models[0]["slice"] is not None
    table = _table(models)
    # Pairs of coordinates may be folded: all the rest is short.
    for name in ["distance", *(["at α, β", "off plane"] * sliced), "cos", *(["minimum", "its α, β"] * sliced)]:
        table.add_column(name, justify="right", no_wrap="α" not in name)
    for found in models:
        moved = found["moved"]
        cells = ["–"] * (4 if sliced else 2)
        if moved is not None:
            inside = [_pair(*moved["place"]), _short(moved["off_plane"])] if sliced else []
            cells = [_short(moved["distance"]), *inside, f"{moved['cosine']:.2f}"]
        if sliced:
            lowest = found["slice"]["minimum"]
            edge = " edge" if lowest["on_edge"] else ""
            cells += [_short(lowest["loss"]), f"{_pair(lowest['alpha'], lowest['beta'])}{edge}"]
        table.add_row(found["model"], *cells)
    return table


def _hessian(found: Found) -> list[tuple[str, str]]:
    values = [f"{_number(one['value'])}±{_error(one['error'])}" for one in found["eigenvalues"]]
    unsettled = "" if found["converged"] else ", not all errors below 0.01 %"
    return [
        ("Hessian", f"{counted(found['parameters'], 'parameter')}, {counted(found['products'], 'product')}{unsettled}"),
        ("largest", ", ".join(values)),
        ("smallest", f"{_number(found['smallest'])}±{_error(found['smallest_error'])}"),
        ("condition", _condition(found)),
    ]


def _condition(found: Found) -> str:
    if math.isfinite(found["condition"]):
        return f"number {_number(found['condition'])}, largest over smallest eigenvalue"
    if found["smallest"] < -found["smallest_error"]:
        return "– the loss is not convex here: the smallest eigenvalue is below 0"
    return "– the smallest eigenvalue is too near 0 to be known well enough"


def _largest_step(found: Found) -> str:
    if not math.isfinite(found["largest_step"]):
        return "– no direction curves upwards"
    return f"2/λ₁ = {_number(found['largest_step'])}: gradient descent diverges beyond it where the loss is quadratic"


def _stability(found: Found) -> str:
    value = found["lambda_lr"]
    if not math.isfinite(found["largest_step"]):
        return f"{_number(value)}; no direction curves upwards"
    stable = "below" if value < 2 else "not below"
    return f"{_number(value)}, {stable} 2 (plain gradient descent: stable to lr {_number(found['largest_step'])})"


def _along(along: Found) -> list[tuple[str, str]]:
    steps = sorted(point["step"] for point in along["points"])
    if not math.isfinite(along["gradient_norm"]) or along["gradient_norm"] == 0:
        return [("steps", "– the gradient is 0: there is nothing to go along")]
    return [
        ("steps", f"of {steps[0]:g} to {steps[-1]:g} lr ({along['rate']:g}) down the gradient g:"),
        ("", f"loss {_range(along['loss_min'], along['loss_max'])}"),
        (
            "",
            f"gradient moves by {_range(along['predictiveness_min'], along['predictiveness_max'])} "
            "(gradient predictiveness)",
        ),
        ("", f"β·lr {_beta(along)}"),
    ]


def _beta(along: Found) -> str:
    if _lost(along):
        return "– such steps are lost in rounding: --dtype float64 resolves shorter ones"
    if not math.isfinite(along["beta_rate"]):
        return f"– the loss or its gradient is not finite, at {along['beta_step']:g} lr first"
    return f"{_number(along['beta_rate'])} (reference 2), attained at {along['beta_step']:g} lr"


def _lost(along: Found) -> bool:
    return bool(along["rounding"] > _ROUNDED)


def _known_beta(found: Found) -> float:
    along = found["along_gradient"]
    return math.nan if _lost(along) else float(along["beta_rate"])


def _range(lowest: float, highest: float) -> str:
    if math.isnan(lowest) or math.isnan(highest):
        return "– (not finite)"
    return f"{_number(lowest)} to {_number(highest)}"


def _elongation(around: Found) -> str:
    if not math.isfinite(around["elongation"]):
        return "– no ellipses: the loss does not curve upwards in every direction of the plane"
    return f"{_number(around['elongation'])} times as long as wide at the model, by the curvature"


def _minimum(around: Found) -> str:
    lowest = around["minimum"]
    if not math.isfinite(lowest["loss"]):
        return "– no loss of the slice is finite"
    where = f"of the grid: {_number(lowest['loss'])} at α {lowest['alpha']:.3g}, β {lowest['beta']:.3g}"
    return f"{where}{', on its edge: the loss may fall further outside' if lowest['on_edge'] else ''}"


def _quadratic(around: Found) -> list[tuple[str, str]]:
    alpha, beta = around["quadratic_minimum"]
    if not math.isfinite(alpha):
        return []
    return [("", f"of the quadratic at the model: at α {alpha:.3g}, β {beta:.3g}")]


def explained(found: Sequence[Found]) -> list[str]:
    """What one must know to read the numbers, and where they are from; at most 80 columns."""
    first = found[0]
    lines = ["±: this near lies an eigenvalue (residual of Lanczos, rounding included)."]
    if first["learning_rate"] is not None:
        lines += [
            "λ₁·lr: full-batch gradient descent rises to 2 and hovers (Cohen et al. 2021).",
            "g, β: along the gradient, 0.5 to 4 lr (Santurkar et al. 2018, section 3.2).",
        ]
    if first["slice"] is not None:
        lines += _plane_in_words(first["model"] if len(found) > 1 else None, first["slice"])
        lines += _reach_in_words(first)
    if len(found) > 1:
        known = max(one["smallest_error"] for one in found)
        lines.append(f"{first['parameters']:,} parameters; every smallest eigenvalue within ±{known:.1g}.")
        lines.append("cos: of the top eigenvectors, without sign; distance: of trainable parameters.")
        lines += ["axes: length over width of the contours in that plane."] * (first["slice"] is not None)
    return lines


def _plane_in_words(whose: str | None, around: Found) -> list[str]:
    size = f"Slice: {around['points']} × {around['points']} points to ±{around['radius']:g} along"
    of = f" of {whose}" if whose else ""
    if around["plane"] == "hessian":
        return [f"{size} the top two eigenvectors{of};", "α, β are distances of the trainable parameters."]
    return [
        f"{size} two random directions, seed {around['seed']};",
        f"1 is as long as the weights{of}, filter by filter (Li et al. 2018).",
    ]


def _reach_in_words(found: Found) -> list[str]:
    """Where the radius is about what `fitting_radius` takes, what it is."""
    around, loss = found["slice"], abs(found["loss"])
    rise = found["eigenvalues"][0]["value"] * around["radius"] * around["radius"] / 2
    if around["plane"] != "hessian" or not 0.4 * loss < rise < 2.5 * loss:
        return []
    return [f"±{around['radius']:g} is about where the quadratic at the model doubles the loss."]


def next_step(found: Sequence[Found], *, charted: bool) -> str:
    """What would tell more."""
    if found[0]["learning_rate"] is None:
        return "Next: the same with --lr RATE compares the curvature with steps of the training"
    if found[0]["slice"] is not None and not charted:
        return "Next: the same with --chart loss.html draws the contours"
    if len(found) == 1:
        return "Next: name another saved model too, and see how the loss moved"
    around = found[0]["slice"]
    other = "--slice random" if around is None or around["plane"] == "hessian" else f"--seed {around['seed'] + 1}"
    return f"Next: the same with {other}: does another plane show the same?"


def not_finite(found: Found) -> list[str]:
    """How much of a slice has no loss, if any."""
    around = found["slice"]
    if around is None or not around["nonfinite"]:
        return []
    of = f"{around['nonfinite']:,} of {around['points'] ** 2:,} losses of its slice"
    return [f"{found['model']}: {of} are not finite: a smaller --radius shows more"]


def counted(number: int, what: str) -> str:
    """`1 example`, `1,400 examples`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _pair(alpha: float, beta: float) -> str:
    return f"{alpha:.2g}, {beta:.2g}"


def _table(models: Sequence[Found]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("model", overflow="fold", min_width=min(16, max(len(found["model"]) for found in models)))
    return table


def _number(value: float, form: str = ".4g") -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:{form}}" if math.isfinite(value) else "–"


def _short(value: float) -> str:
    return _number(value, ".3g")


def _error(value: float) -> str:
    return f"{value:.1g}"
