"""Somebody's model: its modules, sites and parameters, and leaving it as it was."""
