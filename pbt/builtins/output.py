"""What the script says: printf print join cat, and the maps it clears."""

from __future__ import annotations

from collections.abc import Sequence

from pbt import printf
from pbt.bundle import Event
from pbt.feature import Builtin, Call, Mem
from pbt.types import U64, VOID, Buffer, Pointer, Str, Type, Void, is_integral
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.ir.core import Value
    from pbt.views import Checks, Gen, World

ONLY_PRINTED = ("hist", "lhist", "stats", "tseries")  # aggregations whose elements are no numbers
JOIN_COUNT = 16
JOIN_SIZE = 1024


def check_format(checks: Checks, call: Call) -> Type:
    """The literal format and its arguments agree in number and kind."""
    text = checks.literal_str(call.args[0], f"{call.name}() format")
    wanted, odd = printf.conversions(text), printf.stray(text)
    given = len(call.args) - 1
    if odd is not None and given != len(wanted):
        raise checks.error(f"{call.name}: {odd}", checks.span(call.args[0]), odd.hint)
    if odd is not None:
        checks.warn(f"{call.name}: {odd}", checks.span(call.args[0]), "write %% for a percent sign")
    if given != len(wanted):
        less = "not enough" if given < len(wanted) else "too many"
        raise checks.error(
            f"{less} arguments for format string ({given} supplied, {len(wanted)} expected)",
            call.span,
        )
    for node, kind, conversion in zip(call.args[1:], call.types[1:], wanted, strict=True):
        _check_conversion(checks, call.name, node, kind, conversion)
    checks.keep(call.node, text)
    return VOID


def _check_printf(checks: Checks, call: Call) -> Type:
    kind = check_format(checks, call)
    if call.probe.sequence is not None:
        from pbt.builtins import sequence

        try:
            sequence.plan(checks.literal_str(call.args[0], "printf() format"), call.types[1:])
        except printf.FormatError as error:
            raise checks.error(f"printf: {error}", checks.span(call.args[0]), error.hint) from error
    return kind


def _printf(gen: Gen, call: Call) -> None:
    if gen.probe.sequence is None:
        emit_format(gen, call)
    else:
        from pbt.builtins import sequence

        sequence.write(gen, call)


def _check_conversion(checks: Checks, name: str, node: Any, kind: Type, conversion: str) -> None:
    letter = conversion[-1]
    fits = is_integral(kind)
    wants = "integer"
    if letter == "s":
        fits, wants = not isinstance(kind, Void), "string"
    elif conversion in ("r", "rx", "rh"):
        fits, wants = isinstance(kind, Buffer), "buffer; buf(...) makes one"
    if not fits:
        raise checks.error(
            f"unsupported format specifier for type '{kind}': {conversion}",
            checks.span(node),
            f"{name}: %{conversion} is for values of type {wants}",
        )


def emit_format(gen: Gen, call: Call) -> None:
    fields = [(f"arg{i}", kind) for i, kind in enumerate(call.types[1:])]
    with gen.event(call.name, fields, gen.kept(call.node)) as places:
        for node, place, (_, kind) in zip(call.args[1:], places, fields, strict=True):
            gen.into(node, place, kind, pad=False)


def _act_printf(world: World, event: Event, values: Sequence[Any]) -> None:
    text = world.format(event, values)
    world.emit("printf", text, text)


def _act_cat(world: World, event: Event, values: Sequence[Any]) -> None:
    path = _c_string(world.format(event, values))
    try:
        with open(path, "rb") as file:
            text = file.read(int(world.config["max_cat_bytes"]))
    except OSError as error:
        world.warn(f"cat(): failed to open file '{path.decode(errors='replace')}': {error.strerror}")
        return
    world.emit("cat", text, text)


def _act_system(world: World, event: Event, values: Sequence[Any]) -> None:
    import subprocess

    world.flush()
    command = _c_string(world.format(event, values))
    done = subprocess.run(["/bin/sh", "-c", command], stdout=subprocess.PIPE, check=False)
    text = done.stdout + b"\n" if done.stdout and not done.stdout.endswith(b"\n") else done.stdout
    world.emit("syscall", text, done.stdout)
    if done.returncode > 0:
        world.warn(f"system(): command exited with code {done.returncode}")
    elif done.returncode < 0:
        world.warn(f"system(): child process did not exit normally: signal {-done.returncode}")


def _c_string(text: bytes) -> bytes:
    """What the system takes of a text that may hold NUL characters, such as those of `%c`."""
    return text.partition(b"\0")[0]


