"""Base models are written once per session; every test upcycles its own copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_models import ARCHITECTURES, picture_processors, write_base


@pytest.fixture(scope="session")
def base_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """The folder of a tiny base model by architecture."""
    folders: dict[str, Path] = {}

    def base(architecture: str) -> Path:
        if architecture not in folders:
            folders[architecture] = write_base(architecture, tmp_path_factory.mktemp(architecture))
        return folders[architecture]

    with picture_processors():
        yield base


@pytest.fixture(params=ARCHITECTURES)
def base(request: pytest.FixtureRequest, base_of: Callable[[str], Path]) -> Path:
    """Every architecture in turn."""
    return base_of(request.param)


@pytest.fixture
def fast_base(base_of: Callable[[str], Path]) -> Path:
    """The starter's architecture, for what does not depend on it."""
    return base_of("fastvlm")
