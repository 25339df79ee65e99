"""Every training runs once a session, every style once a file."""

import pytest

from tests.launch.launching import TRAININGS, train

collect_ignore = ["scripts", "styles"]
"""They train when they are imported."""


pytest.register_assert_rewrite("tests.launch.claims")


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A function from a training's name to what came of it."""
    done = {}

    def trained(name):
        if name not in done:
            done[name] = train(TRAININGS[name], tmp_path_factory.mktemp("training"))
        return done[name]

    return trained


def pytest_generate_tests(metafunc):
    if "style" in metafunc.fixturenames:
        from tests.launch.claims import parameters

        metafunc.parametrize("style", parameters(metafunc.function.__name__, metafunc.module.STYLES))
