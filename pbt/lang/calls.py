"""Calls of builtins: arity, arguments, what is allowed."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.feature import Builtin, Call
from pbt.lang import ast
from pbt.lang.keys import Maps
from pbt.regex import Regex
from pbt.source import ScriptError, did_you_mean
from pbt.types import VOID, Type


def arity(signature: str) -> tuple[int, int]:
    """(least, most) number of arguments that a signature such as "(a, b [, c]) -> int" allows."""
    if not signature.startswith("("):
        return 0, 0
    inside = signature[1 : signature.index(") ->")]
    optional = inside.count("[") - inside.count("[]") - 0
    flat = inside.replace("[]", "").replace("[", "").replace("]", "")
    items = [item for item in flat.split(",") if item.strip()]
    if any(item.strip() == "..." for item in items):
        return len(items) - 1, 1 << 16
    return len(items) - optional, len(items)


_IN_C = {
    **dict.fromkeys(("ntohs", "ntohl", "htons", "htonl"), "bswap() reverses the bytes of a number"),
    "strcmp": "texts are compared by == and !=",
}


def _hint(name: str, known: Sequence[str], text: str) -> str:
    """What to write in place of a function that is not known: `text` is the whole script."""
    if Regex(rf"(?m)^\s*#\s*define\s+{name}\(").search(text):
        return f"#define takes no parameters: write macro {name}(x) {{ ... }}"
    return _IN_C.get(name.removeprefix("bpf_")) or did_you_mean(name, known)


class Calls(Maps):
    """Checking of builtin variables and functions."""

    def _call_type(self, node: ast.Call) -> Type:
        builtin = self.shared.known_builtins.get(node.name)
        if builtin is not None:
            return self._builtin(builtin, node, node.args)
        if node.name in self.shared.known_aggregations:
            raise ScriptError(
                f"{node.name}() must be assigned directly to a map",
                node.span,
                f"write @name = {node.name}(...)",
            )
        script = self.shared.script
        own = [*(macro.name for macro in script.macros), *(function.name for function in script.functions)]
        known = [*own, *self.shared.known_builtins, *self.shared.known_aggregations]
        raise ScriptError(
            f"Unknown function: '{node.name}'", node.span, _hint(node.name, known, node.span.source.text)
        )

    def _builtin(self, builtin: Builtin, node: ast.Expr, args: Sequence[ast.Expr]) -> Type:
        if builtin.removed:
            raise ScriptError(f"{builtin.name} was removed", node.span, builtin.removed)
        if builtin.unsafe and not self.shared.options.unsafe:
            raise ScriptError(
                f"{builtin.name}() is an unsafe function being used in safe mode",
                node.span,
                "allow it with --unsafe",
            )
        for name, reason in self.context.lacks:
            if name == builtin.name:
                raise ScriptError(f"The {name} builtin is not known in this probe", node.span, reason)
        if isinstance(node, ast.Call):
            self._count_arguments(node, *arity(builtin.signature))
        kinds = []
        if not builtin.raw_args:
            for arg in args:
                known = bool(builtin.words) and self.identifier_or_none(arg) is not None
                kinds.append(VOID if known else self._expr(arg))
        call = self._call(node, args, kinds)
        kind = builtin.check(self, call)
        self.calls[node] = (builtin, call)
        return kind

    def _call(self, node: ast.Expr, args: Sequence[ast.Expr], kinds: Sequence[Type]) -> Call:
        name = node.name if isinstance(node, (ast.Call, ast.Ident)) else ""
        return Call(name, args, kinds, node, node.span, self.context)

    def _count_arguments(self, node: ast.Call, least: int, most: int) -> None:
        given = len(node.args)
        if least <= given <= most:
            return
        verb, bound = ("requires ", least) if given < least else ("takes up to ", most)
        if least == most:
            verb = "requires "
        elif given < least:
            verb += "at least "
        counted = {0: "no arguments", 1: "one argument"}.get(bound, f"{bound} arguments")
        message = f"{node.name}() {verb}{counted} ({given} provided)"
        raise ScriptError(message, node.span, self._signature(node.name))

    def _signature(self, name: str) -> str:
        record = self.shared.known_builtins.get(name) or self.shared.known_aggregations.get(name)
        return f"{name}{record.signature}" if record else ""
