"""The Python interface: `compile`, `build`, `trace`, `load`, `explain`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from errno import EBADF
from time import monotonic

from pbt.bundle import Bundle
from pbt.host.target import Target
from pbt.output.sink import Collector
from pbt.runtime.session import TICK, Session, to_stderr
from pbt.source import KernelError, PbtError, Source, UsageError
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.output.sink import Message
    from pbt.pipeline import Options, Work


def compile(
    source: str | Source,
    *params: object,
    target: Target | None = None,
    unsafe: bool = False,
    pid: int | None = None,
    name: str = "script",
    verify: bool = True,
) -> Bundle:
    """A script → its bundle, for `target` (default: this machine), judged by the built-in verifier.

    `params` are the positional parameters $1, $2, ...; `pid`: trace this process alone; `unsafe`:
    allow system(), signal() and the like; `name` stands in error messages; `verify=False` leaves the
    verifier out. Needs no privileges with a saved target. Raises ScriptError or ScriptErrors.
    """
    work = _judged(_asked(source, params, target, unsafe, pid, name), verify)
    assert work.bundle is not None
    return work.bundle


def build(
    source: str | Source,
    *params: object,
    to: str | os.PathLike[str],
    target: Target | None = None,
    unsafe: bool = False,
    name: str = "script",
    verify: bool = True,
) -> Bundle:
    """Compile a script into the file `to`, which `load` and `pbt run` start without the compiler; the bundle.

    The file knows the layouts it relies on: elsewhere it runs where they are the same, and says so where they
    are not. Arguments and errors as for `compile`; UsageError if the file cannot be written.
    """
    from pbt.aot import write_file
    from pbt.layouts import layouts
    from pbt.rows import Tool

    work = _judged(_asked(source, params, target, unsafe, None, name), verify)
    assert work.bundle is not None
    write_file(os.fspath(to), Tool(work.bundle, layouts(work)))
    return work.bundle


def _asked(
    source: str | Source,
    params: Sequence[object],
    target: Target | None,
    unsafe: bool,
    pid: int | None,
    name: str,
) -> tuple[Source, Target, Options]:
    """What the compiler takes, from the arguments of `compile` and `explain`."""
    from pbt.pipeline import Options

    if not isinstance(source, (str, Source)):
        raise TypeError(f"a script is a str or a pbt.Source, not {type(source).__name__}")
    script = source if isinstance(source, Source) else Source(name, source)
    try:
        script.text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise UsageError(f"the script is no text: half a pair of surrogates at {error.start}") from None
    return script, target or Target.live(), Options([str(p) for p in params], unsafe, pid)


def _judged(asked: tuple[Source, Target, Options], verify: bool) -> Work:
    """What the stages made of a script, judged if that is wanted."""
    from pbt.pipeline import run

    work = run(*asked, each=False)
    assert work.bundle is not None
    if verify:
        judge(work.bundle, work.target)
    return work


class Trace:
    """A script that runs once. As a context manager it starts on entry and leaves nothing behind.

    Iterating gives each `Message` as it comes (`kind`: "printf", "value", ...; `text`; `data`;
    `values`: the arguments as Python values) and ends when the script does. `maps` reads the
    script's maps as Python values at any time, after the end too. One thread (or task) iterates or polls;
    others may read `maps` and `stop` it. Processes forked meanwhile have no part in it.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        target: Target | None = None,
        pid: int | None = None,
        cmd: str | Sequence[str] | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        """See `load`."""
        self._sink = Collector()
        self._session = Session(
            bundle, target or Target.live(), pid=pid, cmd=cmd, sink=self._sink, quiet=True,
            notify=notify or to_stderr,
        )  # fmt: skip
        self._name, self._process = bundle.name, os.getpid()
        self._started = False
        self._final: dict[str, Any] | None = None

    def __repr__(self) -> str:
        state = "running" if self.alive else "ended" if self._started else "not started"
        return f"<pbt.Trace of {self._name}: {state}>"

    # --- its life -------------------------------------------------------------------------------

    def start(self) -> Trace:
        """Load and attach, as entering a `with` does; then `close` is for the caller to call.

        Raises KernelError or UsageError, and nothing stays behind then; UsageError too if it has been started before.
        """
        if self._started:
            raise UsageError("a trace is started once", "pbt.load(bundle) makes another of the same script")
        self._started = True
        try:
            self._session.start()
        except BaseException:
            self._final = {}
            raise
        return self

    def stop(self) -> None:
        """Begin the orderly end, from any thread or signal handler: whoever iterates gets the last messages."""
        self._session.stop()

    def close(self) -> None:
        """End it in order, as leaving a `with` does: END runs, all is detached, maps stay readable. Safe to repeat."""
        if self._final is None and self._started and self._is_ours():
            with closing(self._session):
                self._end()

    def __enter__(self) -> Trace:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        if exc[0] is None:
            self.close()
        elif self._final is None and self._is_ours():
            with closing(self._session):
                self._keep_maps()

    def _is_ours(self) -> bool:
        """Not so in a forked process: what it inherits ends with it, but the script is its parent's to end."""
        return os.getpid() == self._process

    def _end(self) -> None:
        try:
            self._session.wind_up()
        finally:
            self._keep_maps()
        self._session.close()

    def _keep_maps(self) -> None:
        """Have the maps stay readable, as far as they can be read now."""
        final: dict[str, Any] = {}
        with suppress(PbtError):
            final = dict(self._session.maps)
        self._final = final

    # --- messages -------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Message]:
        self._has_started()
        yield from self._sink.take()
        while self.alive:
            self._session.poll()
            yield from self._sink.take()
        self.close()
        yield from self._sink.take()

    async def __aiter__(self) -> AsyncIterator[Message]:
        """The same beside other tasks of an event loop, which waits for the kernel's buffer itself."""
        self._has_started()
        for message in self._sink.take():
            yield message
        while self.alive:
            await self._news()
            self._session.poll(0)
            for message in self._sink.take():
                yield message
        self.close()
        for message in self._sink.take():
            yield message

    async def _news(self) -> None:
        """Wait until there may be messages, at most for as long as `poll` does.

        Not by `wait_for`, which forgets until Python 3.12 that it was cancelled if there is news as well.
        """
        import asyncio

        if not self._session.rest():
            return await asyncio.sleep(0)
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        timer = loop.call_later(TICK, news.set)
        loop.add_reader(self._session.fileno(), news.set)
        try:
            await news.wait()
        finally:
            timer.cancel()
            loop.remove_reader(self._session.fileno())

    def poll(self, timeout: float = 0.1) -> list[Message]:
        """The messages that have come; if there are none, waits for some, at most `timeout` seconds."""
        self._has_started()
        until, taken = monotonic() + timeout, self._sink.take()
        while not taken and self.alive:
            left = until - monotonic()
            self._session.poll(min(max(left, 0), TICK))
            taken = self._sink.take()
            if left <= 0:
                break
        return taken

    # --- what it has seen -----------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the script runs: between start and end, and not for a forked process, which would take its events."""
        return self._started and self._final is None and self._is_ours() and self._session.alive

    @property
    def maps(self) -> Mapping[str, Any]:
        """Map name → {key: value}, or the value of a map without keys, as they are when they are looked at."""
        self._has_started()
        return _Maps(self._maps_now) if self._final is None else self._final

    def _maps_now(self) -> Mapping[str, Any]:
        return self._session.maps if self._final is None else self._final

    @property
    def lost(self) -> int:
        """Events for which there was no room."""
        return self._session.lost

    @property
    def exit_code(self) -> int:
        """What the script's exit() gave, 0 without one."""
        return self._session.exit_code

    def _has_started(self) -> None:
        if not self._started:
            raise UsageError(
                "the script is not running yet", "with pbt.trace(...) as t: starts it, so does start()"
            )


