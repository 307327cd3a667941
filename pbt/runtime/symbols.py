"""Addresses → names, each looked up once: the kernel's from kallsyms, processes' from their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbt.values import Symbol

if TYPE_CHECKING:
    from pbt.host.kallsyms import Kallsyms
    from pbt.host.proc import ElfFiles, UserSymbols


class Symbols:
    """The names of one session; what a process had is remembered when it is gone."""

    def __init__(self, kallsyms: Kallsyms) -> None:
        self._kallsyms = kallsyms
        self._kernel: dict[int, Symbol | None] = {}
        self._user: dict[tuple[int, int], Symbol | None] = {}
        self._processes: dict[int, UserSymbols] = {}
        self._files: ElfFiles | None = None

    def kernel(self, address: int, offset: bool = False) -> str:
        """`name` or `name+offset` of a kernel address, `0x…` where nothing is known."""
        return _text(self._kernel_symbol(address), address, offset)

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
        return _text(self._user_symbol(address, pid), address, offset)

    def user_module(self, address: int, pid: int) -> str:
        """The file that an address of a process belongs to, "" where it is unknown."""
        mapping = self._process(pid).mapping(address)
        return mapping.path if mapping else ""

    def _user_symbol(self, address: int, pid: int) -> Symbol | None:
        at = pid, address
        if at not in self._user:
            found = self._process(pid).symbol(address)
            self._user[at] = found and Symbol(*found)
        return self._user[at]

    def _process(self, pid: int) -> UserSymbols:
        if pid not in self._processes:
            from pbt.host.proc import ElfFiles, UserSymbols

            self._files = self._files or ElfFiles()
            self._processes[pid] = UserSymbols(pid, self._files)
        return self._processes[pid]


def _text(symbol: Symbol | None, address: int, offset: bool) -> str:
    return symbol.text(offset) if symbol else f"{address:#x}" if address else "0"
