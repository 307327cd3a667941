"""The whole plug-in mechanism: a package's modules, imported, are the list of its features."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TypeVar

T = TypeVar("T")


@cache
def collect(package: str, kind: type[T]) -> dict[str, T]:
    """Every `kind` record at the top level of the package's modules, by `.name`.

    Modules load in name order; a name that occurs twice is an error in pbt.
    """
    found: dict[str, T] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(importlib.import_module(package).__path__)):
        for value in vars(importlib.import_module(f"{package}.{module}")).values():
            if isinstance(value, kind):
                name: str = value.name  # type: ignore[attr-defined]
                assert found.get(name, value) is value, f"{kind.__name__} {name} is defined twice"
                found[name] = value
    return found
