"""The whole plug-in mechanism: a package's modules, imported, are the list of its features."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TypeVar

T = TypeVar("T")


@cache
def collect(package: str, kind: type[T]) -> dict[str, T]:
    """Every `kind` record at the top level of the package's modules, alone or in a tuple, by `.name`.

    Modules load in name order; a name that occurs twice is an error in pbt.
    """
    found: dict[str, T] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(importlib.import_module(package).__path__)):
        for value in vars(importlib.import_module(f"{package}.{module}")).values():
            for record in value if isinstance(value, tuple) else (value,):
                if isinstance(record, kind):
                    name: str = record.name  # type: ignore[attr-defined]
                    assert found.get(name, record) is record, f"{kind.__name__} {name} is defined twice"
                    found[name] = record
    return found
