"""The loss around saved models: the report of `icshift landscape`; readable at 80 columns.

Models are what `icshift.replay.surface.Surface.as_dict` returns, and `about` is what all their numbers depend on:
`Survey.about`, and under `checkpoints` the paths of the saved models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from icshift.reports.contour import MINIMUM, MODEL, OTHER, Mark, Panel
from icshift.reports.report import Report
from icshift.reports.sheet import Sheet, of_rows
from icshift.reports.tables import Facts, counted

Model = dict[str, Any]
"""The numbers of one model."""

Along = dict[str, Any]
"""Its entry `along_gradient`: the smoothness of the loss."""

Around = dict[str, Any]
"""Its entry `slice`: losses on a plane through the parameters."""

_ROUNDED = 0.1
"""β is not known where rounding changes the parameters by more than this share of the shortest step."""


Grid = tuple[Any, Any, Any]
"""Coordinates along the first and along the second direction [points], and the losses there [points, points]."""

_WORDS = {"batch_norm": ("batch norm", "batch"), "instance_norm": ("instance norm", "example")}
"""Kinds of layers that normalise: the name of each, and what it normalises by if not by running averages."""


def landscape_report(
    about: Mapping[str, Any], models: Sequence[Model], warnings: Sequence[str], written: Mapping[str, str]
) -> Report:
    """Returns the report of the loss around the models, of its curvature, and of their distances from the first model.

    `warnings` are about the saved models. `written` says by the paths of files what is in them: `Slice`, `Chart`.
    """
    warnings = [*warnings, *(line for model in models for line in _not_finite(model)), *_left_out(about)]
    more = f" and {len(models) - 1} more" if len(models) > 1 else ""
    batches = "one batch" if about["batches"] == 1 else f"{about['batches']} batches of at most {about['batch_size']}"
    return Report(
        heading=f"{about['checkpoints'][0]}{more} · {about['network']}, {_loss_in_words(about)}",
        body=(
            f"{counted(about['examples'], 'example')} of {about['data']} in {batches}",
            f"{normalisation_in_words(about)}; dropout off",
            *([facts_table(models[0])] if len(models) == 1 else [models_table(models), _apart(models)]),
            Report(notes=tuple(_explained(models)), warnings=tuple(warnings)),
            *(f"{what} in {path}" for path, what in written.items()),
        ),
        next_step=_next_step(models, charted="Chart" in written.values()),
        data={
            **{name: value for name, value in about.items() if name != "left_out"},
            "models": list(models),
            "notes": warnings,
        },
    )


def contours(
    about: Mapping[str, Any], models: Sequence[Model], grids: Sequence[Grid]
) -> tuple[list[Panel], tuple[str, str], list[str]]:
    """Returns what a contour chart shows: one panel per model, titles of both axes, lines of the chart's title."""
    subtitle = [normalisation_in_words(about)]
    subtitle += ["α, β = 1: as long as the weights"] * (models[0]["slice"]["plane"] == "random")
    subtitle += ["each panel has its own lines, colours are shared"] * (len(models) > 1)
    title = [f"{_loss_in_words(about)} of {counted(about['examples'], 'example')}", " · ".join(subtitle)]
    panels = [_panel(model, grid, models) for model, grid in zip(models, grids, strict=True)]
    return panels, _axes(models[0]["slice"]), title


def _panel(model: Model, grid: Grid, models: Sequence[Model]) -> Panel:
    """Returns the panel of one model; that of the first shows where the others lie in its plane."""
    marks = [Mark(MODEL, 0.0, 0.0, model["model"])]
    called, lowest = _lowest(model["slice"])
    if math.isfinite(lowest["loss"]):
        marks.append(Mark(MINIMUM, lowest["alpha"], lowest["beta"], f"{called} {lowest['loss']:.3g}"))
    if model is models[0]:
        marks += [Mark(OTHER, *_place(other), other["model"]) for other in models[1:]]
    first, second, losses = grid
    return Panel(model["model"], first, second, losses.T, model["slice"]["lengths"], marks)


