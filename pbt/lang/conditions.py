"""Conditions of `#if`: C's integer expressions over macros, in 64 bits."""

from __future__ import annotations

import re
from collections.abc import Callable

from pbt.lang.arith import fold, fold_unary, holds

_TOKEN = re.compile(
    r"\s*(?:(?P<number>0[xX][0-9a-fA-F]+|\d[\d_]*)(?i:[ul]*)|(?P<name>[A-Za-z_]\w*)|(?P<char>'(?:[^'\\]|\\.)')"
    r"|(?P<op>\|\||&&|==|!=|<=|>=|<<|>>|[-+*/%&|^<>!~()?:,]))"
)
_BINARY = (
    ("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", "<=", ">", ">="), ("<<", ">>"), ("+", "-"),
    ("*", "/", "%"),
)  # fmt: skip
_MOST_DEPTH = 50  # of macros within macros, and of parentheses

Lookup = Callable[[str], "str | None"]
"""The text that a name stands for; None if it is not defined."""


class NotConstant(Exception):
    """What is wrong with a condition, in words."""


def evaluate(text: str, value_of: Lookup, calls: dict[str, Callable[[list[int]], int]] | None = None) -> int:
    """The value of a condition: names that nobody defined are 0. `calls`: macros with parameters.

    NotConstant if it is no expression that has a value.
    """
    return _Reader(text, value_of, calls or {}, ()).whole()


class _Reader:
    def __init__(
        self,
        text: str,
        value_of: Lookup,
        calls: dict[str, Callable[[list[int]], int]],
        open_: tuple[str, ...],
    ) -> None:
        self.value_of, self.calls, self.open = value_of, calls, open_
        self.tokens: list[tuple[str, str]] = []
        at, text = 0, text.strip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise NotConstant(f"{text[at:].split()[0]} has no meaning here")
            assert match.lastgroup is not None
            self.tokens.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()
        self.at = self.depth = 0

    def whole(self) -> int:
        if not self.tokens:
            raise NotConstant("there is no expression")
        value = self.ternary()
        if self.at < len(self.tokens):
            raise NotConstant(f"{self.tokens[self.at][1]} is not expected")
        return value

    def peek(self) -> str:
        kind, text = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        return text if kind in ("op", "name") else ""

    def accept(self, word: str) -> bool:
        found = self.peek() == word
        self.at += found
        return found

    def expect(self, word: str) -> None:
        if not self.accept(word):
            raise NotConstant(f"{word} is missing")

    def ternary(self) -> int:
        self.depth += 1
        if self.depth > _MOST_DEPTH:
            raise NotConstant("it is nested too deeply")
        value = self.binary(0)
        if self.accept("?"):
            then = self.ternary()
            self.expect(":")
            other = self.ternary()
            value = then if value else other
        self.depth -= 1
        return value

    def binary(self, level: int) -> int:
        if level == len(_BINARY):
            return self.unary()
        value = self.binary(level + 1)
        while self.peek() in _BINARY[level]:
            op = self.peek()
            self.at += 1
            value = _apply(op, value, self.binary(level + 1))
        return value

    def unary(self) -> int:
        for op in ("!", "-", "~", "+"):
            if self.accept(op):
                value = self.unary()
                return int(not value) if op == "!" else value if op == "+" else fold_unary(op, value)
        return self.primary()

    def primary(self) -> int:
        if self.at == len(self.tokens):
            raise NotConstant("a number is missing at its end")
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            digits = text.replace("_", "")
            return int(digits, 8 if digits[0] == "0" and digits.isdigit() else 0)
        if kind == "char":
            return ord(text[1:-1].encode().decode("unicode_escape")[0])
        if kind == "name":
            return self.defined() if text == "defined" else self.named(text)
        if text != "(":
            raise NotConstant(f"{text} is not expected")
        value = self.ternary()
        self.expect(")")
        return value

    def defined(self) -> int:
        inside = self.accept("(")
        kind, name = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        if kind != "name":
            raise NotConstant("defined() asks about a name")
        self.at += 1
        if inside:
            self.expect(")")
        return int(self.value_of(name) is not None or name in self.calls)

    def named(self, name: str) -> int:
        if self.peek() == "(" and name in self.calls:
            self.at += 1
            args = [self.ternary()]
            while self.accept(","):
                args.append(self.ternary())
            self.expect(")")
            return self.calls[name](args)
        text = self.value_of(name)
        if text is None or name in self.open:
            return 0
        if len(self.open) > _MOST_DEPTH:
            raise NotConstant("it is nested too deeply")
        return _Reader(text, self.value_of, self.calls, (*self.open, name)).whole() if text.strip() else 0


def _apply(op: str, left: int, right: int) -> int:
    is_signed = max(left, right) < 1 << 63
    if op in ("&&", "||", "==", "!=", "<", "<=", ">", ">="):
        return int(holds(op, left, right, is_signed))
    if op in ("<<", ">>") and not 0 <= right < 64:
        raise NotConstant("it shifts by more bits than there are")
    try:
        value = fold(op, left, right, is_signed)
    except OverflowError:
        value = fold(op, left, right, False)
    if value is None:
        raise NotConstant("it divides by zero")
    return value
