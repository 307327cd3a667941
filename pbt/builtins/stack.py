"""Stacks and symbols: kstack ustack ksym usym."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from pbt.builtins import stackmaps
from pbt.builtins.process import KSYM, USYM, remember
from pbt.builtins.stackmaps import BUILD_ID
from pbt.bundle import Event
from pbt.feature import Builtin, Call, Mem, Presentation
from pbt.types import Opaque, Type, is_integral
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.views import Checks, Gen, World

MODES = ("bpftrace", "perf", "raw", "build_id")
MAX_FRAMES = 127  # PERF_MAX_STACK_DEPTH, include/uapi/linux/perf_event.h
_VALID = 1  # BPF_STACK_BUILD_ID_VALID; otherwise the offset is the address


def _check_stack(checks: Checks, call: Call) -> Type:
    mode, depth = "", MAX_FRAMES
    args = list(call.args)
    if args and (named := checks.identifier_or_none(args[0])) is not None:
        if named not in MODES:
            raise checks.error(
                f"Unknown stack mode '{named}'", checks.span(args[0]), "modes are " + ", ".join(MODES)
            )
        mode = named
        args.pop(0)
    mode = mode or _default_mode(checks, call)
    if mode == "build_id" and call.name == "kstack":
        raise checks.error("build_id is a mode of ustack only", call.span, "the kernel's code has no files")
    if args:
        depth = checks.literal_int(args.pop(0), f"{call.name}() depth")
        if depth < 0:
            raise checks.error(f"{call.name}() depth must not be negative (provided {depth})", call.span)
        if depth > MAX_FRAMES:
            checks.warn(f"{call.name}() has at most {MAX_FRAMES} frames ({depth} asked for)", call.span)
            depth = MAX_FRAMES
    if args:
        raise checks.error(f"{call.name}() takes the mode first, then the depth", call.span)
    return Opaque(call.name, 8, 8, f"{mode},{depth}")


def _default_mode(checks: Checks, call: Call) -> str:
    """That of config stack_mode; the addresses alone where kernel stacks cannot have it."""
    mode = str(checks.config["stack_mode"])
    if mode != "build_id" or call.name != "kstack":
        return mode
    checks.warn("kstack has no mode build_id: it shows addresses, as in mode raw", call.span)
    return "raw"


def _check_dwarf(checks: Checks, call: Call) -> Type:
    raise checks.error(
        "dw_ustack() is not there: pbt does not unwind stacks by DWARF tables",
        call.span,
        "ustack() follows frame pointers, which programs have when built with -fno-omit-frame-pointer",
    )


def depth_of(kind: Type) -> int | None:
    """How many frames a stack has at most; None for other types."""
    if not isinstance(kind, Opaque) or kind.name not in ("kstack", "ustack"):
        return None
    return int(kind.detail.partition(",")[2])


def _stack(gen: Gen, call: Call, to: Mem) -> None:
    kind = gen.type(call.node)
    assert isinstance(kind, Opaque)
    if not depth_of(kind):  # no frame is asked for, so none is kept
        gen.b.store(to.base, to.offset, 8, 0)
        return
    stackmaps.keep(gen, stackmaps.Form.of(kind.detail, call.name == "ustack"), to)


def _act_remember(world: World, event: Event, values: Sequence[Any]) -> None:
    world.remember(values[0])


def _frames(world: World, raw: bytes, detail: str, user: bool) -> list[str]:
    mode, _, depth = detail.partition(",")
    if depth == "0":
        return []
    pid, data = world.stack(stackmaps.Form.of(detail, user).name, raw)
    if mode == "build_id":
        entries = (data[at : at + BUILD_ID] for at in range(0, len(data), BUILD_ID))
        return [_file_offset(entry) for entry in entries if any(entry[:4])]
    data = data.rstrip(b"\0")  # most of it is room for more frames
    addresses = list(filter(None, memoryview(data + bytes(-len(data) % 8)).cast("Q").tolist()))
    if mode == "raw":
        return [f"{address:x}" for address in addresses]
    if user:
        return [
            frame
            for n, address in enumerate(addresses)
            for frame in _user_frames(world, address, pid, n > 0, mode)
        ]
    if mode == "perf":
        return [
            _perf_frame(address, world.kernel_symbol(address, True), world.kernel_module(address))
            for address in addresses
        ]
    return world.kernel_frames(addresses)


def _user_frames(world: World, address: int, pid: int, returning: bool, mode: str) -> Iterator[str]:
    """The function at an address, after those that were inlined there, where debugging information is shown."""
    for text, inlined in world.user_frames(address, pid, returning, lines=mode != "perf"):
        if mode != "perf":
            yield f"[inlined] {text}" if inlined else text
        else:
            yield _perf_frame(address, text, "inlined" if inlined else world.user_module(address, pid))


def _perf_frame(address: int, name: str, module: str) -> str:
    """Address, symbol, and the file or kernel module that it is in."""
    return f"\t{address:x} {name}" + (f" ({module})" if module else "")


def _file_offset(entry: bytes) -> str:
    """A struct bpf_stack_build_id: build id and offset in the file, or the address alone."""
    status, offset = int.from_bytes(entry[:4], sys.byteorder), int.from_bytes(entry[24:], sys.byteorder)
    return f"{entry[4:24].hex()} {offset:#x}" if status == _VALID else f"{offset:x}"


def _draw(user: bool) -> Presentation:
    def text(world: World, raw: bytes, detail: str) -> bytes:
        indent = "        " if detail.startswith("bpftrace") else ""
        return (
            f"\n{indent}".join(["", *_frames(world, raw, detail, user)]).encode(errors="surrogateescape")
            + b"\n"
        )

    def key(world: World, raw: bytes, detail: str) -> bytes:
        return "\n".join(["", *_frames(world, raw, detail, user), ""]).encode(errors="surrogateescape")

    name, spelled = ("ustack", "ustack_t") if user else ("kstack", "kstack_t")
    return Presentation(name, text, key=key, spelled=spelled)


def _check_symbol(checks: Checks, call: Call) -> Type:
    if not is_integral(call.types[0]):
        raise checks.error(f"{call.name}() expects an address ({call.types[0]} provided)", call.span)
    return KSYM if call.name == "ksym" else USYM


def _ksym(gen: Gen, call: Call, to: Mem) -> None:
    gen.b.store(to.base, to.offset, 8, gen.value(call.args[0]))


def _usym(gen: Gen, call: Call, to: Mem) -> None:
    gen.b.store(to.base, to.offset, 8, gen.value(call.args[0]))
    gen.b.store(to.base, to.offset + 8, 8, remember(gen))


def _draw_ksym(world: World, raw: bytes, detail: str) -> bytes:
    return world.kernel_symbol(int.from_bytes(raw, "little")).encode(errors="surrogateescape")


def _draw_usym(world: World, raw: bytes, detail: str) -> bytes:
    return world.user_symbol(int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little")).encode(
        errors="surrogateescape"
    )


KSTACK = Builtin(
    "kstack", "([mode] [, depth]) -> kstack_t", "The kernel stack.",
    _check_stack, into=_stack, variable=True, words=MODES,
)  # fmt: skip
USTACK = Builtin(
    "ustack", "([mode] [, depth]) -> ustack_t", "The user stack.",
    _check_stack, into=_stack, act=_act_remember, variable=True, words=MODES,
)  # fmt: skip
DW_USTACK = Builtin(
    "dw_ustack", "(...) -> ustack_t", "Not there: see ustack.",
    _check_dwarf, into=_stack, variable=True, raw_args=True,
)  # fmt: skip
KSYM_OF = Builtin(
    "ksym", "(address) -> ksym_t", "The kernel symbol at an address.", _check_symbol, into=_ksym
)
USYM_OF = Builtin("usym", "(address) -> usym_t", "The user symbol at an address.", _check_symbol, into=_usym)
DRAW_KSTACK, DRAW_USTACK = _draw(False), _draw(True)
DRAW_KSYM = Presentation(
    "ksym", _draw_ksym, lambda world, raw, detail: _draw_ksym(world, raw, detail).decode(), spelled="ksym_t"
)
DRAW_USYM = Presentation(
    "usym", _draw_usym, lambda world, raw, detail: _draw_usym(world, raw, detail).decode(),
    spelled="usym_t", size=16,
)  # fmt: skip