def _place(model: Model) -> tuple[float, float]:
    alpha, beta = model["moved"]["place"]
    return alpha, beta


def _axes(around: Around) -> tuple[str, str]:
    if around["plane"] == "hessian":
        return "α: distance along the top eigenvector", "β: distance along the second"
    return "α: along a random direction", "β: along another random direction"


def _loss_in_words(about: Mapping[str, Any]) -> str:
    return "the model's own loss" if about["loss_function"] == "own" else str(about["loss_function"])


def normalisation_in_words(about: Mapping[str, Any]) -> str:
    """Returns in words what batch norm and instance norm layers normalise by, of the kinds that the model has.

    >>> normalisation_in_words({"batch_norm": "batch", "instance_norm": "example"})
    'batch norm by the batch, instance norm by the example'
    """
    by = {kind: about[kind] for kind in _WORDS if about[kind] is not None}
    if not by:
        return "no batch norm"
    if list(by.values()) == ["running averages"] * 2:
        return "batch norm and instance norm by their running averages"
    as_in_training = ", as in training" if by == {"batch_norm": "batch"} else ""
    return ", ".join(_normalised_by(kind, what) for kind, what in by.items()) + as_in_training


def _normalised_by(kind: str, what: str) -> str:
    name, own = _WORDS[kind]
    if what == "running averages":
        return f"{name} by its running averages"
    return f"{name} by the {own}" if what == own else f"{name} by running averages, by the {own} where it has none"


def _left_out(about: Mapping[str, Any]) -> list[str]:
    if not about["left_out"]:
        return []
    return [f"{about['data']}: {about['left_out']:,} examples with values that are not finite are left out"]


def _apart(models: Sequence[Model]) -> Report:
    minima = "" if models[0]["slice"] is None else ", and the minima of their slices"
    return Report(f"How far they are from {models[0]['model']}{minima}", body=(moved_table(models),))


def facts_table(model: Model) -> Facts:
    """Returns a table of everything about one model, in one or two lines for each quantity."""
    rows = [("loss", f"{_number(model['loss'])}, gradient norm {_number(model['gradient_norm'])}"), *_hessian(model)]
    if model["learning_rate"] is None:
        rows.append(("largest step", _largest_step(model)))
    else:
        rows += [("λ₁·lr", _stability(model)), *_along(model["along_gradient"])]
    if model["slice"] is not None:
        rows += [("contours", _elongation(model["slice"])), *_minimum(model["slice"]), *_quadratic(model["slice"])]
    return Facts(rows)


def models_table(models: Sequence[Model]) -> Sheet:
    """Returns a table with one row per model: loss, gradient norm, curvature, and the axes of its contours."""
    rated = models[0]["learning_rate"] is not None
    sliced = models[0]["slice"] is not None
    names = [("loss", 0), ("‖g‖", 4), ("λ₁", 1), ("smallest", 5)]
    names += [*([("λ₁·lr", 2), ("β·lr", 3)] if rated else [("2/λ₁", 2)]), *([("axes", 6)] if sliced else [])]
    rows = []
    for model in models:
        top = model["eigenvalues"][0]
        cells = [_short(model["loss"]), _short(model["gradient_norm"])]
        cells.append(f"{_short(top['value'])} ±{_error(top['error'])}")
        values = [model["smallest"]]
        values += [model["lambda_lr"], _known_beta(model)] if rated else [model["largest_step"]]
        values += [model["slice"]["elongation"]] if sliced else []
        rows.append([model["model"], *cells, *map(_short, values)])
    return of_rows("model", names, rows)


