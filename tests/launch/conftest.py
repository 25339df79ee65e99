"""Every training runs once a session."""

import pytest

from tests.launch.launching import TRAININGS, train

collect_ignore = ["scripts", "styles"]
"""They train when they are imported."""


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A function from a training's name to what came of it."""
    done = {}

    def trained(name):
        if name not in done:
            done[name] = train(TRAININGS[name], tmp_path_factory.mktemp("training"))
        return done[name]

    return trained
