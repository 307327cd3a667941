"""Variables and maps: their types, merged over all uses."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.lang import ast
from pbt.lang.checks import Checks
from pbt.lang.scope import ONCE, shown
from pbt.lang.typed import MapType
from pbt.lang.typenames import fills
from pbt.lang.unify import UNKNOWN, Mismatch, stored, unify
from pbt.source import ScriptError, Span
from pbt.types import I64, U64, Pointer, Tuple, Type, Void


class Maps(Checks):
    """What `$x`, `@m` and `@m[k]` hold."""

    def _map_name(self, node: ast.Expr) -> str:
        base = node.base if isinstance(node, ast.Index) else node
        assert isinstance(base, ast.Map)
        return base.name

    def _keyed(self, node: ast.Expr) -> MapType:
        """Check the key of `@m` or `@m[k]` and merge its type into what is known."""
        base = node.base if isinstance(node, ast.Index) else node
        assert isinstance(base, ast.Map)
        keys = node.keys if isinstance(node, ast.Index) else ()
        return self._merge_key(base, self._flatten(keys), node.span)

    def _merge_key(self, base: ast.Map, keys: Sequence[ast.Expr], span: Span) -> MapType:
        known = self.shared.map(base.name, base.span)
        kinds = []
        for key in keys:
            kind = stored(self.whole(key))
            if isinstance(kind, Void) or (isinstance(kind, Pointer) and kind.space == "ctx"):
                raise ScriptError(f"{kind} cannot be used as a map key", key.span)
            kinds.append(kind)
        if len(kinds) == 1 and isinstance(kinds[0], Tuple) and not kinds[0].names:
            kinds = list(kinds[0].elements)  # @m[$pair] is @m[first, second]
        if known.key is None:
            known.key = tuple(kinds)
        elif bool(known.key) != bool(kinds):
            raise ScriptError(
                f"{base.name} used as a map {'without' if known.key else 'with'} an explicit key "
                f"({'scalar' if known.key else 'keyed'} map), previously used "
                f"{'with' if known.key else 'without'} one",
                span,
                f"write {base.name}[key] everywhere"
                if known.key
                else f"write {base.name} everywhere, or use another map",
            )
        else:
            known.key = self._unified_key(base, known.key, tuple(kinds), span)
        return known

    def _unified_key(
        self, base: ast.Map, known: tuple[Type, ...], kinds: tuple[Type, ...], span: Span
    ) -> tuple[Type, ...]:
        try:
            if len(known) != len(kinds):
                raise Mismatch
            return tuple(unify(a, b) for a, b in zip(known, kinds, strict=True))
        except Mismatch:
            raise ScriptError(
                f"Argument mismatch for {base.name}: trying to access with arguments: '{_types(kinds)}' "
                f"when map expects arguments: '{_types(known)}'",
                span,
            ) from None

    def _map_value(self, node: ast.Map | ast.Index) -> Type:
        return self._read_type(self._keyed(node), node.span)

    def _read_type(self, known: MapType, span: Span) -> Type:
        """What a map's values are in expressions: an aggregation's is the number it comes to."""
        if not known.aggregation:
            return known.value or UNKNOWN
        record = self.shared.known_aggregations[known.aggregation]
        if record.fold is None:
            raise ScriptError(
                f"{known.name} holds {known.aggregation}() values, which can only be printed",
                span,
                f"print({known.name})",
            )
        if not self.target.has("map_lookup_percpu_elem"):
            raise ScriptError(
                f"this kernel cannot add up {known.name} over all CPUs inside a program",
                span,
                f"reading {known.aggregation}() values in expressions came with Linux 5.19; print({known.name})",
            )
        return I64 if known.signed else U64

    def _set_map(self, target: ast.Expr, kind: Type, value: ast.Expr) -> None:
        known = self._keyed(target)
        kind = stored(kind)
        if isinstance(kind, Pointer) and kind.space == "ctx":
            raise ScriptError("the context cannot be kept in a map", value.span, "keep its fields")
        if known.aggregation:
            raise ScriptError(
                f"Type mismatch for {known.name}: trying to assign value of type '{kind}' when map "
                f"already has a type '{known.aggregation}_t'",
                value.span,
                "a map holds one kind of value; use another map",
            )
        try:
            known.value = kind if known.value is None else unify(known.value, kind, self._is_zero(value))
        except Mismatch:
            raise ScriptError(
                f"Type mismatch for {known.name}: trying to assign value of type '{kind}' when map "
                f"already has a type '{known.value}'",
                value.span,
                "a map holds one type of value; use another map",
            ) from None
        self.types[target] = known.value

    def _set_variable(self, var: ast.Var, kind: Type, value: ast.Expr | None = None) -> None:
        name = self.names[var]
        known = self._declared.get(name) or self.variables.get(name) or self._open.get(name)
        kind = stored(kind)
        try:
            zero = value is not None and self._is_zero(value)
            first = known is None or (name not in self.variables and fills(known, kind))
            made = kind if known is None or first else unify(known, kind, zero)
            made = self._declared.get(name, made)
        except Mismatch:
            raise ScriptError(
                f"Type mismatch for {shown(var)}: trying to assign value of type '{kind}' when variable "
                f"already has a type '{known}'",
                (value or var).span,
                "use another variable, or a cast",
            ) from None
        self.variables[name] = made
        self.types[var] = made
        if var.name.startswith(ONCE) and value is not None and self.is_known(value):
            self._constant[name] = self.real(value)


def _types(kinds: Sequence[Type]) -> str:
    return ", ".join(map(str, kinds))
