"""Addresses by name, registers: kaddr percpu_kaddr uaddr reg usermode."""

from __future__ import annotations

from pbt.feature import Builtin, Call
from pbt.types import U8, U64, Int, Pointer, Type, is_integral
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.host.elf import Elf
    from pbt.ir.core import Value
    from pbt.views import Checks, Gen

PER_CPU = "__per_cpu_offset"  # the kernel's array: how far each CPU's copies are from the symbols
_ET_EXEC = 2  # of ELF: the file's addresses are those of the process


def _kernel_address(checks: Checks, call: Call, name: str) -> int:
    address = checks.target.kallsyms.address(name)
    if not address:
        raise checks.error(
            f"Failed to resolve kernel symbol: {name}",
            call.span,
            "it must stand in /proc/kallsyms, with addresses readable (kernel.kptr_restrict)",
        )
    return address


def _check_kaddr(checks: Checks, call: Call) -> Type:
    name = checks.literal_str(call.args[0], "kaddr() symbol")
    checks.keep(call.node, _kernel_address(checks, call, name))
    return U64


def _kaddr(gen: Gen, call: Call) -> Value:
    return gen.b.const(gen.kept(call.node))


def _check_percpu(checks: Checks, call: Call) -> Type:
    """Keeps the name of a variable that BTF knows, else the addresses of the symbol and of all CPUs' offsets."""
    name = checks.literal_str(call.args[0], "percpu_kaddr() symbol")
    if len(call.args) > 1 and not is_integral(call.types[1]):
        raise checks.error(
            f"percpu_kaddr() expects the number of a CPU ({call.types[1]} provided)",
            checks.span(call.args[1]),
        )
    types = checks.target.types
    if types is not None and types.find("var", name) is not None and checks.target.has("per_cpu_ptr"):
        checks.keep(call.node, name)
    else:
        checks.keep(call.node, (_kernel_address(checks, call, name), _kernel_address(checks, call, PER_CPU)))
    return U64


def _percpu(gen: Gen, call: Call) -> Value:
    cpu = gen.value(call.args[1]) if len(call.args) > 1 else None
    kept = gen.kept(call.node)
    if isinstance(kept, str):
        return _percpu_by_type(gen, kept, cpu)
    address, offsets = kept
    return _percpu_by_address(gen, address, offsets, cpu)


def _percpu_by_type(gen: Gen, name: str, cpu: Value | None) -> Value:
    """The kernel's answer, read back from memory as a number: pointers may not be reckoned with."""
    b = gen.b
    if cpu is None:
        found = b.call("this_cpu_ptr", b.variable(name))
    else:
        found = b.call("per_cpu_ptr", b.variable(name), cpu)
    kept, room = gen.scratch(8, "per-CPU pointer"), gen.temp(8, "per-CPU address")
    b.store(kept.base, kept.offset, 8, found)
    gen.read(room, 8, gen.address(kept), "kernel")
    return b.load(room.base, room.offset, 8)


def _percpu_by_address(gen: Gen, address: int, offsets: int, cpu: Value | None) -> Value:
    """The symbol moved by the CPU's offset; 0 for a CPU that cannot be."""
    b = gen.b
    number = b.zext(b.call("get_smp_processor_id"), 4) if cpu is None else cpu
    room = gen.temp(8, "per-CPU offset")

    def found() -> Value:
        gen.read(room, 8, b.add(b.op("shl", number, 3), offsets), "kernel")
        return b.add(b.load(room.base, room.offset, 8), address)

    return b.choose("ult", number, len(gen.target.cpus), found, lambda: 0)


# --- programs and libraries -------------------------------------------------------------------


def _check_uaddr(checks: Checks, call: Call) -> Type:
    """Keeps (is it to be moved?, address in the file, address of the probe in the file)."""
    name = checks.literal_str(call.args[0], "uaddr() symbol")
    path, _, function = call.probe.label.partition(":")[2].rpartition(":")
    if call.probe.provider not in ("uprobe", "uretprobe") or not path:
        raise checks.error("uaddr() can only be used with uprobe and uretprobe probes", call.span)
    elf = _elf(path)
    symbol = elf.symbol(name) if elf else None
    if elf is None or symbol is None:
        raise checks.error(f"Could not resolve symbol: {path}:{name}", call.span)
    moves = elf.type != _ET_EXEC
    if moves and call.probe.func is None:
        raise checks.error(
            f"uaddr() cannot tell here where {path} lies in the process",
            call.span,
            "it is position-independent: use a uprobe, whose place is known",
        )
    checks.keep(call.node, (moves, symbol[0], _place(elf, function)))
    return Pointer(Int(symbol[1] if symbol[1] in (1, 2, 4, 8) else 8, True), "user")


