"""Every format once for the whole session."""

import warnings

import pytest

from tests.saved import zoo


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Path of each saved model by the name of its format."""
    directory = tmp_path_factory.mktemp("saved")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: zoo.write(directory, name) for name in zoo.FORMATS}


@pytest.fixture(scope="session")
def vit(tmp_path_factory):
    """A directory of Hugging Face."""
    return zoo.save_vit(tmp_path_factory.mktemp("huggingface") / "vit")
