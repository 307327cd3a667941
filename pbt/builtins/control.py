"""Flow of the whole script: exit clear zero delete has_key find len signal signal_thread override unwatch."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.bundle import Event
from pbt.feature import Builtin, Call
from pbt.source import did_you_mean
from pbt.types import BOOL, I64, U64, VOID, Str, Type, is_integral
from pbt.typing import TYPE_CHECKING, Any
from pbt.uapi.consts import BPF_F_USER_STACK

if TYPE_CHECKING:
    from pbt.ir.core import Value
    from pbt.views import Checks, Gen, World


def _check_exit(checks: Checks, call: Call) -> Type:
    if call.args and not is_integral(call.types[0]):
        raise checks.error(f"exit() expects an integer ({call.types[0]} provided)", checks.span(call.args[0]))
    return VOID


def _exit(gen: Gen, call: Call) -> None:
    with gen.event("exit", [("code", I64)]) as (code,):
        gen.b.store(code.base, code.offset, 8, gen.value(call.args[0]) if call.args else 0)
        gen.final()
    gen.leave()


def _act_exit(world: World, event: Event, values: Sequence[Any]) -> None:
    world.exit(values[0])


def _check_whole_map(checks: Checks, call: Call) -> Type:
    name = checks.whole_map(call.args[0])
    if name is None:
        raise checks.error(
            f"{call.name}() expects a map argument",
            checks.span(call.args[0]),
            f"write {call.name}(@name)",
        )
    checks.loses_keys(call.args[0])
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
    checks.loses_keys(call.args[0])
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


def _check_find(checks: Checks, call: Call) -> Type:
    if checks.whole_map(call.args[0]) is None:
        raise checks.error(
            "find() expects a map argument", checks.span(call.args[0]), "find(@map, key, $value)"
        )
    checks.map_element(call.node, call.args[:2], keyed=True)
    if checks.aggregation(call.args[0]):
        raise checks.error(
            "find() works for maps of plain values", call.span, "use has_key(), then read the element"
        )
    checks.set_variable(call.args[2], checks.map_value(call.args[0]))
    return BOOL


def _find(gen: Gen, call: Call) -> Value:
    return gen.find(call.node, call.args[2])


def _check_len(checks: Checks, call: Call) -> Type:
    """len(@m) keeps the map's name, len(kstack) and len(ustack) nothing."""
    name, node = checks.whole_map(call.args[0]), call.args[0]
    if name is not None:
        if not checks.has_keys(node):
            raise checks.error(f"len() expects a map with keys, which {name} has not", checks.span(node))
        if checks.aggregation(node) in ("hist", "lhist", "tseries"):
            raise checks.error(
                f"len() cannot count the keys of {name}, which has several elements for each", call.span
            )
        if not checks.target.has("for_each_map_elem"):
            raise checks.error("this kernel cannot go through a map", call.span, "it came with Linux 5.13")
        checks.keep(call.node, name)
        return U64
    from pbt.builtins.stack import depth_of  # late: exit() is here too

    kind = checks.type_of(node)
    if depth_of(kind) is None:
        raise checks.error(f"len() expects a map or a stack ({kind} provided)", checks.span(node))
    if getattr(node, "name", "") not in ("kstack", "ustack"):
        raise checks.error(
            "len() counts the frames of a stack only where it is taken", call.span, "len(kstack)"
        )
    return U64


def _len(gen: Gen, call: Call) -> Value:
    name, b = gen.kept(call.node), gen.b
    if name is not None:
        return gen.count(name)
    from pbt.builtins.stack import depth_of

    kind = gen.type(call.args[0])
    depth = depth_of(kind)
    if not depth:
        return gen.b.const(0)
    room = gen.scratch(8 * depth, "stack")
    flags = BPF_F_USER_STACK if str(kind) == "ustack_t" else 0
    size = b.call("get_stack", b.ctx(), gen.address(room), 8 * depth, flags)
    return b.choose("slt", size, 0, lambda: 0, lambda: b.op("lshr", size, 3))


def _check_signal(checks: Checks, call: Call) -> Type:
    if isinstance(call.types[0], Str):
        import signal

        name = checks.literal_str(call.args[0], "signal() name").upper().removeprefix("SIG")
        number = getattr(signal, f"SIG{name}", None)
        if number is None:
            known = [s.name.removeprefix("SIG") for s in signal.Signals]
            hint = did_you_mean(name, known)
            raise checks.error(f"Invalid string for signal: {name}", checks.span(call.args[0]), hint)
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
    helper = "send_signal" if call.name == "signal" else "send_signal_thread"
    gen.watch(helper, gen.b.call(helper, gen.value(call.args[0]) if number is None else number))


def _check_unwatch(checks: Checks, call: Call) -> Type:
    if not is_integral(call.types[0]):
        raise checks.error(
            f"unwatch() expects an address ({call.types[0]} provided)", checks.span(call.args[0])
        )
    return VOID


def _unwatch(gen: Gen, call: Call) -> None:
    with gen.event("unwatch", [("address", U64)]) as (address,):
        gen.b.store(address.base, address.offset, 8, gen.value(call.args[0]))


def _act_unwatch(world: World, event: Event, values: Sequence[Any]) -> None:
    world.detach(lambda program: program.provider == "watchpoint" and program.place["address"] == values[0])


def _check_override(checks: Checks, call: Call) -> Type:
    if call.probe.provider != "kprobe":
        raise checks.error("override() can only be used with kprobe probes", call.span)
    if not is_integral(call.types[0]):
        raise checks.error(
            f"override() expects an integer ({call.types[0]} provided)", checks.span(call.args[0])
        )
    return VOID


def _override(gen: Gen, call: Call) -> None:
    gen.b.call("override_return", gen.b.ctx(), gen.value(call.args[0]))


EXIT = Builtin(
    "exit", "([code]) -> void", "End the script; END still runs and maps are printed.",
    _check_exit, effect=_exit, act=_act_exit, final=True,
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
    _check_delete, _delete, act=_act_clear, raw_args=True, acts=True,
)  # fmt: skip
HAS_KEY = Builtin(
    "has_key", "(@map, key) -> bool", "Whether the map has the key.", _check_has_key, _has_key, raw_args=True
)
SIGNAL = Builtin(
    "signal", "(number or name) -> void", "Send a signal to the current process.",
    _check_signal, effect=_signal, unsafe=True,
)  # fmt: skip
SIGNAL_THREAD = Builtin(
    "signal_thread", "(number or name) -> void", "Send a signal to the current thread.",
    _check_signal, effect=_signal, unsafe=True,
)  # fmt: skip
FIND = Builtin(
    "find", "(@map, key, $variable) -> bool", "Whether the map has the key; the variable then gets the value.",
    _check_find, _find, raw_args=True, acts=True,
)  # fmt: skip
LEN = Builtin(
    "len",
    "(@map or stack) -> uint64",
    "How many keys a map has, or frames a stack.",
    _check_len,
    _len,
    raw_args=True,
)
OVERRIDE = Builtin(
    "override", "(value) -> void", "Have the probed function not run but return the value, where the kernel allows it.",
    _check_override, effect=_override, unsafe=True,
)  # fmt: skip
UNWATCH = Builtin(
    "unwatch", "(address) -> void", "Take back the watchpoints for an address.",
    _check_unwatch, effect=_unwatch, act=_act_unwatch,
)  # fmt: skip
