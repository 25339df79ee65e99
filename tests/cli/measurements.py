"""What was measured with gradients at three steps, as it is appended to a run."""

SHIFT = [
    {
        "step": step,
        "layer": layer,
        "parameters": parameters,
        "l2": l2 * (1 + step / 10),
        "cosine": cosine,
        "norm": 2.0,
        "norm_after": 2.0,
    }
    for step in (0, 10, 20)
    for layer, parameters, l2, cosine in (("fc1", 6400, 0.0, 1.0), ("fc2", 1010, 0.5, 0.25))
]
"""Gradient shift of two layers: fc1 has none, that of fc2 grows."""

AROUND = [
    {
        "step": step,
        "rate": 0.1,
        "loss": 2.0,
        "gradient_norm": 1.5,
        "loss_min": 1.0,
        "loss_max": 2.5,
        "predictiveness_min": 0.1,
        "predictiveness_max": 0.75,
        "beta_rate": beta,
        "beta_step": 0.5,
    }
    for step, beta in ((0, 1.5), (10, 1.75), (20, 2.25))
]
"""Loss and gradient along the gradient."""
