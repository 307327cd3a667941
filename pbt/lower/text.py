"""Values that lie in memory: strings, structs, tuples, arrays and what only user space can draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from pbt.feature import Mem
from pbt.ir.build import Label, pieces
from pbt.ir.core import Value
from pbt.lang import ast
from pbt.lang.typed import Instance
from pbt.lower import expr, loops, maps, memory
from pbt.lower.memory import Loc
from pbt.source import ScriptError
from pbt.types import Array, Int, Opaque, Pointer, Str, Tuple, Type, is_integral, is_text
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.lower.body import Body


def locate(body: Body, node: ast.Expr) -> Loc:
    """Where the value of an expression lies; it is put into new room if it lies nowhere yet."""
    node = body.real(node)
    with body.b.at(node.span):
        found = _place(body, node)
        if found is not None:
            return found
        kind = body.type(node)
        room = body.temp(kind.size, _label(node))
        body.into(node, room, kind)
        return Loc("bpf", room.base, room.offset)


def _label(node: ast.Node) -> str:
    text = " ".join(node.span.text.split())
    return text if len(text) <= 24 else text[:21] + "..."


def _place(body: Body, node: ast.Expr) -> Loc | None:
    early = body.early.get(node)
    if isinstance(early, Mem):
        return Loc("bpf", early.base, early.offset)
    if body.call_of(node) is not None:
        return None
    if isinstance(node, (ast.Var, ast.Ident)):
        name = body.instance.names[node] if isinstance(node, ast.Var) else node.name
        place = body.variable(name)
        return Loc("bpf", place.base, place.offset)
    if isinstance(node, ast.Map) or (isinstance(node, ast.Index) and isinstance(node.base, ast.Map)):
        return maps.locate(body, node)
    half = loops.part(body, node)
    if half is not None:
        return loops.locate(body, *half)
    if isinstance(node, ast.Member):
        return _member(body, node)
    if isinstance(node, ast.Index):
        return _element(body, node)
    if isinstance(node, ast.Unary) and node.op == "*":
        kind = body.type(node.operand)
        return _pointee(body, kind, expr.value(body, node.operand))
    if isinstance(node, ast.Cast) and not is_integral(body.type(node)):
        source = body.type(node.operand)
        return (
            locate(body, node.operand)
            if source.size == body.type(node).size and not is_integral(source)
            else None
        )
    return None


def _pointee(body: Body, kind: Type, address: Value) -> Loc:
    space = body.space(kind)
    assert space in ("kernel", "user", "bpf", "ctx", "")
    return Loc(space, address)  # type: ignore[arg-type]


def _member(body: Body, node: ast.Member) -> Loc:
    base = body.type(node.base)
    if isinstance(base, Tuple):
        return locate(body, node.base).plus(
            base.offsets[base.names.index(node.name) if base.names else int(node.name)]
        )
    member = body.kept(node)
    if isinstance(base, Pointer):
        outer = _pointee(body, base, expr.value(body, node.base))
    else:
        outer = locate(body, node.base)
    loc = outer.plus(member.offset)
    if member.data_loc:
        return _data_loc(body, outer, loc, member.data_loc == "rel")
    return loc


def tracked(body: Body, node: ast.Expr) -> Mem:
    """An object by an address that the verifier follows from the context: the base may be null.

    ScriptError if the address was read as a number on its way.
    """
    node = body.real(node)
    if isinstance(node, ast.Member):
        base, member = body.type(node.base), body.kept(node)
        if isinstance(base, Pointer) and base.space == "ctx":
            loc = _member(body, node)
            return Mem(body.b.load(loc.base, loc.offset, 8))
        if not isinstance(body.type(node), Pointer) and member is not None:
            outer = tracked(body, node.base)
            return Mem(outer.base, outer.offset + member.offset)
    raise ScriptError(
        "the kernel wants this straight from the probe's arguments",
        node.span,
        "such as args.file, ctx.file or args.file.f_path, not a variable or a pointer read elsewhere",
    )


def _data_loc(body: Body, outer: Loc, loc: Loc, relative: bool) -> Loc:
    """A u32 whose low half says where in the record (from the field's end, if relative) the data begins."""
    b = body.b
    at = b.op("and", memory.load(body, loc, Int(4)), 0xFFFF)
    start = b.add(outer.base, outer.offset) if outer.offset else outer.base
    if relative:
        at = b.add(at, loc.offset - outer.offset + 4)
    return Loc("kernel", b.add(start, at))


def _element(body: Body, node: ast.Index) -> Loc:
    base, index = body.type(node.base), body.real(node.keys[0])
    if isinstance(base, Tuple):
        assert isinstance(index, ast.Int)
        return locate(body, node.base).plus(base.offsets[index.value])
    size = body.type(node).size if not isinstance(base, Pointer) else max(base.target.size, 1)
    if isinstance(base, Pointer):
        loc = _pointee(body, base, expr.value(body, node.base))
    else:
        loc = locate(body, node.base)
    if isinstance(index, ast.Int):
        return loc.plus(index.value * size)
    moved = body.b.op("mul", expr.value(body, index), size) if size > 1 else expr.value(body, index)
    return Loc(loc.space, body.b.add(loc.base, moved), loc.offset)


# --- evaluation into memory -------------------------------------------------------------------


def into(body: Body, node: ast.Expr, to: Mem, kind: Type) -> None:
    """Evaluate into memory laid out as `kind`; a string's tail is cleared if the body pads."""
    node = body.real(node)
    with body.b.at(node.span):
        _into(body, node, to, kind)


def _into(body: Body, node: ast.Expr, to: Mem, kind: Type) -> None:
    if is_integral(kind):
        body.b.store(to.base, to.offset, kind.size, expr.value(body, node))
    elif node in body.early:
        _copy(body, node, to, kind)
    elif isinstance(node, ast.Ternary):
        _ternary(body, node, to, kind)
    elif isinstance(node, ast.Cast) and not is_integral(body.type(node.operand)):
        into(body, node.operand, to, kind)
    elif isinstance(node, ast.Inlined):
        body.zero(to, kind.size)
        expr.inlined(body, node, lambda made: into(body, made, to, kind))
    elif isinstance(node, ast.BlockExpr):
        body.statements(node.body)
        assert node.value is not None
        into(body, node.value, to, kind)
    elif isinstance(kind, Str):
        _text_into(body, node, to, kind)
    elif isinstance(node, (ast.Tuple, ast.Record)):
        assert isinstance(kind, Tuple)
        if kind.size > sum(e.size for e in kind.elements):
            body.zero(to, kind.size)
        items = node.items if isinstance(node, ast.Tuple) else _in_order(node, kind)
        for item, at, element in zip(items, kind.offsets, kind.elements, strict=True):
            into(body, item, to + at, element)
    elif isinstance(kind, Tuple) and body.type(node) != kind:
        _convert_tuple(body, locate(body, node), body.type(node), to, kind)
    elif (found := body.call_of(node)) is not None and body.type(node).size <= kind.size:
        builtin, call = found
        assert builtin.into is not None, builtin.name
        builtin.into(body, call, to)
    elif isinstance(node, ast.Cast) and is_integral(body.type(node.operand)):
        _bytes_of_number(body, node.operand, to, kind.size)
    else:
        _copy(body, node, to, kind)


def _bytes_of_number(body: Body, node: ast.Expr, to: Mem, size: int) -> None:
    """A number as an array: of its size, or with zeros behind it."""
    width = size if size in (1, 2, 4, 8) else body.type(node).size
    if width < size:
        body.b.zero(to.base, to.offset, size)
    body.b.store(to.base, to.offset, width, expr.value(body, node))


def _copy(body: Body, node: ast.Expr, to: Mem, kind: Type) -> None:
    """What lies somewhere already."""
    if isinstance(kind, Str):
        _text_into(body, node, to, kind)
    elif isinstance(kind, Tuple) and body.type(node) != kind:
        _convert_tuple(body, locate(body, node), body.type(node), to, kind)
    else:
        memory.copy(body, to, locate(body, node), min(kind.size, body.type(node).size))


def _in_order(node: ast.Record, kind: Tuple) -> list[ast.Expr]:
    """A record's items in the order of a type's names."""
    return [node.items[node.names.index(name)] for name in kind.names]


def _ternary(body: Body, node: ast.Ternary, to: Mem, kind: Type) -> None:
    b = body.b
    yes, no, after = b.block("then"), b.block("else"), b.block("after")
    expr.branch(body, node.condition, yes, no)
    for label, side in ((yes, node.then), (no, node.other)):
        b.place(label)
        into(body, side, to, kind)
        b.jump(after)
    b.place(after)


def _convert_tuple(body: Body, loc: Loc, source: Type, to: Mem, kind: Tuple) -> None:
    """Element by element, where widths differ."""
    assert isinstance(source, Tuple)
    body.zero(to, kind.size)
    for to_type, to_at, place in zip(kind.elements, kind.offsets, kind.places(source), strict=True):
        from_type, from_at = source.elements[place], source.offsets[place]
        if is_integral(to_type):
            number = memory.load(body, loc.plus(from_at), from_type)
            body.b.store(to.base, to.offset + to_at, to_type.size, number)
        elif isinstance(to_type, Tuple) and from_type != to_type:
            _convert_tuple(body, loc.plus(from_at), from_type, to + to_at, to_type)
        else:
            memory.copy(body, to + to_at, loc.plus(from_at), min(from_type.size, to_type.size))


def _text_into(body: Body, node: ast.Expr, to: Mem, kind: Str) -> None:
    source = body.type(node)
    if isinstance(node, ast.Str):
        data = node.value.encode("utf-8", "surrogateescape")[: kind.size - 1]
        body.bytes(
            to, data.ljust(kind.size if body.padded and kind.size <= memory.INLINE else len(data) + 1, b"\0")
        )
        _clear_tail(
            body, to, -(-(len(data) + 1) // 8) * 8 if kind.size > memory.INLINE else kind.size, kind.size
        )
        return
    found = body.call_of(node)
    if found is not None and source.size <= kind.size:
        builtin, call = found
        assert builtin.into is not None, builtin.name
        builtin.into(body, call, to)
        _clear_tail(body, to, source.size, kind.size)
        return
    loc = locate(body, node)
    size = min(source.size, kind.size)
    if is_text(source) and loc.space not in ("bpf", "ctx"):
        memory.copy_text(body, to, loc, size)
    else:
        memory.copy(body, to, loc, size)
    if source.size > kind.size:
        body.b.store(to.base, to.offset + kind.size - 1, 1, 0)
    _clear_tail(body, to, size, kind.size)


def _clear_tail(body: Body, to: Mem, start: int, end: int) -> None:
    if body.padded and start < end:
        body.zero(to + start, end - start)


# --- comparison -------------------------------------------------------------------------------


def equal(body: Body, left: ast.Expr, right: ast.Expr) -> Value:
    """1 if two values in memory are the same, else 0: strings up to the shorter capacity."""
    a, c = body.type(left), body.type(right)
    if _text(a) and _text(c):
        return same(body, left, right, min(a.size, c.size))
    if isinstance(a, Tuple) and isinstance(c, Tuple):
        return _same_tuple(body, locate(body, left), a, locate(body, right), c)
    if isinstance(a, Str) and isinstance(c, Opaque):
        return equal(body, right, left)
    if isinstance(a, Opaque) and isinstance(c, Str):
        return _one_of(body, left, body.kept(body.real(right)))
    if isinstance(a, Opaque) and a != c:  # drawn by different formats
        return body.b.const(0)
    return _same_bytes(body, _near(body, left), _near(body, right), min(a.size, c.size))


def _one_of(body: Body, node: ast.Expr, numbers: Sequence[int]) -> Value:
    b, loc = body.b, _near(body, node)
    number, found = b.load(loc.base, loc.offset, 8), b.const(0)
    for each in numbers:
        found = b.op("or", found, b.compare("eq", number, each))
    return found


def _text(kind: Type) -> bool:
    return isinstance(kind, Str) or (isinstance(kind, Array) and kind.element.size == 1)


def _near(body: Body, node: ast.Expr) -> Loc:
    """Where the value can be loaded from directly; it is copied there if need be, zeros behind its text."""
    with body.padding():
        return _loadable(body, node)


def _loadable(body: Body, node: ast.Expr) -> Loc:
    loc = locate(body, node)
    if loc.space in ("bpf", "ctx"):
        return loc
    kind = body.type(node)
    room = body.temp(kind.size, _label(node))
    if is_text(kind):
        memory.copy_text(body, room, loc, kind.size)
    else:
        memory.copy(body, room, loc, kind.size)
    return Loc("bpf", room.base, room.offset)


def same(body: Body, left: ast.Expr, right: ast.Expr, most: int) -> Value:
    """1 if two strings agree in their first `most` bytes; a literal is compared up to its NUL."""
    a, c = body.real(left), body.real(right)
    if isinstance(a, ast.Str):
        a, c = c, a
    if isinstance(c, ast.Str):
        data = (c.value.encode("utf-8", "surrogateescape") + b"\0")[:most]
        if isinstance(a, ast.Str):
            other = (a.value.encode("utf-8", "surrogateescape") + b"\0")[:most]
            return body.b.const(int(data == other))
        return _same_literal(body, _near(body, a), data)
    return _same_bytes(body, _near(body, a), _near(body, c), most)


def _same_literal(body: Body, loc: Loc, data: bytes) -> Value:
    b = body.b

    def compare(no: Label) -> None:
        for at, width in pieces(len(data), loc.offset):
            word = int.from_bytes(data[at : at + width], body.arch.byteorder)
            more = b.block("same")
            b.branch("eq", b.load(loc.base, loc.offset + at, width), word, more, no)
            b.place(more)

    return _flag(body, compare)


def _same_bytes(body: Body, left: Loc, right: Loc, size: int) -> Value:
    b = body.b

    def compare(no: Label) -> None:
        for at, width in pieces(size, left.offset, right.offset):
            more = b.block("same")
            a = b.load(left.base, left.offset + at, width)
            b.branch("eq", a, b.load(right.base, right.offset + at, width), more, no)
            b.place(more)

    return _flag(body, compare)


def _same_tuple(body: Body, left: Loc, a: Tuple, right: Loc, c: Tuple) -> Value:
    b = body.b

    def compare(no: Label) -> None:
        for left_type, left_at, place in zip(a.elements, a.offsets, a.places(c), strict=True):
            right_type, right_at = c.elements[place], c.offsets[place]
            more = b.block("same")
            first, second = left.plus(left_at), right.plus(right_at)
            if is_integral(left_type) and is_integral(right_type):
                x = memory.load(body, first, left_type)
                b.branch("eq", x, memory.load(body, second, right_type), more, no)
            else:
                if isinstance(left_type, Tuple) and isinstance(right_type, Tuple):
                    flag = _same_tuple(body, first, left_type, second, right_type)
                else:
                    flag = _same_bytes(body, first, second, min(left_type.size, right_type.size))
                b.branch("ne", flag, 0, more, no)
            b.place(more)

    return _flag(body, compare)


def _flag(body: Body, compare: Callable[[Label], None]) -> Value:
    """1 where `compare` runs through, 0 where it jumps to the label it is given."""
    b = body.b
    name = f"same.{b.unique()}"
    no, after = b.block("differs"), b.block("compared")
    compare(no)
    b.assign(name, 1)
    b.jump(after)
    if no.preds:
        b.place(no)
        b.assign(name, 0)
        b.jump(after)
    b.place(after)
    return b.read(name)


# --- variables --------------------------------------------------------------------------------


def may_be_read_unset(instance: Instance) -> Iterable[str]:
    """Variables declared without a value, or first assigned in an inner block and used outside of it."""
    unset: dict[str, None] = {}
    _note_unset(instance.probe.body, set(), instance.names, unset)
    return list(unset)


def _note_unset(
    block: ast.Block, known: set[str], names: Mapping[ast.Var, str], unset: dict[str, None]
) -> None:
    """Add variables that are read without being `known` to be set; `known` grows by those the block sets."""
    for stmt in block.body:
        if isinstance(stmt, ast.Block):
            _note_unset(stmt, known, names, unset)
            continue
        targets: set[str] = set()
        if isinstance(stmt, (ast.Assign, ast.Let)):
            var = stmt.target if isinstance(stmt, ast.Assign) else stmt.var
            if isinstance(var, ast.Var) and stmt.value is not None and getattr(stmt, "op", "=") == "=":
                targets.add(names[var])
        inner = [n for n in stmt.children() if isinstance(n, (ast.Block, ast.If))]
        for node in (
            stmt.walk() if not inner else [m for c in stmt.children() if c not in inner for m in c.walk()]
        ):
            if isinstance(node, ast.Var) and names[node] not in known | targets:
                unset[names[node]] = None
        for child in inner:
            blocks = [child] if isinstance(child, ast.Block) else _arms(child)
            for arm in blocks:
                _note_unset(arm, set(known), names, unset)
        known |= targets


def _arms(node: ast.If) -> list[ast.Block]:
    arms = [node.then]
    if isinstance(node.other, ast.If):
        arms += _arms(node.other)
    elif node.other is not None:
        arms.append(node.other)
    return arms
