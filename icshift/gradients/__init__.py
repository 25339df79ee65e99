"""Measurements that need gradients: gradient shift, the landscape along the gradient, the Hessian, slices."""
