"""The state of checking one body, and what builtins may ask of it (`views.Checks`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.feature import Builtin, Call, Context
from pbt.lang import ast
from pbt.source import ScriptError, Span
from pbt.types import Pointer, Struct, Type, literal
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.lang.check import Script
    from pbt.lang.typed import MapType

LITERALS = (ast.Int, ast.Bool, ast.Str)


class Checks:
    """One body in one context. Subclasses know the language; this class keeps the tables."""

    def __init__(
        self,
        shared: Script,
        probe: ast.Probe,
        context: Context,
        names: Mapping[ast.Var, str],
        variables: dict[str, Type],
    ) -> None:
        self.shared, self.probe, self.context, self.names, self.variables = (
            shared,
            probe,
            context,
            names,
            variables,
        )
        self.target, self.config = shared.target, shared.options.config
        self.types: dict[ast.Node, Type] = {}
        self.kept: dict[ast.Node, Any] = {}
        self.calls: dict[ast.Node, tuple[Builtin, Call]] = {}
        self.replaced: dict[ast.Expr, ast.Expr] = {}
        self._constant: dict[str, ast.Expr] = {}  # variables that hold what is known, and nothing else
        self._arrays: dict[str, str] = {}
        self._declared: dict[str, Type] = {}  # variables whose type the script gives
        self._open: dict[str, Type] = {}  # those of which it gives a part (see typenames.is_open)
        self._given: set[str] = set()  # variables that get values from builtins
        self._loops = 0
        self.looping = False  # whether what is checked stands in a loop that is not unrolled
        self._returns: Type | None = None  # of the function of the script that is being checked
        self._defining: list[str] = []
        self._spoiled: set[str] = set()

    # --- what subclasses know

    def _expr(self, node: ast.Expr) -> Type:
        """The type of an expression, also kept in the table."""
        raise NotImplementedError

    def _read_type(self, known: MapType, span: Span) -> Type:
        """What a map's values are in expressions."""
        raise NotImplementedError

    def _statements(self, body: Sequence[ast.Stmt]) -> None:
        """Check statements that stand inside an expression."""
        raise NotImplementedError

    def _set_variable(self, var: ast.Var, kind: Type, value: ast.Expr | None = None) -> None:
        """Merge the type of a value into what a variable is known to hold."""
        raise NotImplementedError

    def _merge_key(self, base: ast.Map, keys: Sequence[ast.Expr], span: Span) -> MapType:
        """Check the key of a map and merge its type into what is known."""
        raise NotImplementedError

    # --- literals

    def _literal(self, node: ast.Expr, value: int, kind: Type | None = None) -> ast.Int:
        made = ast.Int(node.span, value)
        self.types[made] = kind or literal(value)
        return made

    def _flatten(self, keys: Sequence[ast.Expr]) -> Sequence[ast.Expr]:
        """`@m[(a, b)]` is `@m[a, b]`."""
        return keys[0].items if len(keys) == 1 and isinstance(keys[0], ast.Tuple) else keys

    def _is_literal(self, node: ast.Expr) -> bool:
        """Whether a checked node is a number as the script writes it, or made of such; a cast is none."""
        value = self.known_int(node)
        return value is not None and self.types[node] == literal(value)

    def _is_zero(self, node: ast.Expr) -> bool:
        return self.known_int(node) == 0

    # --- views.Checks

    def option(self, name: str, about: str = "") -> str | None:
        """The text of the script's option `--name`, "" if it stands alone, None if it was not given."""
        self.shared.asked[name] = about
        return self.shared.options.named.get(name)

    def default(self, name: str, value: bool | int | str) -> bool | int | str:
        """What an option is where it is not given: `value`, if no call said otherwise before."""
        return self.shared.defaults.setdefault(name, value)

    def without_value(self, name: str) -> str | None:
        words = list(self.shared.options.words)
        if f"--{name}" not in words:
            return None
        return next(iter(words[words.index(f"--{name}") + 1 :]), "")

    def become(self, node: ast.Expr, value: bool | int | str | Mapping[str, bool | int | str]) -> Type:
        """Let a node stand for a value known now, or a record of such values; the value's type."""
        made: ast.Expr
        if isinstance(value, Mapping):
            items = tuple(_known(node.span, item) for item in value.values())
            made = ast.Record(node.span, tuple(value), items)
        else:
            made = _known(node.span, value)
        self.replaced[node] = made
        return self._expr(made)

    def real(self, node: ast.Expr) -> ast.Expr:
        """What stands for a node."""
        while node in self.replaced:
            node = self.replaced[node]
        return node

    def is_known(self, node: ast.Expr) -> bool:
        """Whether a checked node is a number, a truth value or a text that is known while compiling."""
        return isinstance(self.real(node), LITERALS)

    def known_int(self, node: ast.Expr) -> int | None:
        node = self.real(node)
        if isinstance(node, ast.Int):
            return node.value
        return int(node.value) if isinstance(node, ast.Bool) else None

    def literal_int(self, node: ast.Expr, what: str, truths: bool = False) -> int:
        self._expr(node)
        value = self.known_int(node)
        if value is None or (not truths and isinstance(self.real(node), ast.Bool)):
            raise ScriptError(
                f"{what} must be an integer literal", node.span, "its value must be known beforehand"
            )
        return value

    def literal_str(self, node: ast.Expr, what: str) -> str:
        self._expr(node)
        node = self.real(node)
        if not isinstance(node, ast.Str):
            name, _, part = what.partition(" ")
            message = f"{name} expects a string literal ({self._expr(node)} provided)"
            raise ScriptError(message, node.span, f'the {part} is written in "double quotes"')
        return node.value

    def identifier(self, node: ast.Expr, what: str) -> str:
        name = self.identifier_or_none(node)
        if name is None:
            raise ScriptError(f"{what} must be a name", node.span)
        return name

    def identifier_or_none(self, node: ast.Expr) -> str | None:
        return node.name if isinstance(node, ast.Ident) and node.name not in self.shared.defines else None

    def parameter(self, node: ast.Expr) -> str | None:
        params = self.shared.options.params
        if not isinstance(node, ast.Param):
            return None
        if node.number == 0:
            return str(len(params))
        return params[node.number - 1] if node.number <= len(params) else ""

    def whole_map(self, node: ast.Expr) -> str | None:
        if not isinstance(node, ast.Map):
            return None
        self.shared.map(node.name, node.span)
        return node.name

    def has_keys(self, node: ast.Expr) -> bool:
        return isinstance(node, ast.Map) and self.shared.map(node.name, node.span).key != ()

    def map_element(self, node: ast.Expr, args: Sequence[ast.Expr], keyed: bool = False) -> None:
        first = args[0]
        base = first.base if isinstance(first, ast.Index) else first
        if not isinstance(base, ast.Map):
            name = node.name if isinstance(node, ast.Call) else "this"
            raise ScriptError(f"{name}() expects a map argument", first.span, f"write {name}(@name, key)")
        if isinstance(first, ast.Index) and len(args) > 1:
            raise ScriptError(
                "this takes one map and one key",
                args[1].span,
                "one call for each: delete(@a[1]); delete(@b[2])",
            )
        keys = first.keys if isinstance(first, ast.Index) else args[1:]
        if keyed and not keys:
            raise ScriptError("a key is needed", node.span, "has_key(@map, key)")
        flat = self._flatten(keys)
        known = self.shared.map(base.name, base.span)
        if not flat and known.key:
            raise ScriptError(
                f"{base.name} has keys: say which one to delete", node.span, f"clear({base.name}) deletes all"
            )
        self._merge_key(base, flat, node.span)
        self.kept[node] = (base.name, tuple(flat))

    def loses_keys(self, node: ast.Expr) -> None:
        base = node.base if isinstance(node, ast.Index) else node
        assert isinstance(base, ast.Map)
        self.shared.map(base.name, base.span).loses_keys = True

    def aggregation(self, node: ast.Expr) -> str:
        base = node.base if isinstance(node, ast.Index) else node
        return self.shared.map(base.name, base.span).aggregation if isinstance(base, ast.Map) else ""

    def map_value(self, node: ast.Expr) -> Type:
        assert isinstance(node, ast.Map)
        return self._read_type(self.shared.map(node.name, node.span), node.span)

    def set_variable(self, node: ast.Expr, kind: Type) -> None:
        if not isinstance(node, ast.Var):
            raise ScriptError("a variable is needed here", node.span, "such as $value, declared with let")
        self._given.add(self.names[node])
        self._set_variable(node, kind)

    def warn(self, message: str, span: Span, hint: str = "", once: bool = False) -> None:
        self.shared.warn(message, span, hint, once)

    def type_of(self, node: ast.Expr) -> Type:
        return self._expr(node)

    def fields_of(self, node: ast.Expr, base: ast.Expr) -> Type:
        raise NotImplementedError

    def whole(self, node: ast.Expr) -> Type:
        kind = self._expr(node)
        whole = isinstance(kind, Pointer) and kind.space == "ctx" and isinstance(kind.target, Struct)
        return self.fields_of(node, node) if whole and isinstance(node, ast.Ident) else kind

    def span(self, node: ast.Expr) -> Span:
        return node.span

    def error(self, message: str, span: Span, hint: str = "") -> Exception:
        return ScriptError(message, span, hint)

    def call_of(self, node: ast.Expr) -> tuple[str, Any]:
        found = self.calls.get(self.real(node))
        return (found[0].name, self.kept.get(self.real(node))) if found else ("", None)

    def keep(self, node: ast.Node, value: Any) -> None:
        self.kept[node] = value


def _known(span: Span, value: bool | int | str) -> ast.Bool | ast.Int | ast.Str:
    if isinstance(value, bool):
        return ast.Bool(span, value)
    return ast.Int(span, value) if isinstance(value, int) else ast.Str(span, value)
