"""C++ names, where the machine has the C++ library."""

from __future__ import annotations

import pytest

from pbt.host.demangle import demangle
from pbt.source import UsageError

NAMES = (
    ("_ZN3zoo3Cat4meowEi", "zoo::Cat::meow(int)"),
    ("_ZSt9terminatev", "std::terminate()"),
    ("malloc", "malloc"),
    ("_ZZZ", "_ZZZ"),
)


@pytest.mark.parametrize(("name", "shown"), NAMES)
def test_demangle(name, shown):
    try:
        assert demangle(name) == shown
    except UsageError as error:
        pytest.skip(str(error))