class _Maps(Mapping[str, Any]):
    """What `now` gives, whenever something is looked for: maps in the kernel until they are in the program."""

    def __init__(self, now: Callable[[], Mapping[str, Any]]) -> None:
        self._now = now

    def __repr__(self) -> str:
        return repr(self._now())

    def __getitem__(self, name: str) -> Any:
        try:
            return self._now()[name]
        except KernelError as error:
            if error.errno != EBADF:  # the script has ended meanwhile, in another thread
                raise
        return self._now()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())


def load(
    bundle: Bundle | str | os.PathLike[str],
    *,
    target: Target | None = None,
    pid: int | None = None,
    cmd: str | Sequence[str] | None = None,
    notify: Callable[[str], None] | None = None,
) -> Trace:
    """A compiled script, or a file made by `build` or `pbt build`, ready to run: `with pbt.load(bundle) as t`.

    Arguments as for `trace`. Nothing is judged again; UsageError if a file was made for another machine and does
    not fit this one, KernelError on entry.
    """
    machine = target or Target.live()
    if not isinstance(bundle, Bundle):
        from pbt.aot import fit, read_file

        name = os.fspath(bundle)
        tool = read_file(name)
        fit(tool, machine, name)
        bundle = tool.bundle
    if pid is not None:
        from pbt.aot import tied

        bundle = tied(bundle, machine, pid)
    return Trace(bundle, target=machine, pid=pid, cmd=cmd, notify=notify)