def _check_print(checks: Checks, call: Call) -> Type:
    name = checks.whole_map(call.args[0])
    if name is None and checks.aggregation(call.args[0]) in ONLY_PRINTED and len(call.args) == 1:
        checks.map_element(call.node, call.args, keyed=True)
        return VOID
    if name is None:
        if len(call.args) > 1:
            raise checks.error("print() takes top and div only for a whole map", checks.span(call.args[1]))
        kind = checks.whole(call.args[0])
        if isinstance(kind, Void):
            raise checks.error("print() cannot print a value of type void", checks.span(call.args[0]))
        return VOID
    numbers = [
        checks.literal_int(node, f"print() {what}")
        for node, what in zip(call.args[1:], ("top", "div"), strict=False)
    ]
    checks.keep(call.node, (name, *numbers))
    if checks.looping:
        checks.warn(
            f"print({name}) in a loop: the map is shown as it is when its record is read, not as it is now",
            call.span,
            f"print({name}[key]) shows a value of now",
        )
    return VOID


def _print(gen: Gen, call: Call) -> None:
    kept = gen.kept(call.node)
    if kept is not None and len(kept) == 2 and isinstance(kept[1], tuple):
        _print_element(gen, call, kept[0])
        return
    if kept is not None:
        with gen.event("print", (), args=kept):
            return
    kind = gen.type(call.args[0])
    with gen.event("print", [("value", kind)]) as (place,):
        gen.into(call.args[0], place, kind, pad=False)


def _print_element(gen: Gen, call: Call, name: str) -> None:
    """The key alone: the reader looks the element up."""
    parts = gen.key(call.node)
    with gen.event("print", [(f"key{i}", kind) for i, (_, kind) in enumerate(parts)], args=(name,)) as places:
        for (node, kind), place in zip(parts, places, strict=True):
            gen.into(node, place, kind)


def _act_print(world: World, event: Event, values: Sequence[Any]) -> None:
    if event.args and values:
        world.print_element(event.args[0], tuple(values))
        return
    if event.args:
        world.print_map(*event.args)
        return
    kind = event.record.fields[2].type
    world.emit("value", world.text(kind, values[0]) + b"\n", world.json(kind, values[0]))


def _check_join(checks: Checks, call: Call) -> Type:
    kind = call.types[0]
    if not is_integral(kind):
        raise checks.error(
            f"join() expects a pointer to pointers ({kind} provided)", checks.span(call.args[0])
        )
    checks.keep(
        call.node, checks.literal_str(call.args[1], "join() separator") if len(call.args) > 1 else " "
    )
    return VOID


def _join(gen: Gen, call: Call) -> None:
    """Pointers until NULL, at most 16, each text cut at 1024 bytes; the count says how many are there."""
    b, kind = gen.b, call.types[0]
    space = gen.space(kind.target if isinstance(kind, Pointer) and isinstance(kind.target, Pointer) else kind)
    pointers = gen.value(call.args[0])
    words: list[tuple[str, Type]] = [(f"word{i}", Str(JOIN_SIZE)) for i in range(JOIN_COUNT)]
    with gen.event("join", [("count", U64), *words], gen.kept(call.node)) as (count, first, *_):
        b.store(count.base, count.offset, 8, 0)
        room = gen.temp(24, "join")  # the record, the pointers, one of them
        b.store(room.base, room.offset, 8, count.base)
        b.store(room.base, room.offset + 8, 8, pointers)

        def turn(at: Mem) -> Value:
            b = gen.b
            record = b.load_pointer(at.base, at.offset, count.base.kind)
            # out of the record, of which the verifier knows no byte: to it, all turns are alike
            number = b.op("and", b.load(record, count.offset, 8), JOIN_COUNT - 1)
            address = b.add(b.load(at.base, at.offset + 8, 8), b.op("mul", number, 8))
            gen.read(at + 16, 8, address, gen.space(kind))
            pointer = b.load(at.base, at.offset + 16, 8)

            def word() -> int:
                to = b.add(record, b.op("mul", number, JOIN_SIZE))
                gen.read_str(Mem(to, first.offset), JOIN_SIZE, pointer, space)
                b.store(record, count.offset, 8, b.add(number, 1))
                return 0

            return b.choose("ne", pointer, 0, word, lambda: 1)

        gen.loop(JOIN_COUNT, room, turn)


def _act_join(world: World, event: Event, values: Sequence[Any]) -> None:
    count, *words = values
    text = event.text.encode(errors="surrogateescape").join(words[:count])
    world.emit("join", text + b"\n", text)


PRINTF = Builtin(
    "printf",
    "(format, ...) -> void",
    "Print formatted text.",
    _check_printf,
    effect=_printf,
    act=_act_printf,
)
PRINT = Builtin(
    "print", "(value or @map [, top [, div]]) -> void", "Print a value, or a map as it is when the record is read.",
    _check_print, effect=_print, act=_act_print, raw_args=True,
)  # fmt: skip
JOIN = Builtin(
    "join", "(char *words[] [, separator]) -> void", "Print an array of strings, such as argv, on one line.",
    _check_join, effect=_join, act=_act_join,
)  # fmt: skip
CAT = Builtin("cat", "(format, ...) -> void", "Print a file.", check_format, effect=emit_format, act=_act_cat)
SYSTEM = Builtin(
    "system", "(format, ...) -> void", "Run a shell command.",
    check_format, effect=emit_format, act=_act_system, unsafe=True,
)  # fmt: skip
