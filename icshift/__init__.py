"""Measure internal covariate shift in any PyTorch model."""
