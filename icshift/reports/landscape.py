"""The loss around saved models for the terminal, readable at 80 columns; reads what `Surface.as_dict` gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from icshift.reports.terminal import facts

Found = dict[str, Any]


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
        values += [found["lambda_lr"], found["along_gradient"]["beta_rate"]] if rated else [found["largest_step"]]
        values += [found["slice"]["elongation"]] if sliced else []
        table.add_row(found["model"], *cells, *map(_short, values))
    return table


def moved_table(models: Sequence[Found]) -> Table:
    """A row a model after the first: where it is, seen from that; and where the minima of the slices lie."""
    sliced = models[0]["slice"] is not None
    table = _table(models)
    for name in ["distance", *(["α", "β", "off plane"] if sliced else []), "cos", *(["minimum", "at α, β"] * sliced)]:
        table.add_column(name, justify="right", no_wrap=True)
    for found in models:
        moved = found["moved"]
        cells = ["–"] * (5 if sliced else 2)
        if moved is not None:
            inside = [*moved["place"], moved["off_plane"]] if sliced else []
            cells = [*map(_short, [moved["distance"], *inside]), f"{moved['cosine']:.2f}"]
        if sliced:
            lowest = found["slice"]["minimum"]
            edge = " edge" if lowest["on_edge"] else ""
            cells += [_short(lowest["loss"]), f"{lowest['alpha']:.2g}, {lowest['beta']:.2g}{edge}"]
        table.add_row(found["model"], *cells)
    return table


def _hessian(found: Found) -> list[tuple[str, str]]:
    values = [f"{_number(one['value'])} ±{_error(one['error'])}" for one in found["eigenvalues"]]
    unsettled = "" if found["converged"] else ", not all errors below 0.01 %"
    return [
        ("Hessian", f"{found['parameters']:,} parameters, {found['products']} products{unsettled}"),
        ("largest", ", ".join(values)),
        ("smallest", f"{_number(found['smallest'])} ±{_error(found['smallest_error'])}"),
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
    reached = "" if not math.isfinite(along["beta_step"]) else f", attained at {along['beta_step']:g} lr"
    return [
        ("steps", f"of {steps[0]:g} to {steps[-1]:g} lr ({along['rate']:g}) down the gradient g:"),
        ("", f"loss {_number(along['loss_min'])} to {_number(along['loss_max'])}"),
        (
            "",
            f"gradient moves by {_number(along['predictiveness_min'])} to {_number(along['predictiveness_max'])} "
            "(gradient predictiveness)",
        ),
        ("", f"β·lr {_number(along['beta_rate'])} (reference 2){reached}"),
    ]


def _elongation(around: Found) -> str:
    if not math.isfinite(around["elongation"]):
        return "– no ellipses: the loss does not curve upwards in every direction of the plane"
    return f"{_number(around['elongation'])} times as long as wide"


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
