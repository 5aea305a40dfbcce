"""What the tests of this folder share: the failpoints, and a queue."""

from pathlib import Path

import points  # noqa: F401 - it declares the failpoints
import pytest
from persistqueue import Queue


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "queue")


@pytest.fixture
def queue(folder: str) -> Queue:
    return Queue(folder, autosave=True, chunksize=2)
