"""A run on disk: its format, writing it, reading it."""
