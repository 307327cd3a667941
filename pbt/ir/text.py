"""Programs as text, and back.

    program "kprobe:vfs_read"
    function main
    slot 16 8 "key @"
    entry:
      %0:ctx = ctx
      %1:stack = slot 0
      %2 = const 5
      store %1 %2 8 8
      %3:value = call map_lookup_elem(%4 %1)
      branch ne %3 %5 found(%2) else missing
    found(%6):
      return %6

A slot line gives size, alignment and label; slots count from 0. `:kind` follows a value where it is
made, unless it is an int. After an operation's arguments come the attributes that it uses, in the order
of OPS. Parameter kinds of a subprogram stand in brackets behind its name. A name that is not plain is a
JSON string. Spans are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pbt.ir.core import (
    CALLS,
    CONDITIONS,
    OPS,
    Block,
    Branch,
    Edge,
    Function,
    Jump,
    Op,
    Program,
    Return,
    Slot,
    Terminator,
    Value,
)
from pbt.source import ScriptError, Source, Span

_PLAIN = re.compile(r"[A-Za-z_@][\w.@]*")
_TOKEN = re.compile(r'\s*(?:("(?:\\.|[^"\\])*")|(%\d+(?::\w+)?)|(-?\d+)|([A-Za-z_@][\w.@]*)|([()\[\]:=]))')


def dump(program: Program) -> str:
    """The program as text; `parse` gives it back."""
    lines = [f"program {_quoted(program.name)}"]
    for function in program.functions:
        lines += _function(function)
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name)


def _function(function: Function) -> Iterator[str]:
    kinds = f"[{' '.join(function.params)}]" if function.params else ""
    yield f"function {_quoted(function.name)}{kinds}"
    for slot in function.slots:
        yield f"slot {slot.size} {slot.align} {json.dumps(slot.label)}"
    for block in function.blocks:
        yield f"{_quoted(block.name)}{_values(map(_made, block.params))}:"
        for op in block.ops:
            yield f"  {_op(op)}"
        yield f"  {_end(block.end)}"


def _values(values: Iterator[str]) -> str:
    inside = " ".join(values)
    return f"({inside})" if inside else ""


def _made(value: Value) -> str:
    return str(value) if value.kind == "int" else f"{value}:{value.kind}"


def _op(op: Op) -> str:
    attributes = [_quoted(op.name) if use == "name" else str(getattr(op, use)) for use in op.info.uses]
    args = [str(a) for a in op.args]
    body = f"{op.code} {attributes[0]}({' '.join(args)})" if op.code in CALLS else " ".join(
        [op.code, *args, *attributes]
    )  # fmt: skip
    return body if op.result is None else f"{_made(op.result)} = {body}"


def _edge(edge: Edge) -> str:
    return _quoted(edge.block) + _values(map(str, edge.args))


def _end(end: Terminator) -> str:
    if isinstance(end, Jump):
        return f"jump {_edge(end.to)}"
    if isinstance(end, Branch):
        return f"branch {end.cond} {end.left} {end.right} {_edge(end.then)} else {_edge(end.other)}"
    return f"return {end.value}"


# --- reading ------------------------------------------------------------------------------------


def parse(text: str, name: str = "ir") -> Program:
    """Text → program. ScriptError points at the line that cannot be read; `verify` judges the rest."""
    return _Reader(Source(name, text)).program()


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.lines: list[tuple[int, list[str]]] = []
        self.at = 0
        offset = 0
        for line in source.text.split("\n"):
            self.start, self.end = offset, offset + len(line)
            tokens = self.tokens(line)
            if tokens:
                self.lines.append((offset, tokens))
            offset += len(line) + 1
        self.kinds: dict[int, Value] = {}

    def tokens(self, line: str) -> list[str]:
        found, at, line = [], 0, line.rstrip()
        while at < len(line):
            match = _TOKEN.match(line, at)
            if match is None:
                raise self.error(f"cannot read {line[at:].strip()}")
            found.append(match[0].strip())
            at = match.end()
        return found

    def error(self, message: str) -> ScriptError:
        return ScriptError(message, Span(self.source, self.start, max(self.end, self.start + 1)))

    def line(self) -> list[str]:
        """The next line's tokens; they are used up from the front."""
        if self.at >= len(self.lines):
            raise self.error("the text ends too early")
        self.start, tokens = self.lines[self.at]
        self.end = self.start + len(self.source.text[self.start :].partition("\n")[0])
        self.at += 1
        return list(tokens)

    def peek(self) -> str:
        return self.lines[self.at][1][0] if self.at < len(self.lines) else ""

    def take(self, tokens: list[str], wanted: str = "") -> str:
        if not tokens or (wanted and tokens[0] != wanted):
            raise self.error(f"expected {wanted or 'more'}" + (f", not {tokens[0]}" if tokens else ""))
        return tokens.pop(0)

    def name(self, tokens: list[str]) -> str:
        token = self.take(tokens)
        return str(json.loads(token)) if token.startswith('"') else token

    def number(self, tokens: list[str]) -> int:
        token = self.take(tokens)
        if not re.fullmatch(r"-?\d+", token):
            raise self.error(f"expected a number, not {token}")
        return int(token)

    def program(self) -> Program:
        tokens = self.line()
        self.take(tokens, "program")
        name, functions = self.name(tokens), []
        while self.at < len(self.lines):
            functions.append(self.function())
        return Program(name, tuple(functions))

    def function(self) -> Function:
        tokens = self.line()
        self.take(tokens, "function")
        name, params = self.name(tokens), tuple(t for t in tokens if t not in "[]")
        slots = []
        while self.peek() == "slot":
            tokens = self.line()[1:]
            slots.append(Slot(self.number(tokens), self.number(tokens), self.name(tokens)))
        self.kinds = self.made()
        blocks = []
        while self.peek() not in ("", "function"):
            blocks.append(self.block())
        return Function(name, tuple(blocks), tuple(slots), params)  # type: ignore[arg-type]

    def made(self) -> dict[int, Value]:
        """Values by number, with their kinds, from the places where they are made."""
        found = {}
        for _, tokens in self.lines[self.at :]:
            if tokens[0] == "function":
                break
            label = tokens[-1] == ":"
            for token in tokens if label else tokens[:1]:
                if token.startswith("%"):
                    value = _value(token)
                    found[value.id] = value
        return found

    def value(self, tokens: list[str]) -> Value:
        token = self.take(tokens)
        if not token.startswith("%"):
            raise self.error(f"expected a value, not {token}")
        return self.kinds.get(_value(token).id, _value(token))

    def values(self, tokens: list[str]) -> tuple[Value, ...]:
        """In parentheses, if there are any."""
        found = []
        if tokens and tokens[0] == "(":
            tokens.pop(0)
            while tokens and tokens[0] != ")":
                found.append(self.value(tokens))
            self.take(tokens, ")")
        return tuple(found)

    def block(self) -> Block:
        tokens = self.line()
        name, params = self.name(tokens), self.values(tokens)
        self.take(tokens, ":")
        ops: list[Op] = []
        while self.peek() not in ("jump", "branch", "return"):
            ops.append(self.op())
        return Block(name, params, tuple(ops), self.terminator())

    def op(self) -> Op:
        tokens, result = self.line(), None
        if len(tokens) > 1 and tokens[1] == "=":
            result = self.value(tokens)
            tokens.pop(0)
        code = self.take(tokens)
        if code not in OPS:
            raise self.error(f"unknown operation {code}")
        attributes: dict[str, int | str] = {}
        if code in CALLS:
            name = self.name(tokens)
            return Op(code, self.values(tokens), result, name=name)
        args = tuple(self.value(tokens) for _ in range(OPS[code].arity))
        for use in OPS[code].uses:
            attributes[use] = self.name(tokens) if use == "name" else self.number(tokens)
        return Op(code, args, result, **attributes)  # type: ignore[arg-type]

    def edge(self, tokens: list[str]) -> Edge:
        return Edge(self.name(tokens), self.values(tokens))

    def terminator(self) -> Terminator:
        tokens = self.line()
        kind = tokens.pop(0)
        if kind == "jump":
            return Jump(self.edge(tokens))
        if kind == "return":
            return Return(self.value(tokens))
        cond = self.take(tokens)
        if cond not in CONDITIONS:
            raise self.error(f"unknown condition {cond}")
        left, right, then = self.value(tokens), self.value(tokens), self.edge(tokens)
        self.take(tokens, "else")
        return Branch(cond, left, right, then, self.edge(tokens))


def _value(token: str) -> Value:
    number, _, kind = token[1:].partition(":")
    return Value(int(number), kind or "int")  # type: ignore[arg-type]
