"""Loaded → Links: every program attached by its provider."""

from __future__ import annotations

import os
from _thread import (
    LockType,
    allocate_lock,
    start_new_thread,
)  # `threading` takes longer to import than detaching
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from pbt.bundle import Bundle, Program
from pbt.data import NamedTuple
from pbt.feature import Iteration, Lingering, Provider
from pbt.registry import collect
from pbt.source import KernelError, UsageError, show
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.runtime.load import Loaded
    from pbt.views import AttachHost, Closeable

_THREADS = 32
_PATIENCE = 2.0  # seconds of detaching before a word is said
_SPARE = 64  # descriptors for everything but maps, programs and links


def providers() -> Mapping[str, Provider]:
    """All probe types, by name."""
    return collect("pbt.probes", Provider)


class Held(NamedTuple):
    """What holds some programs attached together, at so many places."""

    programs: Sequence[Program]
    closeables: Sequence[Closeable]
    places: int


class Links:
    """What holds programs attached: `count` of them; closing detaches them all, and `say`s so where that takes long."""

    def __init__(self, say: Callable[[str], None] = lambda text: None) -> None:
        self.count = 0
        self._say = say
        self._owned: list[Closeable] = []
        self._held: list[Held] = []
        self._iterations: list[Iteration] = []

    def add(self, held: Held) -> None:
        """Own what holds some programs attached."""
        self.count += held.places
        self._owned += held.closeables
        self._held.append(held)
        self._iterations += [each for each in held.closeables if isinstance(each, Iteration)]

    @property
    def iterating(self) -> bool:
        """Whether some programs run only while they are read (see `iterate`) and are not at their end."""
        return bool(self._iterations)

    def iterate(self) -> None:
        """Run such programs a little further; those that reach their end are attached no more."""
        for each in list(self._iterations):
            if not each.read():
                self._iterations.remove(each)
                self.count -= 1

    def drop(self, wanted: Callable[[Program], bool]) -> None:
        """Detach the programs for which `wanted` says so."""
        for each in [each for each in self._held if all(map(wanted, each.programs))]:
            self._held.remove(each)
            self._release(each.closeables)
            self.count -= each.places

    def close(self) -> None:
        """Detach, begun with the last; say so where that takes long."""
        owned, self._owned = self._owned[::-1], []
        self._release(owned)

    def _release(self, owned: Sequence[Closeable]) -> None:
        """Close what holds programs, all of it, and say what the kernel refused.

        Each may wait for the kernel to see every CPU pass: many wait side by side. But the kernel ends tracepoints one
        after the other: first all their programs are detached, and then the events are let go of together.
        """
        lingering = [each for each in owned if isinstance(each, Lingering)]
        work = _SideBySide([each.link if isinstance(each, Lingering) else each for each in owned])
        if not work.wait(_PATIENCE):
            self._say(f"Detaching {self.count} probes: the kernel waits for every CPU at each")
            work.wait()
        if lingering:
            from pbt.sys import perf

            perf.let_go([each.event for each in lingering])
        for error in work.refused:
            self._say(str(error))


class _SideBySide:
    """Closes many in threads; `refused`: what those raised that could not be."""

    def __init__(self, owned: Sequence[Closeable]) -> None:
        self.refused: list[OSError | KernelError] = []
        if len(owned) < 2:
            self._done: list[LockType] = []
            self._close(owned)
        else:
            self._done = [self._started(owned[i::_THREADS]) for i in range(min(_THREADS, len(owned)))]

    def wait(self, seconds: float | None = None) -> bool:
        """Whether all are closed within so many seconds (None: however long it takes)."""
        until = None if seconds is None else monotonic() + seconds
        while self._done:
            if not self._done[-1].acquire(timeout=-1 if until is None else max(0.0, until - monotonic())):
                return False
            self._done.pop()
        return True

    def _started(self, owned: Sequence[Closeable]) -> LockType:
        """Have a thread close some, or do it here if there can be no more threads; the lock is free when they are."""

        def work() -> None:
            try:
                self._close(owned)
            finally:
                lock.release()

        lock = allocate_lock()
        lock.acquire()
        try:
            start_new_thread(work, ())
        except RuntimeError:
            work()
        return lock

    def _close(self, owned: Sequence[Closeable]) -> None:
        for each in owned:
            try:
                each.close()
            except (OSError, KernelError) as error:
                self.refused.append(error)


