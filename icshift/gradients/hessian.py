"""The Hessian of a loss: the two ends of its spectrum, by block Lanczos.

The Hessian is never formed: Lanczos (Golub & Van Loan, Matrix Computations, section 10.3) projects it on the space that
products with it span.

Two choices. The whole projection is kept, not a tridiagonal matrix: where it is not symmetric shows what rounding (or
an operation whose second derivative is wrong) did, and goes into the errors. And it starts with two vectors, since one
finds a multiple eigenvalue once; where a value comes twice, the search is done again with as many as are wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from icshift.errors import MeasurementError
from icshift.gradients.cards import spectrum_card, spectrum_line
from icshift.gradients.hessian_products import Product
from icshift.gradients.objective import Objective

Floats = NDArray[np.float64]

MEMORY = 2 * 2**30
"""Bytes that the vectors of a search may take; more only where the least number of vectors needs more."""

RESOLVED = 0.05
"""A condition number is given where the smallest eigenvalue's error is at most this share of it."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The ends of the spectrum of a Hessian of `parameters` rows, from `products` Hessian-vector products.

    `eigenvalues` are the algebraically largest, in descending order; no further from each than its entry in `errors`
    lies an eigenvalue (the residual's norm, and rounding). `vectors` are theirs, of length 1, as tensors shaped like
    the parameters. `smallest` is the other end: negative where the loss curves down. `condition` is the largest over
    the smallest; NaN unless the smallest is positive and known to 5 %. `converged`: all errors are below the tolerance.
    Eigenvalues are in units of the loss over the square of a parameter's. `hessian` makes one, and has an example.
    """

    eigenvalues: Floats
    errors: Floats
    vectors: list[list[Tensor]]
    smallest: float
    smallest_error: float
    condition: float
    converged: bool
    products: int
    parameters: int

    __repr__ = spectrum_line
    _repr_html_ = spectrum_card


def hessian(
    objective: Objective,
    *,
    top: int = 5,
    tolerance: float = 1e-4,
    iterations: int = 100,
    after: Callable[[], object] | None = None,
) -> Spectrum:
    """Returns the `top` largest eigenvalues of the loss's Hessian over all trainable parameters, and the smallest one.

    It stops when each error is below `tolerance` times its value (for a negative smallest: times the largest in
    magnitude), when no direction is left (it is exact then), or after `iterations` products (at most twice as many
    where eigenvalues are multiple). It keeps a vector like the parameters for each product, up to `MEMORY` bytes but at
    least 3 top + 8 of them; where more are needed it goes on from the best. `after` is called after every product.

    The mode of the model is the caller's. Batch normalisation in eval mode (PyHessian's) makes another function of the
    parameters than in training mode, with another Hessian; claims about training concern training mode. Compiled parts
    run eagerly, attention with torch's plain kernel: these can be differentiated twice. Raises `MeasurementError` for
    operations that cannot, for a Hessian that is not finite and for a closure whose loss varies.

    >>> import icshift, torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> scales = torch.tensor([[100.0, 1.0]])
    >>> objective = icshift.Objective(model, lambda: (scales * model.weight.square()).sum() / 2)
    >>> spectrum = icshift.hessian(objective, top=2)
    >>> spectrum.eigenvalues.round(3).tolist()
    [100.0, 1.0]
    >>> round(spectrum.condition, 2)
    100.0
    >>> spectrum.vectors[0][0].abs().round(decimals=3)  # The steepest direction, shaped like the weights.
    tensor([[1., 0.]])
    """
    if top < 1 or iterations < 1 or not tolerance > 0:
        raise MeasurementError(f"top={top}, tolerance={tolerance}, iterations={iterations}: expected more than zero")
    product = Product(objective, after)
    wanted = min(top, product.size)
    for width in sorted({min(2, wanted), wanted}):
        space = _Space(product, wanted, width, iterations)
        ritz = space.search(tolerance)
        if not ritz.multiple(wanted, tolerance):
            break
    return _spectrum(product, space, ritz, wanted, converged=space.exhausted or ritz.converged(wanted, tolerance))


@dataclass(frozen=True, eq=False)
class _Ritz:
    """Approximate eigenvalues in descending order, their errors, and their vectors' coordinates [basis, values]."""

    values: Floats
    errors: Floats
    coordinates: Floats
    rounding: float

    def close(self, tolerance: float) -> NDArray[np.bool_]:
        """Returns which values are known to the tolerance, or as well as rounding allows."""
        size = np.abs(self.values)
        if self.values[-1] < 0:
            size[-1] = size.max()
        return self.errors <= np.maximum(tolerance * size, 2 * self.rounding)

    def converged(self, wanted: int, tolerance: float) -> bool:
        """Returns whether the `wanted` largest values and the smallest are known to the tolerance."""
        close = self.close(tolerance)
        return len(close) >= wanted and bool(close[:wanted].all() and close[-1])

    def multiple(self, wanted: int, tolerance: float) -> bool:
        """Returns whether any known values among the `wanted` largest are equal within their errors."""
        values, errors, close = self.values[:wanted], self.errors[:wanted], self.close(tolerance)[:wanted]
        return bool((close[1:] & close[:-1] & (values[:-1] - values[1:] <= errors[:-1] + errors[1:])).any())


