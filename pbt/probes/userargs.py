"""Typed arguments of functions in programs and libraries, by debugging information: `args.name` in uprobes.

Where an argument is at a function's entry follows from its type and the machine's calling convention (the System
V psABI of x86-64; AAPCS64; elsewhere what holds for numbers and addresses). Programs see registers of general use
only: what is passed in others, in two of them, or in memory is known by name and reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pbt.arch import Arch
from pbt.data import NamedTuple, replace
from pbt.dwarf import consts as c
from pbt.dwarf.ranges import ranges
from pbt.dwarf.types import Param, Real, Types, spelled
from pbt.feature import Context, Place, PlaceError
from pbt.source import UsageError
from pbt.types import Array, Member, Struct, Type
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.dwarf.units import Die
    from pbt.host.elf import Elf

_LARGEST = 16  # bytes of a struct that may be passed in registers
_KNOWN = ("x86_64", "aarch64")  # machines whose rules for structs are here


class Function(NamedTuple):
    """A function that a place is the entry of, with the types around it."""

    types: Types
    die: Die


def typed(context: Context, place: Place, elf: Elf, arch: Arch) -> Context:
    """The context with `args`, or with the reason why they are not known. PlaceError for damaged information."""
    try:
        found = _function(place, elf)
        if isinstance(found, str):
            return replace(context, lacks=(*context.lacks, ("args", found)))
        params = tuple(located(found, arch))
    except UsageError as error:
        raise PlaceError(error.message, error.hint) from error
    members = tuple(m for m in params if isinstance(m, Member))
    lacks = tuple((f"args.{m[0]}", m[1]) for m in params if not isinstance(m, Member))
    args = Struct(f"struct _uprobe_{found.die.offset:x}", arch.regs_size, 8, lambda: members)
    return replace(context, args=args if params else None, lacks=(*context.lacks, *lacks))


def find_type(elf: Elf, name: str) -> Type | None:
    """A type that a file defines, by its name in C: "struct item", "word"."""
    from pbt.host.debuginfo import debug_info

    info = debug_info(elf)
    return Types(info).find(name) if info is not None else None


def fields(place: Place, elf: Elf) -> Sequence[str]:
    """The parameters as C declares them: "struct item* it"."""
    found = _function(place, elf)
    if isinstance(found, str):
        return ()
    return [f"{spelled(p.die)} {p.name or f'arg{n}'}" for n, p in enumerate(found.types.params(found.die))]


def _function(place: Place, elf: Elf) -> Function | str:
    """The function that begins at a place; or why there is none."""
    from pbt.host.debuginfo import debug_info

    symbol = elf.symbol(place["symbol"]) if place["symbol"] else (0, 0)
    address = (symbol[0] if symbol else 0) + place["offset"]
    info = debug_info(elf)
    if info is None:
        return f"{place['path']} has no debugging information: build it with -g, or use arg0, arg1, ..."
    die = info.function_at(address)
    if die is None:
        return "debugging information does not tell of this function: use arg0, arg1, ..."
    if address not in [low for low, _ in ranges(die)][:1]:
        return "arguments are known where a function begins, not in the middle"
    return Function(Types(info), die)


def located(function: Function, arch: Arch) -> Iterator[Member | tuple[str, str]]:
    """Each parameter as a member of the context, or its name with the reason why it is not."""
    next_ = int(arch.name == "x86_64" and _in_memory(function.types.result(function.die)))
    known = True  # where the next one is
    for n, param in enumerate(function.types.params(function.die)):
        name, type_ = param.name or f"arg{n}", param.type
        words = -(-type_.size // arch.word)
        if not known:
            yield name, "it comes after an argument whose place is not known on this machine"
        elif isinstance(type_, Real):
            next_ += arch.name == "ppc64le"
            yield name, "it is a floating-point number, in a register that programs do not see"
        elif isinstance(type_, (Struct, Array)) and arch.name not in _KNOWN:
            known = False
            yield name, "where structs are passed is not known on this machine"
        elif arch.name == "aarch64" and _in_memory(param):
            yield name, f"it is passed by its address: arg{next_}"
            next_ += 1
        elif _in_memory(param):
            yield name, "it is passed on the stack"
        else:
            halves = list(_halves(type_))
            taken = words if isinstance(type_, Struct) and arch.name == "aarch64" else halves.count(False)
            if all(halves) or (any(halves) and arch.name == "aarch64" and len(set(halves)) == 1):
                yield name, "it is made of floating-point numbers, in registers that programs do not see"
            elif next_ + taken > len(arch.args):
                yield name, "it is passed on the stack"
            elif words > 1:
                yield name, "it is in two registers: " + " and ".join(f"arg{next_ + k}" for k in range(taken))
                next_ += taken
            else:
                yield Member(name, type_, _register(arch, next_, type_), ctype=spelled(param.die))
                next_ += 1


def _register(arch: Arch, n: int, type_: Type) -> int:
    """Where in the context the n-th register has a value of this type: at its low end."""
    return arch.args[n] + (arch.word - type_.size if arch.byteorder == "big" else 0)


def _in_memory(param: Param) -> bool:
    """Whether a struct does not go through registers: it is large, or C++ forbids copies that it does not see."""
    by_address = param.die is not None and param.die.number(c.AT_CALLING_CONVENTION) == c.CC_PASS_BY_REFERENCE
    return isinstance(param.type, (Struct, Array)) and (param.type.size > _LARGEST or by_address)


def _halves(type_: Type) -> list[bool]:
    """For each 8 bytes of a value, whether only floating-point numbers are in it."""
    halves: list[bool] = [True] * max(1, -(-type_.size // 8))
    for offset, leaf in _leaves(type_, 0, 0):
        if not isinstance(leaf, Real):
            for half in range(offset // 8, min(len(halves), -(-(offset + max(leaf.size, 1)) // 8))):
                halves[half] = False
    return halves


def _leaves(type_: Type, offset: int, depth: int) -> Iterator[tuple[int, Type]]:
    """The numbers that a small value is made of, with their offsets."""
    if depth > _LARGEST:
        return
    if isinstance(type_, Struct):
        for member in type_.members:
            yield from _leaves(member.type, offset + member.offset, depth + 1)
    elif isinstance(type_, Array):
        for n in range(min(type_.count, _LARGEST)):
            yield from _leaves(type_.element, offset + n * type_.element.size, depth + 1)
    else:
        yield offset, type_
