"""What each stage of the compiler made of a script, as text: the views of `pbt -d STAGE`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pbt.ir.text import dump
from pbt.lang import ast
from pbt.teach.code import Unit, at, hexed, map_line, rows, underlined, units
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.lang.typed import MapType
    from pbt.pipeline import Work
    from pbt.types import Type


def show(stage: str, work: Work) -> str:
    """A stage's view of a finished compilation: "ast", "types", "ir", "bpf" or "verifier"."""
    return "\n".join([*underlined(TITLES[stage]), *VIEWS[stage](work), "", ""])


# --- ast ----------------------------------------------------------------------------------------


def _ast(work: Work) -> Iterator[str]:
    assert work.parsed is not None
    yield from _tree(work.parsed.script, 0, "")


def _tree(node: ast.Node, depth: int, role: str) -> Iterator[str]:
    """A line for the node, then one for each below: role, kind, plain fields, place."""
    plain = [_plain(name, getattr(node, name)) for name in node.fields[1:]]
    words = filter(None, [f"{role}:" * bool(role), type(node).__name__, *plain, f"<{at(node.span)}>"])
    yield "  " * depth + " ".join(words)
    for name in node.fields[1:]:
        value = getattr(node, name)
        if isinstance(value, ast.Node):
            yield from _tree(value, depth + 1, name)
        elif isinstance(value, tuple):
            for item in value:
                if isinstance(item, ast.Node):
                    yield from _tree(item, depth + 1, "")


def _plain(name: str, value: object) -> str:
    """A field that is no node and says something; numbers always do where they are the node's value."""
    if isinstance(value, bool):
        return str(value).lower() if name == "value" else name * value
    if isinstance(value, str):
        return repr(value) if value else ""
    if isinstance(value, tuple):
        inner = [str(item) for item in value if not isinstance(item, ast.Node)]
        return f"{name}={':'.join(inner)}" if inner and name != "parts" else ""
    if isinstance(value, int):
        return str(value) if name in ("value", "number") else f"{name}={value}" * bool(value)
    return ""


# --- types --------------------------------------------------------------------------------------


def _types(work: Work) -> Iterator[str]:
    assert work.typed is not None
    if work.typed.maps:
        yield "maps"
        for map_ in work.typed.maps.values():
            yield f"  {_map(map_)}"
    for unit in units(work):
        yield f"probe {unit.title}"
        for name, type_ in sorted(unit.instance.variables.items()):
            yield f"  {name.partition('#')[0]}: {_type(type_)}"
        yield from _expressions(unit)


def _map(map_: MapType) -> str:
    keys = f"[{', '.join(map(str, map_.key))}]" if map_.key else ""
    value = (
        f"{map_.aggregation}({', '.join(map(str, map_.args))})"
        if map_.aggregation
        else str(map_.value or "?")
    )
    return f"{map_.name}{keys}: {value}"


def _expressions(unit: Unit) -> Iterator[str]:
    probe, types = unit.instance.probe, unit.instance.types
    found = [n for n in probe.walk() if isinstance(n, ast.Expr) and n in types]
    wide = max((len(_text(n)) for n in found), default=0)
    for node in found:
        yield f"  {at(node.span):>6}  {_text(node):{wide}}  {_type(types[node])}"


def _text(node: ast.Node) -> str:
    text = " ".join(node.span.text.split())
    return text if len(text) <= 40 else text[:37] + "..."


def _type(type_: Type) -> str:
    """The type, its size where the name does not tell it, and whose memory a pointer points to."""
    from pbt.types import Opaque, Pointer, Struct

    if isinstance(type_, Pointer) and type_.space:
        return f"{type_} in {type_.space} memory"
    return f"{type_}, {type_.size} bytes" if isinstance(type_, (Struct, Opaque)) else str(type_)


# --- ir -----------------------------------------------------------------------------------------


def _ir(work: Work) -> Iterator[str]:
    for unit in units(work):
        yield f"; {unit.title}, as lowered"
        yield from dump(unit.before).splitlines()
        yield f"; {unit.title}, after the passes"
        yield from dump(unit.after).splitlines()


# --- bpf ----------------------------------------------------------------------------------------


def _bpf(work: Work) -> Iterator[str]:
    assert work.bundle is not None
    for map_ in work.bundle.maps:
        yield f"map {map_line(map_)}"
    for unit in units(work):
        yield from _head(unit)
        for row in _with_lines(unit, work):
            yield row if isinstance(row, str) else f"{row[0]:4}: {row[1]}"


def _head(unit: Unit) -> list[str]:
    program = unit.program
    stack = sum(frame.size for frame in unit.compiled.frames)
    count = len(program.code.insns) // 8
    kind = program.prog_type + (f" ({program.expected_attach_type})" if program.expected_attach_type else "")
    return [f"program {unit.title}: {kind}, {count} instruction slots, {stack} bytes of stack"]


def _with_lines(unit: Unit, work: Work) -> Iterator[str | tuple[int, str]]:
    """The script's lines as comments before the instructions that come from them; names of subprograms."""
    starts = {first: name for name, first in unit.program.code.functions}
    last = 0
    for row in rows(unit.program.code, work.source):
        if row.first in starts:
            yield f"{starts[row.first]}:"
        if row.line and row.line != last:
            yield f"; {row.line}: {work.source.line(row.line).strip()}"
            last = row.line
        yield row.first, f"{hexed(row.data[:8])}  {row.text}"
        if len(row.data) > 8:
            yield row.first + 1, hexed(row.data[8:])


# --- verifier -----------------------------------------------------------------------------------


def _verifier(work: Work) -> Iterator[str]:
    from pbt.verifier_sim import verify_program

    assert work.bundle is not None
    for unit in units(work):
        verdict = verify_program(work.bundle, unit.program, work.target, keep_states=True)
        yield from _head(unit)
        for row in rows(unit.program.code, work.source):
            for state in verdict.before(row.first).splitlines() or ["(no path was walked to here)"]:
                yield f"      ; {state}"
            yield f"{row.first:4}: {row.text}"
        yield _verdict(verdict.kind, verdict.insns_processed, verdict.stack_depth)
        story = verdict.story(work.source)
        if story:
            yield from story.splitlines()


def _verdict(kind: str, processed: int, depth: int) -> str:
    words = {"accept": "accepted", "reject": "refused", "unsupported": "not judged to the end"}
    stack = f", {depth} bytes of stack" if depth else ""
    return f"verdict: {words[kind]}; {processed} instructions walked{stack}"


TITLES = {
    "ast": "syntax tree",
    "types": "types",
    "ir": "intermediate representation",
    "bpf": "BPF instructions",
    "verifier": "verifier states",
}
VIEWS: dict[str, Callable[[Work], Iterator[str]]] = {
    "ast": _ast, "types": _types, "ir": _ir, "bpf": _bpf, "verifier": _verifier
}  # fmt: skip
