"""Stacks and symbols: kstack ustack ksym usym kaddr."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbt.builtins.process import KSYM, USYM
from pbt.bundle import Map
from pbt.feature import Builtin, Call, Checks, Gen, Mem, Presentation, World
from pbt.types import U64, Opaque, Type, is_integral

if TYPE_CHECKING:
    from pbt.ir.core import Value

MODES = ("bpftrace", "perf", "raw")
MAX_FRAMES = 127  # PERF_MAX_STACK_DEPTH, include/uapi/linux/perf_event.h
_BUCKETS = 1 << 16
_F_USER_STACK = 1 << 8  # BPF_F_USER_STACK
_F_FAST_COMPARE = 1 << 9  # BPF_F_FAST_STACK_CMP


def _check_stack(checks: Checks, call: Call) -> Type:
    mode, depth = str(checks.config["stack_mode"]), MAX_FRAMES
    args = list(call.args)
    if args and (named := checks.identifier_or_none(args[0])) is not None:
        if named not in MODES:
            raise checks.error(f"Unknown stack mode '{named}'", call.span, "modes are " + ", ".join(MODES))
        mode = named
        args.pop(0)
    if args:
        depth = checks.literal_int(args.pop(0), f"{call.name}() depth")
        if not 1 <= depth <= MAX_FRAMES:
            raise checks.error(
                f"{call.name}() depth must be between 1 and {MAX_FRAMES} (provided {depth})", call.span
            )
    return Opaque(call.name, 8, 8, f"{mode},{depth}")


def _stack(gen: Gen, call: Call, to: Mem) -> None:
    """Value: s32 id in the stack map, u32 process that it belongs to (0 for kernel stacks)."""
    kind = gen.type(call.node)
    assert isinstance(kind, Opaque)
    depth = int(kind.detail.partition(",")[2])
    name = gen.declare(Map(f"stack_{depth}", "STACK_TRACE", 4, 8 * depth, _BUCKETS))
    user = call.name == "ustack"
    b = gen.b
    b.store(to.base, to.offset, 4, b.call("get_stackid", b.ctx(), b.map(name), _F_USER_STACK if user else 0))
    b.store(to.base, to.offset + 4, 4, b.op("lshr", b.call("get_current_pid_tgid"), 32) if user else 0)


def _frames(world: World, raw: bytes, detail: str, user: bool) -> list[str]:
    mode, _, depth = detail.partition(",")
    stack_id, pid = int.from_bytes(raw[:4], "little", signed=True), int.from_bytes(raw[4:], "little")
    if stack_id < 0:
        return []
    frames = []
    for address in world.stack(f"stack_{depth}", stack_id):
        name = world.user_symbol(address, pid, True) if user else world.kernel_symbol(address, True)
        if mode == "raw":
            frames.append(f"{address:x}")
        elif mode == "perf":
            frames.append(f"\t{address:x} {name}")
        else:
            frames.append(name)
    return frames


def _draw(user: bool) -> Presentation:
    def text(world: World, raw: bytes, detail: str) -> bytes:
        indent = "        " if detail.startswith("bpftrace") else ""
        return ("\n" + "".join(f"{indent}{frame}\n" for frame in _frames(world, raw, detail, user))).encode()

    def json(world: World, raw: bytes, detail: str) -> Any:
        return "\n".join(["", *_frames(world, raw, detail, user), ""])

    return Presentation("ustack" if user else "kstack", text, json)


def _check_symbol(checks: Checks, call: Call) -> Type:
    if not is_integral(call.types[0]):
        raise checks.error(f"{call.name}() expects an address ({call.types[0]} provided)", call.span)
    return KSYM if call.name == "ksym" else USYM


def _ksym(gen: Gen, call: Call, to: Mem) -> None:
    gen.b.store(to.base, to.offset, 8, gen.value(call.args[0]))


def _usym(gen: Gen, call: Call, to: Mem) -> None:
    gen.b.store(to.base, to.offset, 8, gen.value(call.args[0]))
    gen.b.store(to.base, to.offset + 8, 8, gen.b.op("lshr", gen.b.call("get_current_pid_tgid"), 32))


def _draw_ksym(world: World, raw: bytes, detail: str) -> bytes:
    return world.kernel_symbol(int.from_bytes(raw, "little")).encode()


def _draw_usym(world: World, raw: bytes, detail: str) -> bytes:
    return world.user_symbol(int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little")).encode()


def _check_kaddr(checks: Checks, call: Call) -> Type:
    name = checks.literal_str(call.args[0], "kaddr() symbol")
    address = checks.target.kallsyms.address(name)
    if not address:
        raise checks.error(
            f"Failed to resolve kernel symbol: {name}",
            call.span,
            "it must stand in /proc/kallsyms, with addresses readable (kernel.kptr_restrict)",
        )
    checks.keep(call.node, address)
    return U64


def _kaddr(gen: Gen, call: Call) -> Value:
    return gen.b.const(gen.kept(call.node))


KSTACK = Builtin(
    "kstack", "([mode] [, depth]) -> kstack_t", "The kernel stack.",
    _check_stack, into=_stack, variable=True, words=MODES,
)  # fmt: skip
USTACK = Builtin(
    "ustack", "([mode] [, depth]) -> ustack_t", "The user stack.",
    _check_stack, into=_stack, variable=True, words=MODES,
)  # fmt: skip
KSYM_OF = Builtin(
    "ksym", "(address) -> ksym_t", "The kernel symbol at an address.", _check_symbol, into=_ksym
)
USYM_OF = Builtin("usym", "(address) -> usym_t", "The user symbol at an address.", _check_symbol, into=_usym)
KADDR = Builtin("kaddr", "(name) -> uint64", "The address of a kernel symbol.", _check_kaddr, _kaddr)
DRAW_KSTACK, DRAW_USTACK = _draw(False), _draw(True)
DRAW_KSYM = Presentation(
    "ksym", _draw_ksym, lambda world, raw, detail: _draw_ksym(world, raw, detail).decode()
)
DRAW_USYM = Presentation(
    "usym", _draw_usym, lambda world, raw, detail: _draw_usym(world, raw, detail).decode()
)
