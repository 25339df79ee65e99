"""Pure functions on distributions: metrics, noise floor, drift, health."""
