"""How kprobe and kretprobe are attached: by a link for many functions, a perf event, or tracefs's kprobe_events."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from errno import EADDRNOTAVAIL, EBUSY, EILSEQ, EINVAL, ENOENT, EOPNOTSUPP, EPERM, ERANGE, ESRCH
from functools import partial

from pbt.feature import Place
from pbt.probes.common import all_or_none, bind, explained, on_event
from pbt.probes.kprobe import KERNEL, MULTI, PMU, SESSION, name_of
from pbt.source import KernelError
from pbt.sys import perf
from pbt.sys.links import link_kprobe_multi
from pbt.typing import TYPE_CHECKING
from pbt.uapi.consts import BPF_F_KPROBE_MULTI_RETURN, PERF_TYPE_TRACEPOINT

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.target import Target
    from pbt.views import AttachHost, Closeable

_HINTS = {
    ENOENT: "the kernel has no such function, or does not let it be traced: pbt -l 'kprobe:NAME*'",
    EINVAL: "the function may be inlined or not traceable (/sys/kernel/debug/kprobes/blacklist)",
    EADDRNOTAVAIL: "the kernel has several functions of this name",
    EILSEQ: "the offset is not the start of an instruction",
    EPERM: "run as root; kernel lockdown also forbids kprobes",
}
_CALLED = (
    "no probe can be where ftrace's call is, on this machine mostly at +4: the next instruction will do; see also "
    "/sys/kernel/debug/kprobes/blacklist"
)


_UNTRACEABLE = (ENOENT, ESRCH, EINVAL, EADDRNOTAVAIL, EOPNOTSUPP, EBUSY)


def attach(
    returns: bool, host: AttachHost, fd: int, program: Program, addresses: Sequence[int] = ()
) -> Sequence[Closeable]:
    """Through the kprobe PMU (4.17), or without it through tracefs's kprobe_events.

    `addresses`: where the function is, if that is known: kernels before 6.2 go through all their symbols, several
    times, for each name.
    """
    if program.expected_attach_type == MULTI:
        return attach_many(returns, host, fd, (program,))[0]
    with explained(program.name, _hints(program.place, host.target)):
        _within(program.place, host.target)
        try:
            pmu = perf.pmu_type(PMU)
        except KernelError:
            return _attach_text(returns, host, fd, program)
        try:
            return _attach_pmu(pmu, returns, host, fd, program, addresses)
        except KernelError as error:
            if program.place.get("matched") and error.errno in _UNTRACEABLE:
                return ()  # a wildcard stands for what can be traced
            raise


def _hints(place: Place, target: Target) -> Mapping[int, str]:
    """By errno, what helps; arm64 refuses an offset with one number for every reason."""
    offset = place.get("offset")
    if not offset or target.arch.name != "aarch64":
        return _HINTS
    return {**_HINTS, EINVAL: _HINTS[EILSEQ] if offset % 4 else _CALLED}


def _within(place: Place, target: Target) -> None:
    """KernelError for an offset beyond the end of its function: the kernel would probe what comes behind it."""
    if not (offset := place.get("offset")):
        return
    symbols, name = target.kallsyms, place["function"]
    starts = symbols.addresses([name]).get(name) or [symbols.address(name)]
    sizes = [symbols.size(start) for start in starts if start]
    if not sizes or max(sizes) > offset or 0 in sizes:
        return
    there = symbols.symbol(starts[0] + offset)
    hint = f"{there.name}+{there.offset} is what is there" if there else ""
    raise KernelError(f"+{offset} is beyond the end of {name}, which has {max(sizes)} bytes", ERANGE, hint)


def attach_many(
    returns: bool, host: AttachHost, fd: int, programs: Sequence[Program]
) -> tuple[Sequence[Closeable], int]:
    """One link for all functions, or, in a session, for both their ends; where the kernel refuses some, as few links
    as leave those out.
    """
    kind = programs[0].expected_attach_type
    if kind not in (MULTI, SESSION):
        return _attach_each(returns, host, fd, programs)
    with explained(programs[0].name, _HINTS), all_or_none() as links:
        cookies = {program.place["function"]: program.cookie for program in programs}
        kinds = (
            {"session": True} if kind == SESSION else {"flags": BPF_F_KPROBE_MULTI_RETURN if returns else 0}
        )
        must = not programs[0].place.get("matched")
        link = partial(link_kprobe_multi, fd, **kinds)
        count = _links(links, link, sorted(cookies.items()), must)
        return links, count * len(programs) // len(cookies)


def _attach_each(
    returns: bool, host: AttachHost, fd: int, programs: Sequence[Program]
) -> tuple[Sequence[Closeable], int]:
    """A perf event for each function."""
    matched = [p.place["function"] for p in programs if p.place.get("matched") and not p.place["module"]]
    known = host.target.kallsyms.addresses(matched) if matched else {}
    count = 0
    with all_or_none() as links:
        for program in programs:
            added = attach(returns, host, fd, program, known.get(program.place.get("function", ""), ()))
            links += added
            count += bool(added)
    return links, count


def _links(
    links: list[Closeable],
    link: Callable[..., Closeable],
    places: Sequence[tuple[str, int]],
    must: bool = False,
) -> int:
    """Add links to functions, each with its cookie; to how many. Those that the kernel refuses are left out unless
    they `must` be.
    """
    try:
        names, cookies = zip(*places, strict=True)
        links.append(link(syms=names, cookies=cookies if any(cookies) else ()))
        return len(names)
    except KernelError as error:
        if must or error.errno not in _UNTRACEABLE:
            raise
        if len(places) == 1:
            return 0
    half = len(places) // 2
    return _links(links, link, places[:half]) + _links(links, link, places[half:])


def _attach_pmu(
    pmu: int, returns: bool, host: AttachHost, fd: int, program: Program, addresses: Sequence[int]
) -> Sequence[Closeable]:
    """config1 points to the name or is 0, and config2 is the offset or the address (perf_event_attr)."""
    place, config = program.place, perf.retprobe_bit(PMU) if returns else 0
    each = partial(on_event, fd, cookie=program.cookie, type=pmu, config=config)
    if "address" in place:
        return each(config2=place["address"])
    if addresses:
        return _everywhere(each, addresses)
    function, module = place["function"], place["module"]
    try:
        symbol = function if module in ("", KERNEL) else f"{module}:{function}"
        return each(name=symbol, config2=place["offset"])
    except KernelError as error:
        found = host.target.kallsyms.addresses([function]) if error.errno == EADDRNOTAVAIL else {}
        if function not in found or symbol != function:
            raise
    addresses = [address + place["offset"] for address in found[function]]
    links = _everywhere(each, addresses)
    host.say(f"{len(addresses)} functions are called {function}, {len(links)} of them probed")
    return links


def _everywhere(at: Callable[..., Sequence[Closeable]], addresses: Sequence[int]) -> Sequence[Closeable]:
    """At all functions of one name, but for those that the kernel does not let be probed."""
    with all_or_none() as found:
        for left, address in zip(reversed(range(len(addresses))), addresses, strict=True):
            try:
                found += at(config2=address)
            except KernelError as error:
                if error.errno not in _UNTRACEABLE or not (found or left):
                    raise
    return found


class _TextProbe:
    """A probe written into kprobe_events, removed by `close`."""

    def __init__(self, root: str, name: str, definition: str) -> None:
        self._path, self._name = f"{root}/kprobe_events", name
        self._write(definition)

    def _write(self, line: str) -> None:
        """Appended by hand: Python's mode "a" seeks to the end, which this file cannot."""
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, line.encode() + b"\n")
        finally:
            os.close(file)

    def close(self) -> None:
        try:
            self._write(f"-:pbt/{self._name}")
        except OSError as error:
            hint = f"echo '-:pbt/{self._name}' >> {self._path} removes it once nobody uses it"
            raise KernelError(
                f"cannot remove pbt/{self._name} from kprobe_events", error.errno or EBUSY, hint
            ) from None


def _attach_text(returns: bool, host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    """`p:GROUP/NAME MODULE:FUNCTION+OFFSET` makes a tracepoint (Documentation/trace/kprobetrace.rst)."""
    root, place = host.target.tracefs.root, program.place
    name = f"{'r' if returns else 'p'}{os.getpid()}_{fd}_{_identifier(name_of(place))}"
    with ExitStack() as stack:
        try:
            probe = _TextProbe(root, name, f"{name[0]}:pbt/{name} {name_of(place)}")
        except FileNotFoundError:
            raise KernelError("this kernel has no kprobes", EOPNOTSUPP, NO_KPROBES) from None
        except OSError as error:
            raise KernelError(f"kprobe_events refused {name_of(place)}", error.errno or EINVAL) from None
        stack.callback(probe.close)
        with open(f"{root}/events/pbt/{name}/id") as file:
            event = perf.perf_event_open(PERF_TYPE_TRACEPOINT, int(file.read()), cpu=0)
        bind(stack, event, fd, program.cookie)
        return (stack.pop_all(),)


def _identifier(text: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in text)


NO_KPROBES = "it was built without CONFIG_KPROBES: use a tracepoint (pbt -l 'tracepoint:*') or fentry instead"