def moved_table(models: Sequence[Model]) -> Sheet:
    """Returns a table with one row per model: its displacement from the first model, and the minimum of its slice."""
    sliced = models[0]["slice"] is not None
    names = [("distance", 0), *([("at α, β", 2), ("off plane", 5)] if sliced else []), ("cos", 1)]
    names += [("minimum", 3), ("its α, β", 4)] if sliced else []
    rows = []
    for model in models:
        displacement = model["moved"]
        cells = ["–"] * (4 if sliced else 2)
        if displacement is not None:
            inside = [_pair(*displacement["place"]), _short(displacement["off_plane"])] if sliced else []
            cells = [_short(displacement["distance"]), *inside, f"{displacement['cosine']:.2f}"]
        if sliced:
            called, lowest = _lowest(model["slice"])
            which = "" if called == "minimum" else " edge" if lowest["on_edge"] else " grid"
            cells += [_short(lowest["loss"]), f"{_pair(lowest['alpha'], lowest['beta'])}{which}"]
        rows.append([model["model"], *cells])
    return of_rows("model", names, rows)


def _hessian(model: Model) -> list[tuple[str, str]]:
    values = [f"{_number(pair['value'])}±{_error(pair['error'])}" for pair in model["eigenvalues"]]
    unsettled = "" if model["converged"] else ", not all errors below 0.01 %"
    return [
        ("Hessian", f"{counted(model['parameters'], 'parameter')}, {counted(model['products'], 'product')}{unsettled}"),
        ("largest", ", ".join(values)),
        ("smallest", f"{_number(model['smallest'])}±{_error(model['smallest_error'])}"),
        ("condition", _condition(model)),
    ]


def _condition(model: Model) -> str:
    if math.isfinite(model["condition_number"]):
        return f"number {_number(model['condition_number'])}, largest over smallest eigenvalue"
    if model["smallest"] < -model["smallest_error"]:
        return "– the loss is not convex here: the smallest eigenvalue is below 0"
    return "– the smallest eigenvalue is too near 0 to be known well enough"


def _largest_step(model: Model) -> str:
    if not math.isfinite(model["largest_step"]):
        return "– no direction curves upwards"
    return f"2/λ₁ = {_number(model['largest_step'])}: gradient descent diverges beyond it where the loss is quadratic"


def _stability(model: Model) -> str:
    value = model["lambda_lr"]
    if not math.isfinite(model["largest_step"]):
        return f"{_number(value)}; no direction curves upwards"
    stable = "below" if value < 2 else "not below"
    return f"{_number(value)}, {stable} 2 (plain gradient descent: stable to lr {_number(model['largest_step'])})"


def _along(along: Along) -> list[tuple[str, str]]:
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


def _beta(along: Along) -> str:
    if _lost(along):
        return "– such steps are lost in rounding: --dtype float64 resolves shorter ones"
    if not math.isfinite(along["beta_rate"]):
        return f"– the loss or its gradient is not finite, at {along['beta_step']:g} lr first"
    return f"{_number(along['beta_rate'])} (reference 2), attained at {along['beta_step']:g} lr"


def _lost(along: Along) -> bool:
    return bool(along["rounding"] > _ROUNDED)


def _known_beta(model: Model) -> float:
    along = model["along_gradient"]
    return math.nan if _lost(along) else float(along["beta_rate"])


def _range(lowest: float, highest: float) -> str:
    if math.isnan(lowest) or math.isnan(highest):
        return "– (not finite)"
    return f"{_number(lowest)} to {_number(highest)}"


def _elongation(around: Around) -> str:
    if not math.isfinite(around["elongation"]):
        return "– no ellipses: the loss does not curve upwards in every direction of the plane"
    return f"{_number(around['elongation'])} times as long as wide at the model, by the curvature"


def _lowest(around: Around) -> tuple[str, dict[str, Any]]:
    """Returns the minimum of a slice or, where it has none, the lowest point of its grid, and which of them it is."""
    known = math.isfinite(around["minimum"]["loss"])
    return ("minimum", around["minimum"]) if known else ("lowest point", around["lowest"])


def _minimum(around: Around) -> list[tuple[str, str]]:
    minimum, lowest = around["minimum"], around["lowest"]
    fitted = f"– {minimum['gap']}" if minimum["gap"] else f"{_where(minimum)}, of the quadratic around the lowest point"
    return [("minimum", fitted), ("", f"lowest point of the grid: {_where(lowest)}")]


