"""GPU plans in tests run on emulated devices; machine code is not wanted there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.devices import without_compiler


@pytest.fixture(autouse=True)
def no_compiler() -> Iterator[None]:
    with without_compiler():
        yield
