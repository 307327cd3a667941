"""Flow of the whole script: exit clear zero delete has_key len signal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pbt.bundle import Event
from pbt.feature import Builtin, Call, Checks, Gen, World
from pbt.types import BOOL, I64, VOID, Str, Type, is_integral

if TYPE_CHECKING:
    from pbt.ir.core import Value


def _check_exit(checks: Checks, call: Call) -> Type:
    if call.args and not is_integral(call.types[0]):
        raise checks.error(f"exit() expects an integer ({call.types[0]} provided)", checks.span(call.args[0]))
    return VOID


def _exit(gen: Gen, call: Call) -> None:
    with gen.event("exit", [("code", I64)]) as (code,):
        gen.b.store(code.base, code.offset, 8, gen.value(call.args[0]) if call.args else 0)
    gen.leave()


def _act_exit(world: World, event: Event, values: Sequence[Any]) -> None:
    world.exit(values[0])


def _check_whole_map(checks: Checks, call: Call) -> Type:
    name = checks.whole_map(call.args[0])
    if name is None:
        raise checks.error(
            f"{call.name}() expects a map to be provided",
            checks.span(call.args[0]),
            f"write {call.name}(@name)",
        )
    checks.keep(call.node, (name,))
    return VOID


def _whole_map(gen: Gen, call: Call) -> None:
    with gen.event(call.name, (), args=gen.kept(call.node)):
        pass


def _act_clear(world: World, event: Event, values: Sequence[Any]) -> None:
    world.map(event.args[0]).clear()


def _act_zero(world: World, event: Event, values: Sequence[Any]) -> None:
    world.map(event.args[0]).zero()


def _check_delete(checks: Checks, call: Call) -> Type:
    """delete(@m), delete(@m[k]) and delete(@m, k)."""
    checks.map_element(call.node, call.args)
    return BOOL


def _delete(gen: Gen, call: Call) -> Value:
    """Per-CPU cells of a map without keys are out of a program's reach: the reader clears them."""
    gone = gen.delete(call.node)
    if gone is not None:
        return gone
    with gen.event("delete", (), args=gen.kept(call.node)[:1]):
        pass
    return gen.b.const(1)


def _check_has_key(checks: Checks, call: Call) -> Type:
    checks.map_element(call.node, call.args, keyed=True)
    return BOOL


def _has_key(gen: Gen, call: Call) -> Value:
    return gen.has_key(call.node)


def _check_signal(checks: Checks, call: Call) -> Type:
    if isinstance(call.types[0], Str):
        import signal

        name = checks.literal_str(call.args[0], "signal() name").upper().removeprefix("SIG")
        number = getattr(signal, f"SIG{name}", None)
        if number is None:
            raise checks.error(f"{name} is not a valid signal", checks.span(call.args[0]))
        checks.keep(call.node, int(number))
    else:
        number = checks.known_int(call.args[0])
        if number is not None and not 1 <= number <= 64:
            raise checks.error(
                f"{number} is not a valid signal, allowed range: [1,64]", checks.span(call.args[0])
            )
    return VOID


def _signal(gen: Gen, call: Call) -> None:
    number = gen.kept(call.node)
    gen.b.call("send_signal", gen.value(call.args[0]) if number is None else number)


EXIT = Builtin(
    "exit", "([code]) -> void", "End the script; END still runs and maps are printed.",
    _check_exit, effect=_exit, act=_act_exit,
)  # fmt: skip
CLEAR = Builtin(
    "clear", "(@map) -> void", "Delete all keys of a map.",
    _check_whole_map, effect=_whole_map, act=_act_clear, raw_args=True,
)  # fmt: skip
ZERO = Builtin(
    "zero", "(@map) -> void", "Set all values of a map to zero.",
    _check_whole_map, effect=_whole_map, act=_act_zero, raw_args=True,
)  # fmt: skip
DELETE = Builtin(
    "delete", "(@map [, key]) -> bool", "Delete one key, or a map without keys; false if there was none.",
    _check_delete, _delete, act=_act_clear, raw_args=True,
)  # fmt: skip
HAS_KEY = Builtin(
    "has_key", "(@map, key) -> bool", "Whether the map has the key.", _check_has_key, _has_key, raw_args=True
)
SIGNAL = Builtin(
    "signal", "(number or name) -> void", "Send a signal to the current process.",
    _check_signal, effect=_signal, unsafe=True,
)  # fmt: skip
