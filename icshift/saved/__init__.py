"""Saved models: finding them, reading them without running what is in them, and putting their weights into a model."""
