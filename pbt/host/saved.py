"""A target in a folder: it gives the answers that the live one gave, and needs neither root nor that machine.

The folder holds plain files:

    target.json                           release, architecture, CPUs, page size, features
    btf/vmlinux, btf/MODULE               BTF, as under /sys/kernel/btf
    tracefs/events/CATEGORY/EVENT/format  as under /sys/kernel/tracing
    tracefs/available_filter_functions    likewise
    kallsyms                              names of kernel symbols, with made-up addresses
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from functools import cached_property

from pbt.host.target import Target, btf_of
from pbt.source import UsageError
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.arch import Arch
    from pbt.host.btf import Btf
    from pbt.host.btfindex import Data
    from pbt.host.kallsyms import Kallsyms
    from pbt.host.tracefs import Tracefs

_LAYOUT = 1  # of target.json


def save(target: Target, folder: str, events: Iterable[str], types: bool, symbols: bool) -> None:
    """See `Target.save`."""
    try:
        _save(target, folder, events, types, symbols)
    except OSError as error:
        raise UsageError(f"cannot save the target in {folder}: {error.strerror or error}") from None


def _save(target: Target, folder: str, events: Iterable[str], types: bool, symbols: bool) -> None:
    facts = {
        "layout": _LAYOUT, "arch": target.arch.name, "release": target.release, "page_size": target.page_size,
        "cpus": target.cpus, "online": target.online, "features": sorted(target.features()),
    }  # fmt: skip
    _write(folder, "target.json", json.dumps(facts, indent=1).encode() + b"\n")
    if types and target.types:
        _write(folder, "btf/vmlinux", target.types.data)
        for name in target.modules():
            module = target.module_types(name)
            if module:
                _write(folder, f"btf/{name}", module.data)
    _save_tracefs(target, folder, events)
    if symbols:
        _write(folder, "kallsyms", target.kallsyms.anonymous())


def _save_tracefs(target: Target, folder: str, events: Iterable[str]) -> None:
    wanted = {pair for pattern in events for pair in target.tracefs.events(*_split(pattern))}
    for category, event in sorted(wanted):
        path = f"events/{category}/{event}/format"
        with open(target.tracefs.path(path), "rb", buffering=0) as file:
            _write(folder, f"tracefs/{path}", file.read())
    functions = "".join(f"{name}\n" for name in target.tracefs.functions())
    _write(folder, "tracefs/available_filter_functions", functions.encode())


def _split(pattern: str) -> tuple[str, str]:
    category, _, event = pattern.partition(":")
    return category, event or "*"


def _write(folder: str, name: str, data: Data) -> None:
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


class Saved(Target):
    """The machine that a folder holds. UsageError when it holds none."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._facts = _read_facts(f"{folder}/target.json")

    @property
    def release(self) -> str:
        return str(self._facts["release"])

    @cached_property
    def arch(self) -> Arch:
        from pbt.arch import get

        return get(self._facts["arch"])

    @property
    def page_size(self) -> int:
        return int(self._facts["page_size"])

    @cached_property
    def cpus(self) -> tuple[int, ...]:
        return tuple(self._facts["cpus"])

    @cached_property
    def online(self) -> tuple[int, ...]:
        return tuple(self._facts.get("online", self._facts["cpus"]))

    @cached_property
    def types(self) -> Btf | None:
        return btf_of(f"{self.folder}/btf/vmlinux")

    @property
    def _btf_folder(self) -> str:
        return f"{self.folder}/btf"

    @cached_property
    def tracefs(self) -> Tracefs:
        from pbt.host.tracefs import Tracefs

        if not os.path.isdir(f"{self.folder}/tracefs"):
            raise UsageError(f"the target saved in {self.folder} has no tracepoints: no folder tracefs in it")
        return Tracefs(f"{self.folder}/tracefs", self.traceable)

    @cached_property
    def kallsyms(self) -> Kallsyms:
        from pbt.host.kallsyms import Kallsyms

        return Kallsyms(f"{self.folder}/kallsyms")

    def has(self, feature: str) -> bool:
        return feature in self.features()

    def features(self) -> frozenset[str]:
        return self._feature_names

    @cached_property
    def _feature_names(self) -> frozenset[str]:
        return frozenset(self._facts["features"]) - self.without


_FACTS: dict[str, type] = {
    "layout": int, "arch": str, "release": str, "page_size": int, "cpus": list, "features": list
}  # fmt: skip


def _read_facts(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            facts = json.load(file)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    if not isinstance(facts, dict) or not all(isinstance(facts.get(k), t) for k, t in _FACTS.items()):
        raise UsageError(f"{path} is not a saved target: it must have {', '.join(_FACTS)}")
    if facts["layout"] != _LAYOUT:
        raise UsageError(f"{path} has layout {facts['layout']}; this version reads {_LAYOUT}")
    return facts
