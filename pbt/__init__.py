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

    from pbt.api import Trace, build, compile, explain, folded, load, trace
    from pbt.bundle import Bundle
    from pbt.host.target import Target
    from pbt.output.sink import Message
    from pbt.source import KernelError, PbtError, ScriptError, ScriptErrors, Source, UsageError
    from pbt.values import Histogram, Series, Stats

_WHERE = {
    "Trace": "pbt.api", "build": "pbt.api", "compile": "pbt.api", "explain": "pbt.api", "folded": "pbt.api",
    "load": "pbt.api", "trace": "pbt.api",
    "Bundle": "pbt.bundle", "Target": "pbt.host.target", "Message": "pbt.output.sink",
    "Histogram": "pbt.values", "Series": "pbt.values", "Stats": "pbt.values",
    "KernelError": "pbt.source", "PbtError": "pbt.source", "ScriptError": "pbt.source",
    "ScriptErrors": "pbt.source", "Source": "pbt.source", "UsageError": "pbt.source",
}  # fmt: skip

__all__ = [
    "Bundle", "Histogram", "KernelError", "Message", "PbtError", "ScriptError", "ScriptErrors", "Series", "Source",
    "Stats", "Target", "Trace", "UsageError", "build", "compile", "explain", "folded", "load", "trace",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'pbt' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
