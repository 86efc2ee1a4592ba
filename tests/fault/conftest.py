"""Valid files that are damaged, made once for all tests of this folder."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with valid files of every kind; tests damage copies."""
    from tests.fault.valid_files import write_valid_files

    return write_valid_files(tmp_path_factory.mktemp("fault") / "valid")
