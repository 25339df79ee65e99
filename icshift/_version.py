"""The version, read by the build and by every run's manifest."""

__version__ = "0.1.0"
