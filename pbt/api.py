"""The Python interface: `compile`, `trace`, `load`, `explain`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import closing

from pbt.bundle import Bundle
from pbt.host.target import Target
from pbt.output.sink import Collector
from pbt.runtime.session import TICK, Session
from pbt.source import Source
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.output.sink import Message
    from pbt.pipeline import Options


def compile(
    source: str | Source,
    *params: object,
    target: Target | None = None,
    unsafe: bool = False,
    pid: int | None = None,
    name: str = "script",
) -> Bundle:
    """A script → its bundle, for `target` (default: this machine).

    `params` are the positional parameters $1, $2, ...; `pid`: trace this process alone; `unsafe`:
    allow system(), signal() and the like; `name` stands in error messages. Needs no privileges with
    a saved target. Raises ScriptError or ScriptErrors.
    """
    from pbt.pipeline import compile as compiled

    return compiled(*_asked(source, params, target, unsafe, pid, name))


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

    script = source if isinstance(source, Source) else Source(name, source)
    return script, target or Target.live(), Options([str(p) for p in params], unsafe, pid)


class Trace:
    """A running script. As a context manager it starts on entry and leaves nothing behind.

    Iterating gives each `Message` as it comes (`kind`: "printf", "value", ...; `text`; `data`;
    `values`: the arguments as Python values) and ends when the script does. `maps` reads the
    script's maps as Python values at any time, after the end too.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        target: Target | None = None,
        pid: int | None = None,
        cmd: str | Sequence[str] | None = None,
    ) -> None:
        self._sink = Collector()
        self._session = Session(
            bundle, target or Target.live(), pid=pid, cmd=cmd, sink=self._sink, quiet=True
        )
        self._final: dict[str, Any] | None = None

    def __enter__(self) -> Trace:
        self._session.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with closing(self._session):
            if self._final is None and exc[0] is None:
                self._end()

    def __iter__(self) -> Iterator[Message]:
        yield from self._sink.take()
        while self._final is None and self._session.alive:
            self._session.poll()
            yield from self._sink.take()
        if self._final is None:
            self._end()
        yield from self._sink.take()

    async def __aiter__(self) -> AsyncIterator[Message]:
        """The same beside other tasks of an event loop, which waits for the kernel's buffer itself."""
        for message in self._sink.take():
            yield message
        while self.alive:
            await self._news()
            self._session.poll(0)
            for message in self._sink.take():
                yield message
        if self._final is None:
            self._end()
        for message in self._sink.take():
            yield message

    async def _news(self) -> None:
        """Wait until there may be messages, at most for as long as `poll` does."""
        import asyncio

        if not self._session.rest():
            return await asyncio.sleep(0)
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._session.fileno(), news.set)
        try:
            await asyncio.wait_for(news.wait(), TICK)
        except asyncio.TimeoutError:
            pass
        finally:
            loop.remove_reader(self._session.fileno())

    def poll(self, timeout: float = 0.1) -> list[Message]:
        """Messages that came within `timeout` seconds."""
        if self._final is None and self._session.alive:
            self._session.poll(timeout)
        return self._sink.take()

    @property
    def alive(self) -> bool:
        """Whether the script still runs."""
        return self._final is None and self._session.alive

    @property
    def maps(self) -> Mapping[str, Any]:
        """Map name → {key: value}, or the value of a map without keys."""
        return self._session.maps if self._final is None else self._final

    @property
    def lost(self) -> int:
        """Events for which there was no room."""
        return self._session.lost

    @property
    def exit_code(self) -> int:
        return self._session.exit_code

    def stop(self) -> None:
        """Begin the orderly end: END still runs."""
        self._session.stop()

    def _end(self) -> None:
        self._session.wind_up()
        self._final = dict(self._session.maps)
        self._session.close()


def load(
    bundle: Bundle,
    *,
    target: Target | None = None,
    pid: int | None = None,
    cmd: str | Sequence[str] | None = None,
) -> Trace:
    """A compiled script, ready to run: `with pbt.load(bundle) as t`. Arguments as for `trace`.

    Nothing is judged again; UsageError if it was compiled for another machine, KernelError on entry.
    """
    return Trace(bundle, target=target, pid=pid, cmd=cmd)


def trace(
    source: str | Source,
    *params: object,
    target: Target | None = None,
    unsafe: bool = False,
    pid: int | None = None,
    cmd: str | Sequence[str] | None = None,
) -> Trace:
    """Compile a script, have it judged by the built-in verifier, and make it ready to run.

    `with pbt.trace("...") as t: for event in t: ...`; arguments as for `compile`; `cmd`: run this
    command and end with it. Raises ScriptError(s) here, KernelError on entry.
    """
    machine = target or Target.live()
    bundle = compile(source, *params, target=machine, unsafe=unsafe, pid=pid)
    judge(bundle, machine)
    return Trace(bundle, target=machine, pid=pid, cmd=cmd)


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
