"""What a compiled script relies on of the kernel's structs: fields with their places, for a file to check (see aot.fit)

Without the stages' products there is no telling; with them, each field that a script names is one row.
"""

from __future__ import annotations

from collections.abc import Iterator

from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.lang.ast import Definition
    from pbt.lang.typed import Instance
    from pbt.pipeline import Work
    from pbt.rows import Layout
    from pbt.types import Struct, Type


def layouts(work: Work) -> tuple[Layout, ...]:
    """Fields of the kernel's structs and tracepoints that the script names, as the target has them."""
    assert work.typed is not None
    own = {name for definition in work.typed.script.types for name in _defined(definition)}
    found = {
        row for instance in work.typed.instances for row in _fields(instance, work) if row.struct not in own
    }
    return tuple(sorted(found))


def _defined(definition: Definition) -> Iterator[str]:
    """The struct that a definition in the script makes: it is the same everywhere."""
    from pbt.lang import ast

    if isinstance(definition, ast.StructDef):
        yield f"{definition.kind} {definition.name}"


def _fields(instance: Instance, work: Work) -> Iterator[Layout]:
    from pbt.lang import ast
    from pbt.rows import Layout

    for builtin, _ in instance.calls.values():
        for field in builtin.reads:
            yield from _kernel_field(work, *field)
    for node in instance.types:
        if not isinstance(node, ast.Member):
            continue
        base = _struct(instance.types.get(node.base))
        member = base.find(node.name) if base is not None else None
        if base is not None and member is not None:
            for name in _names(base, instance):
                yield Layout(name, node.name, member.offset, member.type.size)


def _kernel_field(work: Work, struct: str, field: str) -> Iterator[Layout]:
    from pbt.rows import Layout

    found = work.target.types.struct(struct) if work.target.types is not None else None
    member = found.find(field) if found is not None else None
    if member is not None:
        yield Layout(struct, field, member.offset, member.type.size)


def _struct(type_: Type | None) -> Struct | None:
    from pbt.types import Pointer, Struct

    inner = type_.target if isinstance(type_, Pointer) else type_
    return inner if isinstance(inner, Struct) else None


def _names(base: Struct, instance: Instance) -> Iterator[str]:
    """How to find a struct again: its name in C, or the tracepoints whose record it is."""
    if base is not instance.context.args:
        if not base.name.endswith("(anon)"):
            yield base.name
    elif instance.context.provider == "tracepoint":
        yield from (attached.context.label for attached in instance.places)
