"""Saved models: finding them, reading them without running what is in them, and putting their weights into a model."""

from icshift.capture.saved.fit import Fitted, check, fit
from icshift.capture.saved.found import Found, find
from icshift.capture.saved.load import Loaded, build, load

__all__ = ["Fitted", "Found", "Loaded", "build", "check", "find", "fit", "load"]
