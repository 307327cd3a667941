"""A running script: starts it, reads what it sends, ends it in order, and leaves nothing behind."""

from __future__ import annotations

import select
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress

from pbt.bundle import Bundle, Program
from pbt.output.sink import Captured, Collector, Message
from pbt.runtime import child, events
from pbt.runtime.attach import Links, attach, providers
from pbt.runtime.failures import Failures, message
from pbt.runtime.load import Loaded, load
from pbt.runtime.signals import handled
from pbt.runtime.world import Maps, World, boot_ns
from pbt.source import PbtError, UsageError
from pbt.sys import bpf
from pbt.typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pbt.host.target import Target
    from pbt.output.sink import Sink
    from pbt.sys.ring import Run

State = Literal["ready", "stopping"]
TICK = 0.1  # seconds between looks at what no descriptor announces
_FIRST_LOOK = 0.002  # seconds after its start when a process has mapped its libraries, mostly
_START = struct.Struct("=4Q")  # the map "start": boot_ns, tai_offset, unix_offset, cpid
_MOST_WAITING = 64 << 20  # bytes of records kept here while their text is made
_BULK = "printf"  # the one action whose records become text without being looked at one by one


def to_stderr(text: str) -> None:
    """One line for the user, apart from the script's output."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


class Session:
    """A script between load and end; owns every descriptor and the child.

    As a context manager it is closed on every way out. `run` does everything and gives the exit
    code; iteration gives messages as they come, then those of the orderly end. Whoever does neither
    calls `start`, `poll` as long as `alive`, and `finish`.
    """

    def __init__(
        self,
        bundle: Bundle,
        target: Target,
        *,
        pid: int | None = None,
        cmd: str | Sequence[str] | None = None,
        sink: Sink | None = None,
        quiet: bool = False,
        escape: bool = False,
        warnings: bool = True,
        dry_run: bool = False,
        mode: str = "",
        notify: Callable[[str], None] = to_stderr,
        verifier_log: Callable[[str, str], None] | None = None,
        tell: Callable[[State], None] = lambda state: None,
    ) -> None:
        """`pid` or `cmd`: only that process, and no longer than it lives. `quiet`: no "Attached" line.

        `dry_run`: end right after attaching, without a word. `mode`: "test" or "bench" runs such probes and
        attaches nothing. `escape`: output goes to a terminal, see World. `notify` gets lines for the user,
        `verifier_log` each program's name and log (then
        what is attached is said, too), `tell` is called once all is attached and when the end
        begins. Raises UsageError for impossible combinations.
        """
        if pid is not None and cmd is not None:
            raise UsageError("A script is tied to a process (pid) or to a command (cmd), not to both")
        # what providers may ask (views.AttachHost); CPUs are those that run now
        self.target, self.pid = target, pid
        self.cpus: Sequence[int] = bpf.online_cpus()
        self._bundle, self._cmd, self._notify = bundle, cmd, notify
        self._quiet, self._escape, self._warnings, self._dry = quiet, escape, warnings, dry_run
        self._verifier_log, self._mode, self._tell = verifier_log, mode, tell
        self._log: Callable[[str], None] = notify if verifier_log else lambda text: None
        self.coloured = escape
        self.sink: Sink = sink if sink is not None else Collector()
        self._owned = ExitStack()
        self._child: child.Child | None = None  # that runs the command
        self._process: child.Child | child.Watch | None = None
        self._links: Links | None = None
        self._bulk: dict[int, events.Bulk | None] = {}
        self._queue: deque[Run] = deque()
        self._waiting = 0  # bytes in the queue
        self._came = False  # whether there were records since the last wait
        self._lost = self._unmissed = 0  # records: those reported, and those that nobody minds
        self._signalled = 0  # signals to this process that wait for their programs
        self._stopped = self._started = self._printed = self._finished = False
        self._next_look, self._pause = 0.0, _FIRST_LOOK

    # --- what callers may ask --------------------------------------------------------------------

    @property
    def maps(self) -> Maps:
        """The script's maps as Python values; only between start and close."""
        return Maps(self.world)

    @property
    def loaded(self) -> Loaded:
        """Maps and programs in the kernel; only between start and close."""
        return self._loaded

    @property
    def exit_code(self) -> int:
        return self.world.exit_code if self._started else 0

    @property
    def lost(self) -> int:
        """Records that found no room so far."""
        return self._lost

    @property
    def stopped(self) -> bool:
        """Whether the orderly end was asked for."""
        return self._stopped

    def stop(self) -> None:
        """Begin the orderly end, as SIGINT does; safe in a signal handler."""
        self._stopped = True

    def _signal_came(self) -> None:
        self._signalled += 1

    # --- one script's life ----------------------------------------------------------------------

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Detach, free and end everything at once, without END and without printing maps.

        Records that are being handled meanwhile, where this is called for one of them, come to nothing.
        """
        if self._started:
            self.world.exiting = True
        self._finished = True
        self._owned.close()

    def run(self) -> int:
        """The whole life of the script; its exit code. SIGINT and SIGTERM end it in order."""
        with self, handled(self.stop, self._signal_came):
            self.start()
            try:
                while self.alive:
                    self.poll()
                self.wind_up()
            except (PbtError, OSError):
                self._save()
                raise
        self.target.keep()
        return self.exit_code

    def _save(self) -> None:
        """Show what was seen until something failed, as far as it can be had, unless it is the output that failed."""
        if not (self._printed or self.sink.broken):
            with suppress(PbtError, OSError):
                self._print_maps()
                self.sink.flush()

    def __iter__(self) -> Iterator[Message]:
        """Messages as they come (with a `Collector`, the default sink); at its end the script has ended."""
        sink = self.sink
        assert isinstance(sink, Collector)
        with self:
            if not self._started:
                self.start()
            yield from sink.take()
            while self.alive:
                self.poll()
                yield from sink.take()
            self.finish()
            yield from sink.take()

    def start(self) -> None:
        """Load, run BEGIN, attach, let the child go. Raises PbtError; nothing stays behind then."""
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        owned = self._owned
        if self._cmd is not None:
            self._process = self._child = owned.enter_context(closing(child.Child(self._cmd)))
        elif self.pid is not None:
            self._process = owned.enter_context(closing(child.Watch(self.pid)))
        self.pid = self._process.pid if self._process else None
        self._loaded = owned.enter_context(load(self._bundle, self.target, self._verifier_log))
        self.world = World(
            self._bundle, self._loaded, self.target, self.sink, self._warn, self._escape, self._notify
        )
        owned.callback(self.world.close)
        self.world.detach = self._detach
        if isinstance(self.sink, Collector):
            self.sink.values = self.world.arguments
        self.world.remember(self.pid or 0)  # brings in now what short-lived processes would not wait for
        self._failures = Failures(self._bundle, self._loaded)
        self._fill_start()
        self._reader = owned.enter_context(closing(events.Reader(self._bundle, self._loaded)))
        self._epoll = owned.enter_context(select.epoll())
        for fd in (*self._reader.fds, *(self._process.fds if self._process else ())):
            self._epoll.register(fd, select.EPOLLIN)
        self._started = True
        self._attach()

    def _attach(self) -> None:
        """BEGIN runs first, but what it asks of user space is done when all is attached: it may start the load."""
        automatic = self._run_auto("" if self._dry else "BEGIN", self._fetch)
        if self._mode:
            self._consume()
            self._try()
            return
        self._links = self._owned.enter_context(closing(attach(self._loaded, self, self._warn, self._log)))
        if self._dry:
            return
        self._say_attached(self._links.count + automatic)
        self._tell("ready")
        self._consume(runs=len(self._queue))
        if self._child is not None:
            self._child.go(self._look_early if self.world.names_users else None)

    def _try(self) -> None:
        """Run the probes of the session's mode, and say what came of them."""
        from pbt.runtime.trials import MODES

        trials = [
            (str(program.place["name"]), fd.fileno())
            for program, fd in zip(self._bundle.programs, self._loaded.programs, strict=True)
            if program.provider == self._mode
        ]
        if trials and not self.world.exiting and not MODES[self._mode](self, trials):
            self.world.exit_code = 1

    @contextmanager
    def captured(self) -> Iterator[Captured]:
        """For a while, messages go to no sink but to what this yields; at its end all records are handled.

        Records that found no room are not missed, and a wish to exit is kept there, not obeyed.
        """
        sink, made = self.sink, Captured()
        self.sink = self.world.sink = made
        try:
            yield made
            self._consume()
        finally:
            self.sink = self.world.sink = sink
            made.exit_code, self.world.exiting, self.world.exit_code = self.world.exit_code, False, 0
            self._unmissed = self._reader.lost() - self._lost

    def _detach(self, wanted: Callable[[Program], bool]) -> None:
        if self._links is not None:
            self._links.drop(wanted)

    def say(self, text: str) -> None:
        """What a provider tells the user (views.AttachHost)."""
        if self.sink.messages == "text" and not self._quiet:
            self._notify(text)

    def _fill_start(self) -> None:
        """What only user space knows and programs want: see the map's fields at `_START`."""
        if "start" not in self._loaded.maps:
            return
        boot = boot_ns(self.target)
        tai = time.clock_gettime_ns(time.CLOCK_TAI) - boot
        own = self._child.pid if self._child is not None else 0
        bpf.map_update(
            self._loaded.map("start"), bytes(4), _START.pack(boot, tai, self.world.now_offset, own)
        )

    def _run_auto(self, name: str, then: Callable[[], None] | None = None) -> int:
        """Run the BEGIN or END programs, and handle what each sends or do `then`; how many of either there are."""
        known, count = providers(), 0
        for program, fd in zip(self._bundle.programs, self._loaded.programs, strict=True):
            if not known[program.provider].auto:
                continue
            count += 1
            if program.provider == name and not self.world.exiting:
                bpf.prog_test_run(fd.fileno())
                (then or self._consume)()
        return count

    def _say_attached(self, count: int) -> None:
        if self._quiet:
            return
        if self.sink.messages == "text":
            self._notify(f"Attached {count} probe{'s' * (count != 1)}")
        elif self.sink.messages == "json":
            self.sink.emit("attached_probes", b"", {"probes": count}, count=count)
            self.sink.settle()

    @property
    def alive(self) -> bool:
        """Whether there is something to wait for."""
        if self._finished or self._stopped or self._dry or self.world.exiting or self.sink.broken:
            return False
        if self._process is not None and self._process.ended():
            return False
        waits = self._links is not None and (self._links.count > 0 or self._listens)
        return waits or self._child is not None

    def fileno(self) -> int:
        """A descriptor that becomes readable when `poll` has something to do; ask `rest` before waiting for it."""
        return self._epoll.fileno()

    def rest(self) -> bool:
        """Want to be woken by the next record; False if there is something to do already."""
        return not self._queue and not (self._links and self._links.iterating) and self._reader.rest()

    @property
    def _listens(self) -> bool:
        """Whether the script has programs for a signal to this process."""
        return any(program.provider == "self" for program in self._bundle.programs)

    def poll(self, timeout: float = TICK) -> None:
        """Wait for records at most `timeout` seconds and handle those that are there."""
        iterating = self._links is not None and self._links.iterating
        if self._links is not None and iterating and not self._queue:
            self._links.iterate()
        while self._signalled:
            self._signalled -= 1
            self._run_auto("self", self._fetch)
        if not self._queue and not iterating:
            self._wait(min(timeout, self._look()))
        self._consume(TICK)
        if not self._finished:
            self._count_lost()
            self._tell_failures()

    def _wait(self, timeout: float) -> None:
        """Until something happens; a while longer where records keep coming, so that many are taken at once."""
        if self._came and self._reader.pause:
            time.sleep(min(timeout, self._reader.pause))
        elif self._reader.rest():
            self._epoll.poll(timeout)
        self._came = False

    def _look_early(self) -> None:
        self.world.remember(self.pid or 0)

    def _look(self) -> float:
        """Seconds until the process is to be looked at again; does so if it is time.

        A process that has just begun is looked at more often: it may be gone soon.
        """
        if self.pid is None:
            return TICK
        now = time.monotonic()
        if now >= self._next_look:
            self._pause = min(2 * self._pause, TICK)
            self._next_look = now + self._pause
            self.world.remember(self.pid)
        return self._next_look - now

    def finish(self) -> None:
        """`wind_up`, then close everything."""
        try:
            self.wind_up()
        finally:
            self.close()
        self.target.keep()

    def wind_up(self) -> None:
        """The orderly end: detach, handle what is left, run END, print maps; maps stay readable."""
        self._tell("stopping")
        if self._links is not None:
            self._links.close()
        if self._process is not None:
            self._process.close()
        if self.world.exiting:
            self._reader.read()  # what was recorded after exit() is not wanted
        elif not self._dry:
            self._consume()
        if not self._dry:
            self._end()

    def _end(self) -> None:
        self.world.exiting = False
        self._run_auto("END")
        self._count_lost()
        self._tell_failures(last=True)
        self._print_maps()
        self.sink.flush()
        if self._lost and self.sink.messages == "text":
            self._notify(f"WARNING: Total lost event count: {self._lost}")

    def _print_maps(self) -> None:
        self._printed = True
        if self._bundle.config.get("print_maps_on_exit", True) and not self._mode:
            self.world.print_all()

    # --- records --------------------------------------------------------------------------------

    def _consume(self, seconds: float | None = None, runs: int = -1) -> None:
        """Handle records, until there are none, as many as time allows, or `runs` of those that wait; up to one that
        ends the script. While programs are attached, there may never be none.

        The kernel's buffer is emptied again after every piece of work, so that it hardly ever fills.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        self._fetch()
        while self._queue and runs and not self.world.exiting:
            runs -= 1
            oldest = self._queue.popleft()
            self._waiting -= len(oldest.block)
            for number, run in events.parts(oldest):
                bulk = self._bulk_of(number)
                if bulk is not None:
                    self.sink.many(_BULK, bulk(run))
                elif not self._act(number, run):
                    break
                self._fetch()
            if deadline is not None and time.monotonic() > deadline:
                break
        if self.world.exiting:
            self._discard()
        self.sink.settle()

    def _fetch(self) -> None:
        """Take what the kernel has, unless so much is waiting already that it must be lost."""
        if self._waiting < _MOST_WAITING:
            runs = self._reader.read()
            self._came |= bool(runs)
            self._queue.extend(runs)
            self._waiting += sum(len(run.block) for run in runs)

    def _discard(self) -> None:
        self._queue.clear()
        self._waiting = 0

    def _act(self, number: int, run: Run) -> bool:
        """Handle records of one kind one by one; False if one ends the script."""
        event = self._bundle.events[number]
        for record in run.records():
            self.world.act(event, events.values(event, record))
            if self.world.exiting:
                return False
        return True

    def _bulk_of(self, number: int) -> events.Bulk | None:
        """The fast way from records to texts, where the sink takes many at once."""
        if number not in self._bulk:
            event = self._bundle.events[number]
            fit = self.sink.bulk and event.action == _BULK
            self._bulk[number] = events.bulk(event, self.world.drawer) if fit else None
        return self._bulk[number]

    def _count_lost(self) -> None:
        new = self._reader.lost() - self._lost - self._unmissed
        if new <= 0:
            return
        self._lost += new
        if self.sink.messages == "text":
            self._notify(f"Lost {new} events")
        else:
            self.sink.emit("lost_events", b"Lost %d events\n" % new, {"events": new}, count=new)

    def _tell_failures(self, last: bool = False) -> None:
        """Warn of helper calls that failed: once for each, and once more at the end if they went on."""
        for report in self._failures.news(last):
            if self.sink.messages == "json":
                self.sink.emit("helper_error", b"", None, **message(report))
            elif self.sink.messages == "both":
                self.sink.emit(
                    "helper_error", f"{report.warning}\n".encode(errors="surrogateescape"), message(report)
                )
            elif self._warnings and self.sink.messages == "text":
                self._notify(str(report.warning))

    def _warn(self, message: str, where: str = "") -> None:
        if self._warnings:
            self._notify(f"{where}WARNING: {message}")
