"""Products of a loss's Hessian with directions: gradients of (gradient · direction), in the precision of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from icshift.errors import MeasurementError
from icshift.gradients.objective import Objective, trainable

_NO_SECOND_DERIVATIVE = ("double backward", "derivative for", "differentiate twice")
"""Words in what torch says of an operation that cannot be differentiated twice."""


def products(
    objective: Objective, parameters: Sequence[nn.Parameter], directions: Sequence[Sequence[Tensor]]
) -> tuple[float, list[list[Tensor]]]:
    """Returns the loss, and the Hessian times each direction; directions and results have a tensor for each parameter.

    Raises `MeasurementError` where a product is not finite, and for operations without a second derivative.
    """

    def loss_and_images(loss: Tensor) -> list[Tensor]:
        return [loss.detach().double(), *_second_derivatives(loss, parameters, directions)]

    with _twice_differentiable(objective.model):
        loss, *images = objective.mean(loss_and_images)
    for tensor in (loss, *images):
        if not tensor.isfinite().all():
            value = float(tensor[~tensor.isfinite()][0])
            raise MeasurementError(
                f"the Hessian is not finite: {value} in a product with it, at a loss of {float(loss):.6g}; measure "
                "before the training diverges, or in a higher precision"
            )
    return float(loss), [images[i : i + len(parameters)] for i in range(0, len(images), len(parameters))]


def _second_derivatives(
    loss: Tensor, parameters: Sequence[nn.Parameter], directions: Sequence[Sequence[Tensor]]
) -> Iterator[Tensor]:
    """Yields the Hessian times each direction, parameter after parameter; zeros where the loss is linear in one."""
    try:
        gradients = torch.autograd.grad(loss, list(parameters), create_graph=True, allow_unused=True)
        curved = [
            (i, gradient) for i, gradient in enumerate(gradients) if gradient is not None and gradient.requires_grad
        ]
        _refuse_dead_ends([gradient for _, gradient in curved])
        for direction in directions:
            images: Sequence[Tensor | None] = [None] * len(parameters)
            if curved:
                outputs, along = [gradient for _, gradient in curved], [direction[i] for i, _ in curved]
                images = torch.autograd.grad(outputs, list(parameters), along, retain_graph=True, allow_unused=True)
            for parameter, image in zip(parameters, images, strict=True):
                yield torch.zeros_like(parameter) if image is None else image.to_dense()
    except RuntimeError as error:
        said = str(error).split("\n")[0].split(". ")[0].rstrip(". ")
        if not (isinstance(error, NotImplementedError) or any(words in said for words in _NO_SECOND_DERIVATIVE)):
            raise
        raise MeasurementError(
            f"an operation of the model cannot be differentiated twice ({said}): put a plain one in its place, "
            "for attention with torch.nn.attention.sdpa_kernel(SDPBackend.MATH)"
        ) from error


def _refuse_dead_ends(gradients: Sequence[Tensor]) -> None:
    """Raises `NotImplementedError` for functions marked `once_differentiable`: torch would leave out their part."""
    nodes = [gradient.grad_fn for gradient in gradients]
    seen = {None, *nodes}
    while nodes:
        node = nodes.pop()
        if node is None:
            continue
        if node.name() == "torch::autograd::Error":
            raise NotImplementedError("a function is marked once_differentiable")
        following = {function for function, _ in node.next_functions} - seen
        seen |= following
        nodes += following


@contextmanager
def _twice_differentiable(model: nn.Module) -> Iterator[None]:
    """Has torch use kernels that have second derivatives for the block: plain attention, no cuDNN for RNNs."""
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(m, nn.RNNBase) and any(p.is_cuda for p in m.parameters()) for m in model.modules()):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield


class Product:
    """The Hessian times rows of a matrix [rows, size], a row of which holds all trainable parameters one after another.

    `count` is how many rows were multiplied; `size` the number of parameters, `eps` and `precision` those of their
    coarsest and finest type (float32 at least). `after` is called after every row. Raises `MeasurementError` for
    complex parameters.
    """

    def __init__(self, objective: Objective, after: Callable[[], object] | None = None) -> None:
        self._objective, self._parameters = objective, list(trainable(objective.model).values())
        self._after = after
        if any(parameter.is_complex() for parameter in self._parameters):
            raise MeasurementError("the model has complex parameters: expected real ones")
        self._loss: float | None = None
        self.size = sum(parameter.numel() for parameter in self._parameters)
        self.eps = max(torch.finfo(parameter.dtype).eps for parameter in self._parameters)
        self.device = self._parameters[0].device
        self.precision = reduce(torch.promote_types, (p.dtype for p in self._parameters), torch.float32)
        self.count = 0

    def __call__(self, rows: Tensor) -> Tensor:
        """Products of the rows, as rows. Raises `MeasurementError` where the loss is another than at the last call."""
        loss, images = products(self._objective, self._parameters, [self.shaped(row) for row in rows])
        before, self._loss = self._loss, loss
        if before is not None and abs(loss - before) > max(1e-3, 4 * self.eps) * max(abs(loss), abs(before)):
            raise MeasurementError(
                f"the closure gave a loss of {before:.6g} and then of {loss:.6g} at the same parameters: let it "
                "compute the same examples whenever it is called"
            )
        for _ in rows:
            self.count += 1
            if self._after is not None:
                self._after()
        return torch.stack([torch.cat([tensor.reshape(-1).to(rows) for tensor in row]) for row in images])

    def shaped(self, row: Tensor) -> list[Tensor]:
        """Returns a copy of a row [size] as tensors shaped and typed like the parameters."""
        parts = row.split([parameter.numel() for parameter in self._parameters])
        return [part.view_as(p).to(p, copy=True) for part, p in zip(parts, self._parameters, strict=True)]
