"""Clocks and calendar: nsecs elapsed time strftime."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pbt.builtins.process import always
from pbt.bundle import Event
from pbt.feature import Builtin, Call, Mem, Presentation
from pbt.types import U64, VOID, Opaque, Type, is_integral
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.ir.core import Value
    from pbt.views import Checks, Gen, World

CLOCKS = ("boot", "monotonic", "tai", "sw_tai")
DEFAULT_TIME = "%H:%M:%S\n"


def boot_ns(gen: Gen) -> Value:
    """The boot clock; before v5.8 only the monotonic one, which stands still in suspend."""
    return gen.b.call("ktime_get_boot_ns" if gen.has("ktime_get_boot_ns") else "ktime_get_ns")


def _check_nsecs(checks: Checks, call: Call) -> Type:
    if call.args:
        mode = checks.identifier(call.args[0], "nsecs() mode")
        if mode not in CLOCKS:
            raise checks.error(
                f"Invalid timestamp mode: {mode}",
                checks.span(call.args[0]),
                "nsecs() knows boot, monotonic, tai and sw_tai",
            )
        if mode == "tai" and not checks.target.has("ktime_get_tai_ns"):
            raise checks.error(
                "Kernel does not support tai timestamp, please try sw_tai",
                call.span,
                "it came with Linux 6.1",
            )
        checks.keep(call.node, mode)
    return U64


def _nsecs(gen: Gen, call: Call) -> Value:
    mode = gen.kept(call.node)
    if mode == "monotonic":
        return gen.b.call("ktime_get_ns")
    if mode == "tai":
        return gen.b.call("ktime_get_tai_ns")
    if mode == "sw_tai":
        return gen.b.add(boot_ns(gen), gen.start("tai_offset"))
    return boot_ns(gen)


def _elapsed(gen: Gen, call: Call) -> Value:
    return gen.b.sub(boot_ns(gen), gen.start("boot_ns"))


def _check_time(checks: Checks, call: Call) -> Type:
    text = checks.literal_str(call.args[0], "time() format") if call.args else DEFAULT_TIME
    checks.keep(call.node, text)
    return VOID


def _time(gen: Gen, call: Call) -> None:
    with gen.event("time", (), gen.kept(call.node)):
        pass


def _act_time(world: World, event: Event, values: Sequence[Any]) -> None:
    import time

    text = time.strftime(event.text)
    world.emit("time", text.encode(errors="surrogateescape"), text)


def _check_strftime(checks: Checks, call: Call) -> Type:
    text, node = checks.literal_str(call.args[0], "strftime() format"), call.args[1]
    if not is_integral(call.types[1]):
        raise checks.error(f"strftime() expects a time in ns ({call.types[1]} provided)", checks.span(node))
    if (checks.known_int(node) or 0) < 0:
        raise checks.error("strftime() cannot take a negative time", checks.span(node))
    name, kept = checks.call_of(node)
    clock = kept if name == "nsecs" else None
    if clock == "monotonic":
        raise checks.error(
            "strftime() can not take a monotonic timestamp",
            checks.span(node),
            "it knows nsecs, nsecs(tai) and nsecs(sw_tai)",
        )
    return Opaque("timestamp", 8, 8, f"{'tai' if clock in ('tai', 'sw_tai') else 'boot'} {text}")


def _strftime(gen: Gen, call: Call, to: Mem) -> None:
    gen.b.store(to.base, to.offset, 8, gen.value(call.args[1]))


def _draw_timestamp(world: World, raw: bytes, detail: str) -> bytes:
    import time

    clock, _, text = detail.partition(" ")
    offset = world.now_offset if clock == "boot" else world.tai_offset
    seconds, rest = divmod(int.from_bytes(raw, sys.byteorder) + offset, 1_000_000_000)
    for conversion, digits in (
        ("%f", f"{rest // 1000:06d}"),
        ("%k", f"{rest:09d}"),
        ("%l", f"{rest // 1_000_000:03d}"),
    ):
        text = text.replace(conversion, digits)
    return time.strftime(text, time.localtime(seconds)).encode(errors="surrogateescape")


NSECS = Builtin(
    "nsecs", "([mode]) -> uint64", "Nanoseconds since boot (mode: boot, monotonic, tai, sw_tai).",
    _check_nsecs, _nsecs, variable=True, words=CLOCKS,
)  # fmt: skip
ELAPSED = Builtin(
    "elapsed", "() -> uint64", "Nanoseconds since the script started.", always(U64), _elapsed, variable=True
)
TIME = Builtin(
    "time", "([format]) -> void", "Print the wall clock, by default as %H:%M:%S and a newline.",
    _check_time, effect=_time, act=_act_time,
)  # fmt: skip
STRFTIME = Builtin(
    "strftime", "(format, nsecs) -> timestamp_t", "A time of the boot clock as calendar text.",
    _check_strftime, into=_strftime,
)  # fmt: skip
DRAW_TIMESTAMP = Presentation(
    "timestamp", _draw_timestamp, lambda world, raw, detail: _draw_timestamp(world, raw, detail).decode(),
    spelled="timestamp",
)  # fmt: skip