def order(programs: Sequence[Program], known: Mapping[str, Provider]) -> list[int]:
    """Positions of the programs to attach, in turn: those of `reverse` providers last first.

    Programs that the session runs itself (`auto`, `mode`) are not among them.
    """
    every = [(i, known[program.provider]) for i, program in enumerate(programs)]
    rows = [(i, provider) for i, provider in every if not provider.auto and not provider.mode]
    forward = [i for i, provider in rows if not provider.reverse]
    backward = [i for i, provider in rows if provider.reverse]
    return forward + backward[::-1]


def attach(
    loaded: Loaded,
    host: AttachHost,
    warn: Callable[[str], None],
    log: Callable[[str], None] = lambda text: None,
) -> Links:
    """Attach everything; `log` is told of each probe.

    `config["missing_probes"]` says what happens to a probe that cannot be:

    "error" raises its KernelError, and nothing stays attached; "warn" tells `warn` and goes on;
    "ignore" goes on. Raises UsageError if probes were wanted and not one could be attached.
    """
    bundle, known = loaded.bundle, providers()
    policy = str(bundle.config.get("missing_probes", "error"))
    wanted = order(bundle.programs, known)
    raise_limit(len(wanted) * max(1, len(host.cpus)) + len(bundle.maps) + len(bundle.programs) + _SPARE)
    links = Links(lambda text: host.say(text))
    try:
        left = _groups(wanted, loaded, known)
        while left:
            group = left.pop(0)
            programs = [bundle.programs[i] for i in group]
            try:
                closeables, attached = _attach(host, loaded.programs[group[0]].fileno(), programs, known)
            except KernelError as error:
                if policy == "error":
                    raise AttachError(error, bundle, programs[0]) from error
                if len(group) > 1 and len({program.provider for program in programs}) == 1:
                    left[:0] = [[i] for i in group]  # those that can be
                    continue
                if policy == "warn":
                    reason = error.what.removeprefix(f"Unable to attach {programs[0].name}: ")
                    warn(f"could not attach probe {programs[0].name}, skipping: {reason} ({error.name})")
                continue
            links.add(Held(programs, closeables, attached))
            log(f"attached {programs[0].name}" + (f" and {attached - 1} more" if attached > 1 else ""))
        if wanted and not links.count:
            raise UsageError("no probe could be attached")
    except BaseException:
        links.close()
        raise
    return links


def _groups(wanted: Sequence[int], loaded: Loaded, known: Mapping[str, Provider]) -> list[list[int]]:
    """Those that share a program are attached together, if their provider can."""
    groups: dict[int, list[int]] = {}
    for i in wanted:
        many = known[loaded.bundle.programs[i].provider].attach_many is not None
        groups.setdefault(id(loaded.programs[i]) if many else -1 - i, []).append(i)
    return list(groups.values())


def _attach(
    host: AttachHost, fd: int, programs: Sequence[Program], known: Mapping[str, Provider]
) -> tuple[Sequence[Closeable], int]:
    """What holds the programs attached, and how many are: a wildcard may meet what cannot be traced."""
    provider = known[programs[0].provider]
    if len(programs) > 1 and provider.attach_many is not None:
        return provider.attach_many(host, fd, programs)
    closeables = provider.attach(host, fd, programs[0])
    return closeables, int(bool(closeables))


class AttachError(KernelError):
    """The kernel refused to attach a probe; its text shows the probe in the script."""

    def __init__(self, error: KernelError, bundle: Bundle, program: Program) -> None:
        hint = error.hint or 'the config variable missing_probes = "warn" makes this a warning'
        super().__init__(error.what, error.errno, hint, error.log)
        self.bundle, self.program = bundle, program

    def __str__(self) -> str:
        from pbt.runtime.load import span

        where = span(self.bundle, self.program.span)
        if where is None:
            return super().__str__()
        return show("ERROR", f"{self.what}: {self.name}", where, self.hint)


def raise_limit(files: int) -> None:
    """Allow this process so many open files, as far as the system lets it."""
    if not 0 <= os.sysconf("SC_OPEN_MAX") < files:
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limits in ((files, max(hard, files)), (min(hard, files), hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        except (OSError, ValueError):
            continue
        return
