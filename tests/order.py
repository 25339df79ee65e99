"""In which order the files of tests are handed to the processes of pytest-xdist: those that take longest come first.

By itself it would begin with the files of most tests, and end with a single process in a file of few, long ones.
"""

import pytest

LONGEST = (
    "tests/test_demo.py",
    "tests/launch/test_launcher.py",
    "tests/page/test_write_browser.py",
    "tests/launch/test_launcher_styles.py",
    "tests/test_pages.py",
    "tests/launch/test_launcher_manners.py",
    "tests/launch/test_launcher_styles_steps.py",
    "tests/test_examples.py",
    "tests/cli/test_shift.py",
    "tests/page/test_write_browser_pairs.py",
    "tests/integrations/test_transformers.py",
    "tests/replay/test_two_data_sets.py",
    "tests/test_architecture.py",
    "tests/record/test_provisional.py",
    "tests/replay/test_checkpoints.py",
    "tests/replay/test_checkpoints_resume.py",
    "tests/record/test_recorder_processes.py",
    "tests/record/test_recorder_no_trace.py",
    "tests/record/test_recorder_trainings.py",
    "tests/hooks/test_compiled.py",
    "tests/hooks/test_compiled_kinds.py",
    "tests/test_installed.py",
    "tests/saved/test_load_mutations.py",
    "tests/cli/test_selfcheck.py",
)
"""Files of ten seconds and more, the longest first, but for the demo: others wait for the run that it makes."""


def pytest_configure(config):
    """Have pytest-xdist, where it is installed, keep the order."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """The files that take longest come first; of the others each is where it was."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.nodeid.split("::")[0], len(LONGEST)))
