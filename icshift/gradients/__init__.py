"""Measurements that need gradients: gradient shift, smoothness along the gradient, the Hessian, slices."""
