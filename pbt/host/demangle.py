"""C++ names of symbols, by the C++ run-time library where the machine has one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from pbt.source import UsageError

_LIBRARIES = ("libstdc++.so.6", "libc++abi.so.1")


@cache
def _demangler() -> Callable[[str], str]:
    import ctypes

    for name in _LIBRARIES:
        try:
            function = ctypes.CDLL(name).__cxa_demangle
        except (OSError, AttributeError):
            continue
        break
    else:
        raise UsageError(
            "C++ names need the C++ library to be understood",
            f"install {_LIBRARIES[0]}, or use mangled names",
        )
    free = ctypes.CDLL(None).free
    function.restype, free.restype, free.argtypes = ctypes.c_void_p, None, (ctypes.c_void_p,)
    function.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)

    def demangle(name: str) -> str:
        made = function(name.encode("utf-8", "surrogateescape"), None, None, None)
        if not made:
            return name
        try:
            return ctypes.string_at(made).decode("utf-8", "surrogateescape")
        finally:
            free(made)

    return demangle


@cache
def demangle(name: str) -> str:
    """ "_ZN1a1bEi" → "a::b(int)"; the name itself when it is no mangled one. UsageError without a library."""
    return _demangler()(name)
