"""Addresses → names, each looked up once: the kernel's from kallsyms, processes' from their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.source import UsageError
from pbt.typing import TYPE_CHECKING, Any
from pbt.values import Symbol

if TYPE_CHECKING:
    from pbt.host.kallsyms import Kallsyms
    from pbt.host.proc import ElfFiles, UserSymbols


UserFrame = tuple[str, bool]


class Symbols:
    """The names of one session; what a process had is remembered when it is gone."""

    def __init__(self, kallsyms: Kallsyms, config: Mapping[str, Any] | None = None) -> None:
        """`config`: of its variables cache_user_symbols, user_symbols, cpp_demangle and show_debug_info count."""
        settings = config or {}
        self._keep = settings.get("cache_user_symbols", "PER_PID") != "NONE"
        self._named = bool(settings.get("user_symbols", True))
        self._demangled = bool(settings.get("cpp_demangle", True))
        self._debugged = bool(settings.get("show_debug_info", False))
        self._frames: dict[tuple[int, int, bool, bool], Sequence[UserFrame]] = {}
        self._kallsyms = kallsyms
        self._kernel: dict[int, Symbol | None] = {}
        self._kernel_names: dict[int, str] = {}
        self._kernel_texts: dict[int, str] = {}  # with offsets
        self._kernel_frames: dict[int, str] = {}
        self._user: dict[tuple[int, int], Symbol | None] = {}
        self._processes: dict[int, UserSymbols] = {}
        self._files: ElfFiles | None = None

    def kernel(self, address: int, offset: bool = False) -> str:
        """`name` or `name+offset` of a kernel address, `0x…` where nothing is known."""
        known = self._kernel_texts if offset else self._kernel_names
        found = known.get(address)
        if found is None:
            found = known[address] = _text(self._kernel_symbol(address), address, offset)
        return found

    def kernel_frames(self, addresses: Sequence[int]) -> list[str]:
        """`name+offset` of each kernel address; most have been asked for before."""
        known = self._kernel_frames
        try:
            return list(map(known.__getitem__, addresses))
        except KeyError:
            for address in addresses:
                if address not in known:
                    found = self._kallsyms.symbol(address, code=True)
                    known[address] = _text(found and Symbol(*found), address, True)
            return [known[address] for address in addresses]

    def kernel_module(self, address: int) -> str:
        """The kernel module that an address belongs to, "" for the kernel itself."""
        found = self._kernel_symbol(address)
        return found.module if found else ""

    def _kernel_symbol(self, address: int) -> Symbol | None:
        if address not in self._kernel:
            found = self._kallsyms.symbol(address)
            self._kernel[address] = found and Symbol(*found)
        return self._kernel[address]

    def user(self, address: int, pid: int, offset: bool = False) -> str:
        """The same for an address of a process."""
        return _text(self._user_symbol(address, pid) if self._named else None, address, offset)

    def user_frames(self, address: int, pid: int, returning: bool, lines: bool) -> Sequence[UserFrame]:
        """(text, whether it is inlined) for each function that runs at an address of a process, the innermost
        first: one, unless debugging information is to be shown and tells more; with source lines if `lines`.

        `returning`: the address is where a call returns to. UsageError when the information is damaged.
        """
        if not self._debugged or not self._named:
            return ((self.user(address, pid, True), False),)
        at = pid, address, returning, lines
        if at not in self._frames or not self._keep:
            self._frames[at] = ((self.user(address, pid, True), False),)  # for good, if what follows fails
            self._frames[at] = self._user_frames(address, pid, returning, lines)
        return self._frames[at]

    def _user_frames(self, address: int, pid: int, returning: bool, lines: bool) -> Sequence[UserFrame]:
        text, found = self.user(address, pid, True), self._process(pid).frames(address, returning)
        places = [f"@{f.line.path}:{f.line.line}" if lines and f.line else "" for f in found]
        names = [self._readable(frame.symbol) for frame in found[:-1]]
        inlined = [(name + place, True) for name, place in zip(names, places, strict=False)]
        return (*inlined, (text + "".join(places[-1:]), False))

    def remember(self, pid: int) -> None:
        """Look where a process has its files now: it may be gone when its addresses are to be named."""
        if self._keep:
            self._process(pid).load()

    def user_module(self, address: int, pid: int) -> str:
        """The file that an address of a process belongs to, "" where it is unknown."""
        mapping = self._process(pid).mapping(address)
        return mapping.path if mapping else ""

    def _user_symbol(self, address: int, pid: int) -> Symbol | None:
        at = pid, address
        if at not in self._user or not self._keep:
            found = self._process(pid).symbol(address)
            self._user[at] = found and Symbol(self._readable(found.name), *found[1:])
        return self._user[at]

    def _readable(self, name: str) -> str:
        """The name as C++ writes it, where it is one and the machine has a library that understands it."""
        if not self._demangled or not name.startswith("_Z"):
            return name
        from pbt.host.demangle import demangle

        try:
            return demangle(name)
        except UsageError:
            self._demangled = False
            return name

    def _process(self, pid: int) -> UserSymbols:
        if pid not in self._processes or not self._keep:
            from pbt.host.proc import ElfFiles, UserSymbols

            self._files = self._files or ElfFiles()
            self._processes[pid] = UserSymbols(pid, self._files)
        return self._processes[pid]


def _text(symbol: Symbol | None, address: int, offset: bool) -> str:
    return symbol.text(offset) if symbol else f"{address:#x}" if address else "0"
