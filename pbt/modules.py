"""The modules of pbt, taken from where they are: Python's own search makes a third of what importing them costs"""

from __future__ import annotations

import importlib._bootstrap_external as external  # type: ignore[import-not-found,unused-ignore]
import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from marshal import loads
from types import ModuleType

from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

_MAGIC: bytes = external.MAGIC_NUMBER
_HEAD = 16  # bytes: magic, flags, the source's time and size (PEP 552)


class _Loader(SourceFileLoader):
    """A loader that has the byte code already, until it has run."""

    code: CodeType

    def exec_module(self, module: ModuleType) -> None:
        exec(self.__dict__.pop("code"), module.__dict__)


class Finder:
    """Finds modules whose byte code is as new as their source; all else is left to Python's own finders."""

    def __init__(self, package: str) -> None:
        self._prefix, self._ending = package + ".", f".{sys.implementation.cache_tag}.pyc"

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        """As the import system asks; None too for packages, and in archives."""
        if path is None or not name.startswith(self._prefix):
            return None
        folder, module = next(iter(path)), name.rpartition(".")[2]
        source = f"{folder}/{module}.py"
        kept = f"{folder}/__pycache__/{module}{self._ending}"
        try:
            code = _code(source, kept)
        except (OSError, ValueError, EOFError, TypeError):
            return None
        if code is None:
            return None
        loader = _Loader(name, source)
        loader.code = code
        spec = ModuleSpec(name, loader, origin=source)
        spec.cached, spec.has_location = kept, True
        return spec


def _code(source: str, kept: str) -> CodeType | None:
    """The byte code that was kept, None if it was made by another Python or from another source."""
    about = os.stat(source)
    file = os.open(kept, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(file, os.fstat(file).st_size)
    finally:
        os.close(file)
    stamp = b"".join((n & 0xFFFFFFFF).to_bytes(4, "little") for n in (int(about.st_mtime), about.st_size))
    return loads(memoryview(data)[_HEAD:]) if data[:_HEAD] == _MAGIC + bytes(4) + stamp else None


class _Later(ModuleType):
    """Stands for a module that is imported when something in it is first asked for."""

    def __getattr__(self, name: str) -> Any:
        __import__(self.__name__)
        vars(self).update(vars(sys.modules[self.__name__]))
        return vars(self)[name] if name in vars(self) else super().__getattribute__(name)


def later(package: str, names: str) -> None:
    """Have `from package import name` not import these modules of it, in the package's `__init__` before all else.

    It is for what few scripts come to: each spares 600,000 instructions. Names that are imported from such a
    module by themselves bring it at once. The names of such a module are copied when it is there, so it may not bind
    them anew: no module of pbt has a `global` statement, and a test holds that.
    """
    home = vars(sys.modules[package])
    for name in names.split():
        home[name] = _Later(f"{package}.{name}")


def install() -> None:
    """Have the modules of pbt found so, unless Python was told to look for byte code elsewhere."""
    if sys.pycache_prefix is None and not sys.flags.optimize:
        sys.meta_path.insert(0, Finder("pbt"))
