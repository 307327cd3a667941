"""BPF programs that the kernel holds: their functions, as the types that came with them describe them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from pbt.data import NamedTuple
from pbt.host.btf import Btf
from pbt.host.btfindex import BtfError
from pbt.source import KernelError
from pbt.sys import objects


class LoadedProgram(NamedTuple):
    """A program by its id; `functions`: name → number in `types`, its main function first."""

    id: int
    types: Btf
    functions: Mapping[str, int]


def loaded() -> tuple[LoadedProgram, ...]:
    """The programs that have types, by id; none where we may not ask for them."""
    found: list[LoadedProgram] = []
    with suppress(KernelError):
        found.extend(_described())
    return tuple(found)


def _described() -> Iterator[LoadedProgram]:
    known: dict[int, Btf] = {}
    for id in objects.ids("prog"):
        with suppress(KernelError, BtfError):  # gone meanwhile
            with objects.fd_by_id("prog", id) as fd:
                btf, functions = objects.prog_functions(fd.fileno())
            if not functions:
                continue
            if btf not in known:
                with objects.btf_get_fd_by_id(btf) as fd:
                    known[btf] = Btf(objects.btf_data(fd.fileno()))
            yield LoadedProgram(id, known[btf], {known[btf].name(number): number for number in functions})
