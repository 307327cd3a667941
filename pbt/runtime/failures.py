"""Helper calls that failed (see pbt/lower/failures.py) → warnings, each once, and how often at the end."""

from __future__ import annotations

import os
import struct

from pbt.bundle import Bundle, Failure, Map
from pbt.data import NamedTuple
from pbt.runtime.load import Loaded
from pbt.source import ScriptWarning, Source, Span
from pbt.sys import bpf
from pbt.typing import Any

FAILURES = "failures"
_CELL = struct.Struct("=Qq")  # how often, what the helper returned last
_E2BIG = 7


class Report(NamedTuple):
    """What is told of one call."""

    warning: ScriptWarning
    failure: Failure
    code: int
    times: int


class Failures:
    """What has failed in a running script and what was told of it. Owns nothing."""

    def __init__(self, bundle: Bundle, loaded: Loaded) -> None:
        self._bundle = bundle
        self._source = Source(bundle.name, bundle.source)
        self._fd = loaded.map(FAILURES) if FAILURES in loaded.maps else None
        self._told = [0] * len(bundle.failures)
        self._seen = b""

    def news(self, last: bool = False) -> list[Report]:
        """Calls that failed for the first time since the last look; the `last` look adds those that went on."""
        if self._fd is None:
            return []
        data = bpf.map_lookup(self._fd, bytes(4), _CELL.size * len(self._told)) or b""
        if data == self._seen and not last:
            return []
        self._seen, found = data, []
        for number, (times, code) in enumerate(_CELL.iter_unpack(data)):
            before = self._told[number]
            if times > before and (last or not before):
                self._told[number] = times
                found.append(self._report(self._bundle.failures[number], code, times))
        return found

    def _report(self, failure: Failure, code: int, times: int) -> Report:
        words, hint = self._words(failure, code)
        error = f"{failure.helper}: {_name(code)}" if code else failure.helper
        often = f", {times} times" if times > 1 else ""
        start, end = max(failure.span.start, 0), max(failure.span.end, 0)
        span = Span(self._source, start, end)
        return Report(ScriptWarning(f"{words} ({error}{often})", span, hint), failure, code, times)

    def _words(self, failure: Failure, code: int) -> tuple[str, str]:
        """What happened, and what might be done."""
        if failure.map and not failure.map.startswith("@"):  # one for stacks
            most = self._bundle.map(failure.map).max_entries
            return f"no room for another stack after {most} that the kernel could not keep otherwise", ""
        if failure.map and code == -_E2BIG:
            return self._full(self._bundle.map(failure.map))
        for start, words, hint in _WORDS:
            if failure.helper.startswith(start):
                return words.format(failure.map), hint
        return f"{failure.helper}() has failed", ""

    def _full(self, map_: Map) -> tuple[str, str]:
        most = map_.max_entries
        cpu = "percpu" if map_.aggregation else ""
        more = f"config = {{ max_map_keys = {4 * most} }}"
        if most != self._bundle.config.get("max_map_keys"):  # the script declares it
            more = f"let {map_.name} = {cpu}hash({4 * most})"
        return (
            f"{map_.name} is full with {most} keys: no room for another",
            f"{more}; {cpu}lruhash({most}) would forget the oldest instead",
        )


_WORDS = (
    ("map_update_elem", "{} cannot take this", ""),
    ("map_lookup_elem", "{} has no such key, which reads as 0", "has_key() tells"),
    ("map_delete_elem", "{} has no such key to delete", ""),
    ("probe_read_user", "memory of the process cannot be read", "the address may be wrong, or not in memory now"),
    ("probe_read", "memory of the kernel cannot be read", "an address of the process wants uptr()"),
)  # fmt: skip
"""By the first letters of a helper's name: what its failure means, with the name of the map."""


def _name(code: int) -> str:
    import errno

    return f"{errno.errorcode.get(-code, code)}, {os.strerror(-code)}"


def message(report: Report) -> dict[str, Any]:
    """The members of a JSON message, as bpftrace names them; `count` is pbt's own."""
    line, column, _ = report.warning.span.locate()
    return {
        "msg": os.strerror(-report.code), "helper": report.failure.helper, "retcode": report.code,
        "count": report.times, "filename": report.warning.span.source.name, "line": line, "col": column,
    }  # fmt: skip
