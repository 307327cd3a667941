"""Messages beside the script's output: errorf warnf debugf assert static_assert fail."""

from __future__ import annotations

from collections.abc import Sequence

from pbt import printf
from pbt.builtins.output import check_format, emit_format
from pbt.bundle import Event
from pbt.feature import Builtin, Call
from pbt.types import VOID, Str, Type, is_integral
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.ir.core import Value
    from pbt.views import Checks, Gen, World

MOST_TRACED = 3  # values that bpf_trace_printk takes after its format


def _act_errorf(world: World, event: Event, values: Sequence[Any]) -> None:
    world.report("errorf", event, world.format(event, values))


def _act_warnf(world: World, event: Event, values: Sequence[Any]) -> None:
    world.report("warnf", event, world.format(event, values))


# --- the kernel's own trace -------------------------------------------------------------------


def _check_debugf(checks: Checks, call: Call) -> Type:
    check_format(checks, call)
    checks.warn(
        "The debugf() builtin is not recommended for production use",
        call.span,
        "all of the machine share one trace, and writing there is slow; see bpf_trace_printk in bpf-helpers(7)",
        once=True,
    )
    if len(call.args) - 1 > MOST_TRACED:
        raise checks.error(
            f"debugf() takes at most {MOST_TRACED} values ({len(call.args) - 1} provided)",
            call.span,
            "printf() takes more",
        )
    text = ""
    for literal, conversion in printf.pieces(checks.literal_str(call.args[0], "debugf() format")):
        text += literal.replace("%", "%%") + (_traced(checks, call, conversion) if conversion else "")
    checks.keep(call.node, text)
    return VOID


def _traced(checks: Checks, call: Call, conversion: str) -> str:
    """A conversion as the kernel's trace knows it: numbers in 64 bits, no flags and no width."""
    letter = conversion[-1]
    if letter in "dux":
        return f"%ll{letter}"
    if letter in "ps":
        return f"%{letter}"
    raise checks.error(
        f"debugf() does not know the conversion %{conversion}", checks.span(call.args[0]), "it knows %d %u %x %p %s"
    )  # fmt: skip


def _debugf(gen: Gen, call: Call) -> None:
    text = gen.kept(call.node).encode(errors="surrogateescape") + b"\0"
    values = [
        _traced_value(gen, node, kind) for node, kind in zip(call.args[1:], call.types[1:], strict=True)
    ]
    room = gen.temp(len(text), "debugf format")
    gen.bytes(room, text)
    gen.b.call("trace_printk", gen.address(room), len(text), *values)


def _traced_value(gen: Gen, node: Any, kind: Type) -> Value:
    if is_integral(kind):
        return gen.value(node)
    room = gen.temp(kind.size, "debugf text")
    gen.into(node, room, kind)
    return gen.address(room)


# --- what must hold ---------------------------------------------------------------------------


def _check_assert(checks: Checks, call: Call) -> Type:
    if not is_integral(call.types[0]):
        raise checks.error(
            f"assert() expects a condition ({call.types[0]} provided)", checks.span(call.args[0])
        )
    checks.keep(call.node, checks.literal_str(call.args[1], "assert() message"))
    return VOID


def _assert(gen: Gen, call: Call) -> None:
    with gen.b.when("eq", gen.value(call.args[0]), 0):
        with gen.event("assert", (), gen.kept(call.node)):
            pass
        gen.leave()


def _act_assert(world: World, event: Event, values: Sequence[Any]) -> None:
    world.report("errorf", event, event.text.encode(errors="surrogateescape"))
    world.exit(1)


def _check_static_assert(checks: Checks, call: Call) -> Type:
    message = checks.literal_str(call.args[1], "static_assert() message")
    if not checks.literal_int(call.args[0], "static_assert() condition", truths=True):
        raise checks.error(message, call.span)
    return VOID


def _check_fail(checks: Checks, call: Call) -> Type:
    """Always an error: the format with its literal values."""
    check_format(checks, call)
    values: list[int | bytes] = []
    for node, kind in zip(call.args[1:], call.types[1:], strict=True):
        if isinstance(kind, Str):
            values.append(checks.literal_str(node, "fail() value").encode(errors="surrogateescape"))
        else:
            values.append(checks.literal_int(node, "fail() value", truths=True))
    form = printf.Format.parse(checks.literal_str(call.args[0], "fail() format"))
    changes = form.bind(call.types[1:], [bytes] * len(values))
    ready = tuple(v if change is None else change(v) for v, change in zip(values, changes, strict=True))
    raise checks.error((form.template % ready).decode(errors="replace").strip(), call.span)


def _nothing(gen: Gen, call: Call) -> None:
    """Settled while compiling."""


ERRORF = Builtin(
    "errorf", "(format, ...) -> void", "Print formatted text to standard error, with the place of the call.",
    check_format, effect=emit_format, act=_act_errorf,
)  # fmt: skip
WARNF = Builtin(
    "warnf", "(format, ...) -> void", "The same as a warning, which --no-warnings hides.",
    check_format, effect=emit_format, act=_act_warnf,
)  # fmt: skip
DEBUGF = Builtin(
    "debugf", "(format, ...) -> void", "Print into the kernel's trace (trace_pipe of tracefs); at most 3 values.",
    _check_debugf, effect=_debugf,
)  # fmt: skip
ASSERT = Builtin(
    "assert", "(condition, message) -> void",
    "End the script with status 1 and the message unless the condition holds.",
    _check_assert, effect=_assert, act=_act_assert,
)  # fmt: skip
STATIC_ASSERT = Builtin(
    "static_assert", "(condition, message) -> void", "An error unless the condition, known beforehand, holds.",
    _check_static_assert, effect=_nothing, raw_args=True,
)  # fmt: skip
FAIL = Builtin(
    "fail", "(format, ...) -> void", "An error with this text, whenever the script is compiled.",
    _check_fail, effect=_nothing,
)  # fmt: skip