def _elf(path: str) -> Elf | None:
    from pbt.host.archive import open_elf
    from pbt.host.elf import ElfError

    try:
        return open_elf(path)
    except (OSError, ElfError):
        return None


def _place(elf: Elf, function: str) -> int:
    """The address in the file of `symbol`, `symbol+offset` or `0xADDRESS`."""
    name, _, offset = function.partition("+")
    if name[:1].isdigit():
        return int(name, 0)
    found = elf.symbol(name)
    return (found[0] if found else 0) + int(offset or "0", 0)


def _uaddr(gen: Gen, call: Call) -> Value:
    """Where the probe is in the process and where it is in the file tell how far everything was moved."""
    moves, address, place = gen.kept(call.node)
    if not moves:
        return gen.b.const(address)
    assert gen.probe.func is not None
    return gen.b.add(gen.probe.func(gen), address - place)


# --- registers --------------------------------------------------------------------------------


def _check_registers(checks: Checks, call: Call) -> None:
    if not call.probe.regs:
        raise checks.error(
            f"{call.name} can not be used with '{call.probe.provider.lower()}' probes",
            call.span,
            "those with registers are kprobe, uprobe, profile, interval, software, hardware and watchpoint",
        )


def _check_reg(checks: Checks, call: Call) -> Type:
    _check_registers(checks, call)
    name, registers = checks.literal_str(call.args[0], "reg() name"), checks.target.arch.regs
    offset = checks.target.arch.pc if name == "pc" else registers.get(name)
    if offset is None:
        raise checks.error(
            f"'{name}' is not a valid register on this architecture ({checks.target.arch.name})",
            checks.span(call.args[0]),
            "registers are " + ", ".join(registers),
        )
    checks.keep(call.node, offset)
    return U64


def _reg(gen: Gen, call: Call) -> Value:
    return gen.b.load(gen.b.ctx(), gen.kept(call.node), gen.arch.word)


def _check_usermode(checks: Checks, call: Call) -> Type:
    if "cs" not in checks.target.arch.regs:
        raise checks.error(f"usermode is not known on {checks.target.arch.name}", call.span, "only on x86")
    return U8


def _usermode(gen: Gen, call: Call) -> Value:
    """The code segment's low two bits are the privilege level, 0 for the kernel.

    Where there are no registers, it is the kernel that reached the probe; BEGIN and END run for a process that
    came from user mode.
    """
    if not call.probe.regs:
        return gen.b.const(int(call.probe.provider.lower() in ("begin", "end", "self")))
    level = gen.b.op("and", gen.b.load(gen.b.ctx(), gen.arch.regs["cs"], gen.arch.word), 3)
    return gen.b.compare("ne", level, 0)


KADDR = Builtin(
    "kaddr", "(name) -> uint64", "The address of a kernel symbol.", _check_kaddr, _kaddr, files=True
)  # fmt: skip
PERCPU_KADDR = Builtin(
    "percpu_kaddr", "(name [, cpu]) -> uint64", "The address of a CPU's copy of a kernel variable, 0 if there is none.",
    _check_percpu, _percpu, files=True,
)  # fmt: skip
UADDR = Builtin(
    "uaddr", "(name) -> pointer", "The address of a symbol of the probed program or library.",
    _check_uaddr, _uaddr, per_place=True,
)  # fmt: skip
REG = Builtin("reg", "(name) -> uint64", "A register of the machine.", _check_reg, _reg)
USERMODE = Builtin(
    "usermode", "() -> uint8", "1 if the CPU was in user mode, 0 if it was in the kernel.",
    _check_usermode, _usermode, variable=True,
)  # fmt: skip
