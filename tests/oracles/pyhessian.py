"""The algorithm of PyHessian (Yao et al. 2020), written anew as an oracle: power iteration with deflation.

Eigenvalues in order of magnitude. Theirs stops at a relative change of 1e-3 or after 100 products; the change
understates the error where eigenvalues are close, so the tests ask for less.
"""

import torch


def eigenvalues(loss, parameters, top, *, tolerance=1e-3, iterations=100, seed=0):
    """`loss` is a tensor with its graph; gives the `top` eigenvalues of largest magnitude."""
    generator = torch.Generator().manual_seed(seed)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    found = []
    for _ in range(top):
        vector = unit([torch.randn(p.shape, generator=generator).to(p) for p in parameters])
        value = None
        for _ in range(iterations):
            vector = unit(deflated(vector, [known for _, known in found]))
            image = torch.autograd.grad(gradients, parameters, vector, retain_graph=True)
            before, value = value, inner(image, vector)
            vector = unit(image)
            if before is not None and abs(value - before) / (abs(before) + 1e-6) < tolerance:
                break
        found.append((value, vector))
    return [value for value, _ in found]


def deflated(vector, known):
    for direction in known:
        share = inner(vector, direction)
        vector = [v - share * d for v, d in zip(vector, direction, strict=True)]
    return vector


def inner(a, b):
    return float(sum((x * y).sum() for x, y in zip(a, b, strict=True)))


def unit(vector):
    length = inner(vector, vector) ** 0.5 + 1e-6
    return [v / length for v in vector]
