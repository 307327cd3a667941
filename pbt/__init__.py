"""pbt: the bpftrace language as a pure-Python BPF toolchain.

    with pbt.trace("tracepoint:raw_syscalls:sys_enter { @[comm] = count(); }") as t:
        time.sleep(1)
        print(t.maps["@"])

Everything is imported when first asked for: `import pbt.runtime` does not import the compiler.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in `typing`, which importing pbt does not need

__version__ = "0.1.0"

if TYPE_CHECKING:
    from typing import Any

    from pbt.api import Trace, compile, explain, folded, load, trace
    from pbt.bundle import Bundle
    from pbt.host.target import Target
    from pbt.source import KernelError, PbtError, ScriptError, ScriptErrors, UsageError

_WHERE = {
    "Trace": "pbt.api", "compile": "pbt.api", "explain": "pbt.api", "folded": "pbt.api", "load": "pbt.api",
    "trace": "pbt.api",
    "Bundle": "pbt.bundle", "Target": "pbt.host.target",
    "KernelError": "pbt.source", "PbtError": "pbt.source", "ScriptError": "pbt.source",
    "ScriptErrors": "pbt.source", "UsageError": "pbt.source",
}  # fmt: skip

__all__ = [
    "Bundle", "KernelError", "PbtError", "ScriptError", "ScriptErrors", "Target", "Trace", "UsageError",
    "compile", "explain", "folded", "load", "trace",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'pbt' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