def trace(
    source: str | Source,
    *params: object,
    target: Target | None = None,
    unsafe: bool = False,
    pid: int | None = None,
    cmd: str | Sequence[str] | None = None,
    name: str = "script",
    verify: bool = True,
    notify: Callable[[str], None] | None = None,
) -> Trace:
    """Compile a script, have it judged by the built-in verifier, and make it ready to run.

    `with pbt.trace("...") as t: for event in t: ...`; arguments as for `compile`; `cmd`: run this
    command and end with it; `notify` gets each line meant for a person, such as warnings, which go to standard
    error else. Raises ScriptError(s) here, KernelError on entry.
    """
    machine = target or Target.live()
    bundle = compile(source, *params, target=machine, unsafe=unsafe, pid=pid, name=name, verify=verify)
    return Trace(bundle, target=machine, pid=pid, cmd=cmd, notify=notify)


def judge(bundle: Bundle, target: Target | None = None) -> None:
    """Have every program judged as the kernel would; ScriptError for the first that fails."""
    from pbt.source import NOWHERE, ScriptError
    from pbt.verifier_sim import verify_bundle

    source = Source(bundle.name, bundle.source)
    for verdict in verify_bundle(bundle, target or Target.live()):
        if verdict.error is not None:
            raise ScriptError(verdict.error.words, verdict.error.span(source) or NOWHERE, verdict.error.hint)


def folded(entries: Mapping[Any, int]) -> list[str]:
    """A map with stacks in its keys as lines for flame graphs: `part;outermost;...;innermost count`, sorted.

    Parts of a key stay in their order: `@[comm, ustack, kstack] = count()`. Offsets within functions are left out,
    and what is the same without them is one line.
    """
    from collections import Counter

    lines: Counter[str] = Counter()
    for key, count in entries.items():
        parts = key if isinstance(key, tuple) else (key,)
        lines[";".join(frame for part in parts for frame in _frames(str(part)))] += count
    return [f"{line} {count}" for line, count in sorted(lines.items())]


def _frames(part: str) -> list[str]:
    """The frames of a stack, outermost first; of another part of a key, the part itself."""
    import re

    names = (
        [re.sub(r"\+(0x[0-9a-f]+|\d+)\b", "", line.strip()) for line in part.split("\n")]
        if "\n" in part
        else [part]
    )
    return [name.replace(";", ":") for name in reversed(names) if name]


def explain(
    source: str | Source,
    *params: object,
    target: Target | None = None,
    unsafe: bool = False,
    pid: int | None = None,
    name: str = "script",
) -> str:
    """Each line of a script with its IR, registers, stack slots, instructions and verifier states.

    Arguments and errors as of `compile`.
    """
    from pbt.pipeline import run
    from pbt.teach.explain import explain as explained

    return explained(run(*_asked(source, params, target, unsafe, pid, name)))
