"""A second opinion: what a typed script means, evaluated directly on its tree.

Written from the language's rules alone; shares nothing with lowering, the backend or the
interpreter of instructions. Numbers are 64-bit patterns (0 to 2**64 - 1), strings and arrays bytes, tuples and
records tuples (a record's fields in the order of its type).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pbt.lang import ast
from pbt.lang.typed import Instance, MapType
from pbt.types import Array, Bool, Enum, Int, Natural, Pointer, Str, Tuple, Type

M64 = (1 << 64) - 1


class Leave(Exception):
    """`return` or `exit()`."""


class Loop(Exception):
    """`break` or `continue`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


def canonical(number: int, kind: Type) -> int:
    """The 64-bit pattern of a number cut to a type."""
    size = 8 * kind.size
    number &= (1 << size) - 1
    if isinstance(kind, (Int, Enum)) and kind.signed and number >> (size - 1):
        number -= 1 << size
    return number & M64


def as_signed(pattern: int) -> int:
    return pattern - (1 << 64) if pattern >> 63 else pattern


class Evaluator:
    """One run of one probe: `inputs` are builtin variables, `maps` keep their contents between runs."""

    def __init__(
        self,
        instance: Instance,
        types: Mapping[str, MapType],
        inputs: Mapping[str, Any],
        maps: dict[str, dict[Any, Any]],
    ) -> None:
        self.instance, self.types, self.inputs, self.maps = instance, types, inputs, maps
        self.variables: dict[str, Any] = {}
        self.printed: list[tuple[Any, ...]] = []

    def run(self) -> None:
        probe = self.instance.probe
        try:
            if probe.predicate is None or self.holds(probe.predicate):
                self.block(probe.body)
        except Leave:
            pass

    # --- statements

    def block(self, block: ast.Block) -> None:
        for stmt in block.body:
            self.stmt(stmt)

    def stmt(self, node: ast.Stmt) -> None:
        if isinstance(node, ast.ExprStmt):
            if isinstance(node.value, ast.Call) and node.value.name == "print":
                arg = node.value.args[0]
                self.printed.append((self.stored(self.value(arg), self.kind(arg)),))
            elif isinstance(node.value, ast.Call) and node.value.name == "delete":
                target = node.value.args[0]
                assert isinstance(target, ast.Index) and isinstance(target.base, ast.Map)
                self.maps.setdefault(target.base.name, {}).pop(self.key(target), None)
            elif isinstance(node.value, ast.Call) and node.value.name == "exit":
                raise Leave
            else:
                self.value(node.value)
        elif isinstance(node, ast.Assign):
            self.assign(node)
        elif isinstance(node, ast.Block):
            self.block(node)
        elif isinstance(node, ast.If):
            if self.holds(node.condition):
                self.block(node.then)
            elif node.other is not None:
                self.stmt(node.other)
        elif isinstance(node, ast.Unroll):
            self.loop(range(self.instance.kept[node]), node.body)
        elif isinstance(node, ast.ForRange):
            start, end = as_signed(self.value(node.start)), as_signed(self.value(node.end))
            self.loop(range(start, end), node.body, self.instance.names[node.var])
        elif isinstance(node, ast.Jump):
            raise Leave if node.kind == "return" else Loop(node.kind)
        else:
            raise AssertionError(node)

    def loop(self, turns: range, body: ast.Block, name: str = "") -> None:
        for turn in turns:
            if name:
                self.variables[name] = turn & M64
            try:
                self.block(body)
            except Loop as leave:
                if leave.kind == "break":
                    return

    def assign(self, node: ast.Assign) -> None:
        target = node.target
        if isinstance(node.value, ast.Call) and node.value.name in AGGREGATES:
            self.aggregate(node)
        elif isinstance(target, ast.Var):
            name = self.instance.names[target]
            old = self.variables.get(name, 0)
            value = (
                self.value(node.value)
                if node.op == "="
                else self.arith(node.op[:-1], old, target, node.value)
            )
            self.variables[name] = self.stored(value, self.instance.variables[name])
        else:
            name = target.name if isinstance(target, ast.Map) else target.base.name  # type: ignore[attr-defined]
            kind = self.types[name].value
            assert kind is not None
            if node.op == "=":
                value = self.value(node.value)
                key = self.key(target)
            else:
                right = self.value(node.value) if node.op == "+=" else None
                key = self.key(target)
                old = self.maps.get(name, {}).get(key, 0)
                value = (
                    old + right & M64
                    if right is not None
                    else self.arith(node.op[:-1], old, target, node.value)
                )
            self.maps.setdefault(name, {})[key] = self.stored(value, kind)

    def stored(self, value: Any, kind: Type) -> Any:
        if isinstance(kind, Str):
            return value[: kind.size - 1] if len(value) >= kind.size else value
        if isinstance(kind, Tuple):
            return tuple(self.stored(v, k) for v, k in zip(value, kind.elements, strict=True))
        return value if isinstance(kind, Array) else canonical(value, kind)

    def key(self, target: ast.Expr) -> Any:
        if isinstance(target, ast.Map):
            return ()
        assert isinstance(target, ast.Index) and isinstance(target.base, ast.Map)
        keys = target.keys
        if len(keys) == 1 and isinstance(keys[0], ast.Tuple):
            keys = keys[0].items
        kinds = self.types[target.base.name].key
        assert kinds is not None
        return tuple(self.stored(self.value(k), kind) for k, kind in zip(keys, kinds, strict=True))

    def aggregate(self, node: ast.Assign) -> None:
        call, target = node.value, node.target
        assert isinstance(call, ast.Call)
        name = target.name if isinstance(target, ast.Map) else target.base.name  # type: ignore[attr-defined]
        known = self.types[name]
        number = as_signed(self.value(call.args[0])) if call.args else 0
        pattern = number & M64
        cells = self.maps.setdefault(name, {})
        key = self.key(target)
        shown = number if known.signed else pattern
        if call.name in ("hist", "lhist"):
            bucket = (
                log2_bucket(number, known.args[0])
                if call.name == "hist"
                else linear_bucket(number, known.args)
            )
            key = (*key, bucket)
            cells[key] = cells.get(key, 0) + 1
        elif call.name == "count":
            cells[key] = cells.get(key, 0) + 1
        elif call.name == "sum":
            cells[key] = cells.get(key, 0) + pattern & M64
        elif call.name in ("min", "max"):
            pick = min if call.name == "min" else max
            cells[key] = pick(cells[key], shown) if key in cells else shown
        else:
            total, count = cells.get(key, (0, 0))
            cells[key] = (total + pattern & M64, count + 1)

    # --- expressions

    def real(self, node: ast.Expr) -> ast.Expr:
        while node in self.instance.replaced:
            node = self.instance.replaced[node]
        return node

    def kind(self, node: ast.Expr) -> Type:
        return self.instance.types[node]

    def holds(self, node: ast.Expr) -> bool:
        return bool(self.value(node))

    def value(self, node: ast.Expr) -> Any:
        node = self.real(node)
        if isinstance(node, ast.Int):
            return node.value & M64
        if isinstance(node, ast.Str):
            return node.value.encode()
        if isinstance(node, ast.Bool):
            return int(node.value)
        if isinstance(node, ast.Ident):
            return self.inputs[node.name]
        if isinstance(node, ast.Var):
            name = self.instance.names[node]
            kind = self.instance.variables.get(name)
            return self.variables.get(name, b"" if isinstance(kind, Str) else 0)
        if isinstance(node, ast.Map) or (isinstance(node, ast.Index) and isinstance(node.base, ast.Map)):
            name = node.name if isinstance(node, ast.Map) else node.base.name  # type: ignore[attr-defined]
            empty = b"" if isinstance(self.types[name].value, Str) else 0
            return self.maps.get(name, {}).get(self.key(node), empty)
        if isinstance(node, ast.Tuple):
            return tuple(self.value(item) for item in node.items)
        if isinstance(node, ast.Record):
            values = {name: self.value(item) for name, item in zip(node.names, node.items, strict=True)}
            kind = self.kind(node)
            assert isinstance(kind, Tuple)
            return tuple(values[name] for name in kind.names)
        if isinstance(node, ast.Member):
            kind = self.kind(node.base)
            assert isinstance(kind, Tuple)
            return self.value(node.base)[kind.names.index(node.name) if kind.names else int(node.name)]
        if isinstance(node, ast.Index):
            return self.element(node)
        if isinstance(node, ast.Unary):
            operand = self.value(node.operand)
            if node.op == "!":
                return int(not operand)
            return canonical(-operand if node.op == "-" else ~operand, self.kind(node))
        if isinstance(node, ast.Step):
            return self.step(node)
        if isinstance(node, ast.Ternary):
            return self.value(node.then if self.holds(node.condition) else node.other)
        if isinstance(node, ast.Cast):
            value, kind = self.value(node.operand), self.kind(node)
            if isinstance(kind, Array):
                return value if isinstance(value, bytes) else value.to_bytes(8, "little")[: kind.size]
            if isinstance(value, bytes) and not isinstance(kind, Str):
                value = int.from_bytes(value, "little")
            return (
                value
                if isinstance(value, bytes)
                else int(value != 0)
                if isinstance(kind, Bool)
                else canonical(value, kind)
            )
        assert isinstance(node, ast.Binary), node
        return self.binary(node)

    def element(self, node: ast.Index) -> Any:
        """An element of a tuple, an array or a string; beyond the end of a string stand zeros."""
        base, kind, index = self.value(node.base), self.kind(node.base), self.value(node.keys[0])
        if isinstance(kind, Tuple):
            return base[index]
        element = kind.element if isinstance(kind, Array) else Int(1, True)
        piece = base[index * element.size : (index + 1) * element.size]
        return canonical(int.from_bytes(piece, "little"), element)

    def step(self, node: ast.Step) -> int:
        by = 1 if node.op == "++" else -1
        if isinstance(node.operand, ast.Var):
            name = self.instance.names[node.operand]
            old = self.variables.get(name, 0)
            self.variables[name] = old + by & M64
        else:
            name = node.operand.name if isinstance(node.operand, ast.Map) else node.operand.base.name  # type: ignore[attr-defined]
            cells, key = self.maps.setdefault(name, {}), self.key(node.operand)
            old = cells.get(key, 0)
            cells[key] = old + by & M64
        return old + by & M64 if node.prefix else old

    def asks_signed(self, node: ast.Expr) -> bool:
        kind = self.kind(node)
        return isinstance(kind, (Int, Enum)) and kind.signed and not isinstance(kind, Natural)

    def binary(self, node: ast.Binary) -> int:
        if node.op == "&&":
            return int(self.holds(node.left) and self.holds(node.right))
        if node.op == "||":
            return int(self.holds(node.left) or self.holds(node.right))
        if node.op in ("==", "!=", "<", "<=", ">", ">="):
            return int(self.compare(node))
        return self.arith(node.op, self.value(node.left), node.left, node.right)

    def compare(self, node: ast.Binary) -> bool:
        a, b = self.value(node.left), self.value(node.right)
        if isinstance(a, tuple) or isinstance(self.kind(node.left), Array):
            return (a == b) == (node.op == "==")
        if isinstance(a, bytes):
            most = min(self.kind(node.left).size, self.kind(node.right).size)
            a, b = a.ljust(most, b"\0")[:most], b.ljust(most, b"\0")[:most]
            return (a == b) == (node.op == "==")
        if self.asks_signed(node.left) or self.asks_signed(node.right):
            a, b = as_signed(a), as_signed(b)
        return bool({"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[node.op])

    def arith(self, op: str, left: int, left_node: ast.Expr, right_node: ast.Expr) -> int:
        right = self.value(right_node)
        assert not isinstance(self.kind(left_node), Pointer)
        signed = self.asks_signed(left_node) or self.asks_signed(right_node)
        if op in ("/", "%"):
            both = all(isinstance(self.kind(node), Natural) for node in (left_node, right_node))
            a, b = (as_signed(left), as_signed(right)) if signed or both else (left, right)
            if not b:
                return 0 if op == "/" else left
            quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
            return (quotient if op == "/" else a - b * quotient) & M64
        if op == ">>":
            return (as_signed(left) if self.asks_signed(left_node) else left) >> (right & 63) & M64
        return {
            "+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right, "&": lambda: left & right,
            "|": lambda: left | right, "^": lambda: left ^ right, "<<": lambda: left << (right & 63),
        }[op]() & M64  # fmt: skip


AGGREGATES = ("count", "sum", "min", "max", "avg", "stats", "hist", "lhist")


def log2_bucket(number: int, bits: int) -> int:
    if number < 0:
        return 0
    if number < 1 << bits:
        return number + 1
    log = number.bit_length() - 1
    return (log - bits + 1 << bits) + (number >> (log - bits) & (1 << bits) - 1) + 1


def linear_bucket(number: int, args: tuple[int, ...]) -> int:
    low, high, step = args
    if number < low:
        return 0
    return 1 + (high - low) // step if number > high else 1 + (number - low) // step
