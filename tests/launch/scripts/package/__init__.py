"""A training that is a package."""
