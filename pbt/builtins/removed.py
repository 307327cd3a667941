"""Names of older releases that are gone: what to write instead."""

from __future__ import annotations

from pbt.builtins.process import always
from pbt.feature import Builtin
from pbt.types import VOID

_GONE = (  # name, usable without parentheses, what to write
    ("stack", True, "use kstack, or ustack for the user's"),
    ("name", True, "use probe, or func for the function"),
    ("sym", False, "use ksym(address), or usym(address) for the user's"),
    *((f"sarg{n}", True, f"use *(reg(\"sp\") + {8 * (n + 1)}), or arg{n + 6}: the 64-bit x86 way to argument {n + 6}")
      for n in range(10)),
)  # fmt: skip

REMOVED = tuple(
    Builtin(name, "(...) -> void", "Gone.", always(VOID), variable=variable, removed=hint)
    for name, variable, hint in _GONE
)
