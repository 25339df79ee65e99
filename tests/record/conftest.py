"""Scripts of distributed trainings are started by tests, not collected."""

collect_ignore = ["scripts"]
"""They train when they are imported."""
