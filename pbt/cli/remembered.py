"""Scripts compiled and judged at an earlier start: found again by all that their bundles depend on.

A bundle is kept together with the whole of that: the script, its parameters, the options that mean something
to the compiler, the config variables of the environment, pbt itself, the verifier's answers, and the machine's
situation (pbt/host/situation.py). It is taken only if every one of them is equal, so its programs are the
bytes that were judged, for the kernel that they were judged for. Scripts that depend on more, such as files of programs
or headers, are not kept (`pipeline.Work.lasting`). The file holds plain values, by `marshal`; see pbt/host/cache.py
for where it lies and why it may be believed.
"""

from __future__ import annotations

import marshal
import os
import sys
import zlib

from pbt import __version__
from pbt.host import cache
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pbt.bundle import Bundle
    from pbt.cli.options import Arguments
    from pbt.source import Source

_COMPILED = (
    "unsafe",
    "pid",
    "no-fallback",
    "test",
    "bench",
    "mode",
    "probe-filter",
    "warnings",
    "no-warnings",
)
"""Options that mean something to the compiler."""

_OTHER = ("e", "c", "cmd", "f", "o", "output", "q", "quiet", "B", "dry-run")
"""Options that mean nothing to it. With any further one, nothing is remembered."""

_PACKAGE = os.path.dirname(os.path.dirname(__file__))


class Remembered:
    """One script with its options: the place where its bundle is kept."""

    def __init__(self, source: Source, params: Sequence[str], args: Arguments) -> None:
        own = (source.name, source.text, list(params), [args.given.get(name) for name in _COMPILED])
        variables = sorted(row for row in os.environ.items() if row[0].startswith("BPFTRACE_"))
        self._own = _bytes((own, variables))
        self.name = f"script-{zlib.crc32(self._own):08x}-{len(source.text)}"

    @staticmethod
    def may(args: Arguments) -> bool:
        """Whether something may be remembered for such a command line."""
        return args.given.keys() <= {*_COMPILED, *_OTHER} and "BPFTRACE_BTF" not in os.environ

    def find(self) -> Bundle | None:
        """The bundle, if it was kept and all that it depends on is as it was."""
        data, key = cache.read(self.name), self._key()
        if data is None or not data.startswith(key):
            return None
        from pbt.rows import DAMAGE, Reader

        try:
            rows, raw = marshal.loads(memoryview(data)[len(key) :])
            reader = Reader(raw)
            for row in rows:
                reader.record(row)
            bundle: Bundle = reader.made[-1]
        except (*DAMAGE, EOFError):
            return None
        return bundle

    def keep(self, bundle: Bundle) -> None:
        """Keep a bundle whose programs the built-in verifier has accepted."""
        from pbt.rows import Writer

        writer = Writer()
        writer.value(bundle)
        cache.write(self.name, self._key() + marshal.dumps((writer.rows, bytes(writer.raw))))

    def forget(self) -> None:
        """Compile it anew next time: the kernel did not take what was remembered."""
        cache.forget(self.name)

    def _key(self) -> bytes:
        """Everything that the bundle depends on, behind its length."""
        from pbt.host import situation, verifier

        cpython = sys.implementation.cache_tag
        parts = (__version__, cpython, _itself(), verifier.stamp(), situation.situation())
        key = _bytes(parts) + self._own
        return len(key).to_bytes(4, "little") + key


def _bytes(facts: object) -> bytes:
    """Plain values as bytes, equal ones as equal bytes (which `marshal` does not promise)."""
    return repr(facts).encode("utf-8", "surrogatepass")


def _itself() -> list[tuple[str, int, int]]:
    """What tells this pbt from another one of the same version: times and sizes of its files, or of the one file
    that every installation writes anew.
    """
    above = os.path.dirname(_PACKAGE)
    for single in (
        above,
        f"{above}/pbt_bpf-{__version__}.dist-info/RECORD",
    ):  # an archive; an installed package
        if os.path.isfile(single):
            about = os.stat(single)
            return [(single, about.st_mtime_ns, about.st_size)]
    return list(_files(_PACKAGE))


def _files(folder: str) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir() and not entry.name.startswith("_"):
            yield from _files(entry.path)
        elif entry.name.endswith((".py", ".bin")):
            about = entry.stat()
            yield entry.name, about.st_mtime_ns, about.st_size
