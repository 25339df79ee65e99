"""Measurements with gradients: gradient shift, smoothness along the gradient, the Hessian, slices of the loss."""
