"""The whole plug-in mechanism: a package's modules, imported, are the list of its features

A module is imported when one of its records is asked for: one that mentions the name, in double quotes
(or as "name{" in a formatted string, for names that end in a number). Going through all records imports
all modules.
"""

from __future__ import annotations

import importlib
import os
from _thread import RLock
from collections.abc import Iterator, Mapping
from functools import cache

from pbt.typing import Any, TypeVar

T = TypeVar("T")


class Records(Mapping[str, T]):
    """Every `kind` record at the top level of a package's modules, alone or in a tuple, by `.name`.

    With `aliases` also by each of `.aliases`. Modules load in name order; a name that occurs twice is an
    error in pbt.
    """

    def __init__(self, package: str, kind: type[T], aliases: bool) -> None:
        self._package, self._kind, self._aliases = package, kind, aliases
        self._left = _modules(package)
        self._found: dict[str, T] = {}
        self._looked_for = {""}  # nothing is called so, and every module has such a text
        self._lock = RLock()  # held while modules are imported: other threads wait for what these bring

    def __getitem__(self, name: str) -> T:
        found = self._found
        if name in found:
            return found[name]
        with self._lock:
            self._look_for(name)
            return self._found[name]

    def __iter__(self) -> Iterator[str]:
        """Names, then aliases, in the order of the modules."""
        self._all()
        return iter(self._found)

    def __len__(self) -> int:
        self._all()
        return len(self._found)

    def _look_for(self, name: str) -> None:
        if name not in self._found and name not in self._looked_for:
            self._looked_for.add(name)
            for module in [m for m in self._left if mentions(_text(self._package, m), name)]:
                self._load(module)

    def _all(self) -> None:
        with self._lock:
            if self._left:
                self._left = _modules(self._package)
                self._found = {}
                for module in list(self._left):
                    self._load(module)

    def _load(self, module: str) -> None:
        self._left.remove(module)
        for value in vars(importlib.import_module(f"{self._package}.{module}")).values():
            for record in value if isinstance(value, tuple) else (value,):
                if isinstance(record, self._kind):
                    self._add(record)

    def _add(self, record: Any) -> None:
        for name in (record.name, *(record.aliases if self._aliases else ())):
            known = self._found.setdefault(name, record)
            assert known is record, f"{self._kind.__name__} {name} is defined twice"


@cache
def collect(package: str, kind: type[T], aliases: bool = False) -> Records[T]:
    """The records of a kind that a package holds."""
    return Records(package, kind, aliases)


def _modules(package: str) -> list[str]:
    """Names of a package's modules, sorted."""
    (folder,) = importlib.import_module(package).__path__
    if os.path.isdir(folder):
        return sorted(n[:-3] for n in os.listdir(folder) if n.endswith(".py") and n != "__init__.py")
    import pkgutil  # for an archive; it imports `inspect`

    return sorted(m.name for m in pkgutil.iter_modules([folder]))


def mentions(text: bytes, name: str) -> bool:
    """Whether a module's source names a record."""
    plain, stem = b'"%s"' % name.encode(), name.rstrip("0123456789")
    return plain in text or (stem != name and b'"%s{' % stem.encode() in text)


@cache
def _text(package: str, module: str) -> bytes:
    """The source of a module; what could be any module's where there is no source."""
    home = importlib.import_module(package)
    try:
        return home.__spec__.loader.get_data(os.path.join(home.__path__[0], f"{module}.py"))  # type: ignore
    except (AttributeError, OSError):
        return _Anything()


class _Anything(bytes):
    def __contains__(self, part: object) -> bool:
        return True