class _Space:
    """The space that products span: orthonormal rows, the last `width` of which are still to be multiplied.

    With Q for the rows that have been and B for those that are still to be, H Qᵀ = Qᵀ `inside` + Bᵀ `outside`.
    """

    def __init__(self, product: Product, wanted: int, width: int, iterations: int) -> None:
        self._product, self._wanted, self._left = product, wanted, iterations
        least = 3 * wanted + 8
        fitting = MEMORY // (product.size * torch.finfo(product.precision).bits // 8)
        rows = min(max(fitting, least), max(iterations, wanted) + 2 * width, product.size)
        self._rows = torch.empty(rows, product.size, dtype=product.precision, device=product.device)
        self.width = min(width, iterations)
        self.inside, self.outside = np.zeros((0, 0)), np.zeros((self.width, 0))
        self._scale = 0.0
        # A generator of our own on the CPU: the same start on every device, and nothing drawn from torch's.
        start = torch.randn(self.width, product.size, generator=torch.Generator().manual_seed(0))
        self._rows[: self.width] = torch.linalg.qr(start.to(self._rows).T)[0].T

    def search(self, tolerance: float) -> _Ritz:
        """Multiplies until the wanted values are known, and returns the approximations.

        It stops earlier where no direction or no product is left, and where equal values show that a wider search is
        needed.
        """
        widest = self.width >= self._wanted
        while True:
            self._expand()
            ritz = self._ritz()
            known = ritz.converged(self._wanted, tolerance)
            if known or self.exhausted or self.width > self._left:
                return ritz
            if not widest and ritz.multiple(self._wanted, tolerance):
                return ritz
            if len(self.inside) + 2 * self.width > len(self._rows) < self._product.size:
                self._compress(ritz)

    def vector(self, coordinates: Floats) -> list[Tensor]:
        """Returns the vector of length 1 with these coordinates, as tensors like the parameters."""
        row = self._combined(coordinates[None])[0]
        return self._product.shaped(row / row.norm())

    def _combined(self, coordinates: Floats) -> Tensor:
        """Returns the vectors with these coordinates, in the rows that have been multiplied: [vectors, size]."""
        with torch.autocast(self._rows.device.type, enabled=False):
            return torch.from_numpy(coordinates.copy()).to(self._rows) @ self._rows[: coordinates.shape[1]]

    def _expand(self) -> None:
        """Multiplies the rows that have not been yet; the parts of the products outside the space come next."""
        known = len(self.inside) + self.width
        image = self._product(self._rows[known - self.width : known])
        self._left -= self.width
        self._scale = max(self._scale, float(image.norm(dim=1).max()))
        within, new, leading = self._orthogonalised(image, known)
        self._rows[known : known + len(new)] = new
        self.inside = np.hstack([np.vstack([self.inside, self.outside]), within])
        self.outside = np.hstack([np.zeros((len(new), known - self.width)), leading])
        self.width = len(new)

    def _orthogonalised(self, image: Tensor, known: int) -> tuple[Floats, Tensor, Floats]:
        """Returns the image's coordinates in the space [known, width], new orthonormal rows, and those on these."""
        basis = self._rows[:known]
        with torch.autocast(image.device.type, enabled=False):
            within = basis @ image.T
            left, triangle = torch.linalg.qr((image - within.T @ basis).T)
            turn, sizes, leading = np.linalg.svd(_numbers(triangle))
            kept = min(int((sizes > self._rounding).sum()), self._product.size - known)
            new = torch.from_numpy(turn[:, :kept].T.copy()).to(left) @ left.T
            # Once more at length 1: where hardly anything of a product leads out, what did was rounding.
            again = basis @ new.T
            left, triangle = torch.linalg.qr((new - again.T @ basis).T)
        outside = sizes[:kept, None] * leading[:kept]
        return _numbers(within) + _numbers(again) @ outside, left.T, _numbers(triangle) @ outside

    def _ritz(self) -> _Ritz:
        values, coordinates = np.linalg.eigh((self.inside + self.inside.T) / 2)
        asymmetry = (self.inside - self.inside.T) / 2 @ coordinates
        residual = np.hypot(np.linalg.norm(self.outside @ coordinates, axis=0), np.linalg.norm(asymmetry, axis=0))
        errors = residual + self._rounding
        return _Ritz(values[::-1], errors[::-1], coordinates[:, ::-1], self._rounding)

    def _compress(self, ritz: _Ritz) -> None:
        """Keeps only the vectors that approximate the wanted values best (thick restart: Wu & Simon 2000)."""
        known, ends = len(self.inside), np.r_[: self._wanted + 2, -2:0]
        kept = ritz.coordinates[:, ends]
        rows = self._combined(kept.T)
        pending = self._rows[known : known + self.width].clone()
        self._rows[: len(rows)], self._rows[len(rows) : len(rows) + self.width] = rows, pending
        self.inside, self.outside = kept.T @ self.inside @ kept, self.outside @ kept

    @property
    def exhausted(self) -> bool:
        """Whether all products lie within the space already, so that the values are exact."""
        return self.width == 0

    @property
    def _rounding(self) -> float:
        """Error of an eigenvalue by the precision of the products."""
        return max(10 * self._product.eps * self._scale, 1e-30)


def _numbers(tensor: Tensor) -> Floats:
    return tensor.double().cpu().numpy()


def _spectrum(product: Product, space: _Space, ritz: _Ritz, wanted: int, *, converged: bool) -> Spectrum:
    values, errors = ritz.values, ritz.errors
    resolved = values[-1] > 0 and errors[-1] <= RESOLVED * values[-1]
    return Spectrum(
        eigenvalues=values[:wanted].copy(),
        errors=errors[:wanted].copy(),
        vectors=[space.vector(column) for column in ritz.coordinates[:, :wanted].T],
        smallest=float(values[-1]),
        smallest_error=float(errors[-1]),
        condition=float(values[0] / values[-1]) if resolved else float("nan"),
        converged=converged and len(values) >= wanted,
        products=product.count,
        parameters=product.size,
    )