def _where(point: Mapping[str, float]) -> str:
    return f"{_number(point['loss'])} at α {_number(point['alpha'], '.3g')}, β {_number(point['beta'], '.3g')}"


def _quadratic(around: Around) -> list[tuple[str, str]]:
    alpha, beta = around["quadratic_minimum"]
    if not math.isfinite(alpha):
        return []
    return [("", f"of the quadratic at the model: at α {alpha:.3g}, β {beta:.3g}")]


def _explained(models: Sequence[Model]) -> list[str]:
    """Returns notes on the meaning and the source of the numbers, each of at most 80 columns."""
    first = models[0]
    lines = ["±: this near lies an eigenvalue (residual of Lanczos, rounding included)."]
    if first["learning_rate"] is not None:
        lines += [
            "λ₁·lr: full-batch gradient descent rises to 2 and hovers (Cohen et al. 2021).",
            "g, β: along the gradient, 0.5 to 4 lr (Santurkar et al. 2018, section 3.2).",
        ]
    if first["slice"] is not None:
        lines += _plane_in_words(first["model"] if len(models) > 1 else None, first["slice"])
        lines += _reach_in_words(first)
    if len(models) > 1:
        known = max(model["smallest_error"] for model in models)
        lines.append(f"{first['parameters']:,} parameters; every smallest eigenvalue within ±{known:.1g}.")
        lines.append("cos: of the top eigenvectors, without sign; distance: of trainable parameters.")
        lines += ["minimum: of a quadratic around the lowest point; grid, edge: that point itself."] * (
            first["slice"] is not None
        )
        lines += ["axes: length over width of the contours in that plane."] * (first["slice"] is not None)
    return lines


def _plane_in_words(whose: str | None, around: Around) -> list[str]:
    size = f"Slice: {around['points']} × {around['points']} points to ±{around['radius']:g} along"
    of = f" of {whose}" if whose else ""
    if around["plane"] == "hessian":
        return [f"{size} the top two eigenvectors{of};", "α, β are distances of the trainable parameters."]
    return [
        f"{size} two random directions, seed {around['seed']};",
        f"1 is as long as the weights{of}, filter by filter (Li et al. 2018).",
    ]


def _reach_in_words(model: Model) -> list[str]:
    """Returns a note on the meaning of the radius where it is about the one of `fitting_radius`; else none."""
    around, loss = model["slice"], abs(model["loss"])
    rise = model["eigenvalues"][0]["value"] * around["radius"] * around["radius"] / 2
    if around["plane"] != "hessian" or not 0.4 * loss < rise < 2.5 * loss:
        return []
    return [f"±{around['radius']:g} is about where the quadratic at the model doubles the loss."]


def _next_step(models: Sequence[Model], *, charted: bool) -> str:
    """Returns the command that would show more."""
    if models[0]["learning_rate"] is None:
        return "Next: the same with --lr RATE compares the curvature with steps of the training"
    if models[0]["slice"] is not None and not charted:
        return "Next: the same with -o loss.html draws the contours"
    if len(models) == 1:
        return "Next: name another saved model too, and see how the loss moved"
    around = models[0]["slice"]
    other = "--slice random" if around is None or around["plane"] == "hessian" else f"--seed {around['seed'] + 1}"
    return f"Next: the same with {other}: does another plane show the same?"


def _not_finite(model: Model) -> list[str]:
    """Returns a warning with the number of points of the slice whose loss is not finite, in a list; empty if none."""
    around = model["slice"]
    if around is None or not around["nonfinite"]:
        return []
    of = f"{around['nonfinite']:,} of {around['points'] ** 2:,} losses of its slice"
    return [f"{model['model']}: {of} are not finite: a smaller --radius shows more"]


def _pair(alpha: float, beta: float) -> str:
    return f"{alpha:.2g}, {beta:.2g}"


def _number(value: float, form: str = ".4g") -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:{form}}" if math.isfinite(value) else "–"


def _short(value: float) -> str:
    return _number(value, ".3g")


def _error(value: float) -> str:
    return f"{value:.1g}"
