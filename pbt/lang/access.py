"""What expressions name and reach: constants, parameters, members, elements, addresses."""

from __future__ import annotations

from pbt.lang import ast
from pbt.lang.calls import Calls
from pbt.lang.checks import LITERALS
from pbt.lang.literals import number
from pbt.lang.renamed import MEMBERS
from pbt.lang.typenames import no_btf
from pbt.regex import Regex
from pbt.source import ScriptError, Span, did_you_mean, nearest
from pbt.types import CHAR, Array, Pointer, Str, Struct, Tuple, Type, Void, is_integral

MOST_DEFINES = 64  # within one another


class Access(Calls):
    """Checking of names and of ways into objects."""

    def _ident(self, node: ast.Ident) -> Type:
        builtin = self.shared.known_builtins.get(node.name)
        if builtin is not None:
            if not builtin.variable:
                raise ScriptError(
                    f"{node.name}() is a function", node.span, f"{node.name}{builtin.signature}"
                )
            return self._builtin(builtin, node, ())
        if node.name in self._arrays:
            return self.variables[node.name]
        value = self.shared.define(node.name)
        if value is not None:
            if len(self._defining) >= MOST_DEFINES:
                raise ScriptError(f"#defines are nested more than {MOST_DEFINES} deep", node.span)
            if node.name in self._defining:
                raise ScriptError(f"the macro {node.name} contains itself", node.span)
            self._defining.append(node.name)
            self.replaced[node] = value
            kind = self._expr(value)
            self._defining.pop()
            return kind
        constant = self.shared.types.constant(node.name)
        if constant is not None:
            self.replaced[node] = self._literal(node, constant[1], constant[0])
            return constant[0]
        constants = self.shared.constants
        if node.name in constants:
            made = self._literal(node, constants[node.name])
            self.replaced[node] = made
            return self.types[made]
        raise ScriptError(f"Unknown identifier: '{node.name}'", node.span, self._meant(node.name))

    def _meant(self, name: str) -> str:
        """A hint for a bare name that means nothing: the same name with its sign, or one like it."""
        fields = self.context.args.names() if self.context.args is not None else ()
        signed = (*self.names.values(), *self.shared.maps, *(f"args.{field}" for field in fields))
        for other in signed:
            if name == other.removeprefix("args.").lstrip("$@"):
                return f"did you mean {other}?"
        if name in self.shared.known_aggregations:
            return f"{name}() must be assigned directly to a map: @name = {name}(...)"
        headers = self.shared.headers
        from_headers = headers.hint(name) if headers is not None else ""
        known = [*self.shared.known_builtins, *self.shared.constants, *self._arrays, *self.shared.defines]
        near = did_you_mean(name, known)
        if near and (headers is None or not headers.unread(name)):
            return near
        constants = self.shared.types.constants() if name.isupper() and not from_headers else ()
        signs = 'variables are written $name, maps @name, texts "..."'
        return from_headers or did_you_mean(name, constants) or signs

    def _param(self, node: ast.Param) -> Type:
        params = self.shared.options.params
        if node.number == 0:
            return self._number(node, len(params))
        text = self.parameter(node)
        if node.number > len(params):
            self.shared.warn(
                f"positional parameter ${node.number} was not given", node.span, 'it counts as 0 or ""'
            )
        if text is not None and text != "":
            value = _integer(text, node.span)
            if value is None:
                made = ast.Str(node.span, text)
                self.replaced[node] = made
                return self._expr(made)
            return self._number(node, value)
        return self._number(node, 0)

    def _number(self, node: ast.Expr, value: int) -> Type:
        """Let a node stand for a literal; its type."""
        made = self.replaced[node] = self._literal(node, value)
        return self.types[made]

    def _element(self, node: ast.Index) -> Type:
        base = self._expr(node.base)
        if len(node.keys) != 1:
            raise ScriptError("an array has one index", node.span)
        if not is_integral(self._expr(node.keys[0])):
            raise ScriptError("The array index must be an integer", node.keys[0].span)
        index = self.known_int(node.keys[0])
        if isinstance(base, Pointer):
            if isinstance(base.target, Void) or (isinstance(base.target, Struct) and not base.target.size):
                raise ScriptError(
                    f"cannot index a pointer to {base.target}", node.span, "cast it to another type"
                )
            return self._inherit(base.target, base)
        if isinstance(base, Array):
            if index is not None and base.count and not 0 <= index < base.count:
                raise ScriptError(
                    f"the index {index} is out of bounds for array of size {base.count}", node.span
                )
            return base.element
        if isinstance(base, Str):
            if index is not None and not 0 <= index < base.size:
                raise ScriptError(f"a string is indexed by a number below {base.size}", node.span)
            return CHAR
        if isinstance(base, Tuple):
            return self._tuple_item(base, str(self.literal_int(node.keys[0], "tuple index")), node.span)
        raise ScriptError(
            f"The array index operator [] can only be used on arrays, pointers, and tuples, found {base}.",
            node.span,
        )

    def _tuple_item(self, base: Tuple, name: str, span: Span) -> Type:
        if name in base.names:
            return base.elements[base.names.index(name)]
        if base.names:
            close = nearest(name, base.names, 1) or list(base.names)
            raise ScriptError(f"Record does not contain field '{name}'", span, f"did you mean {close[0]}?")
        if not name.isdigit() or int(name) >= len(base.elements):
            raise ScriptError(
                f"Invalid tuple index: {name}. Found {len(base.elements)} elements in tuple.",
                span,
                "they are counted from 0",
            )
        return base.elements[int(name)]

    def _inherit(self, kind: Type, base: Pointer) -> Type:
        """What is reached through a pointer lies where the pointer points, and so do its own pointers."""
        if (
            isinstance(kind, Pointer)
            and base.space in ("kernel", "user")
            and (not kind.space or base.space == "user")
        ):
            return Pointer(kind.target, base.space)
        return kind

    def _member(self, node: ast.Member) -> Type:
        base = self._expr(node.base)
        if isinstance(base, Tuple):
            kind = self._tuple_item(base, node.name, node.name_span)
            return self._known_item(node) or kind
        struct = base.target if isinstance(base, Pointer) else base
        if isinstance(node.base, ast.Int) and node.name.isdecimal():
            hint = "divide later, or print(@x, 0, 1000)"
            raise ScriptError(
                "numbers are integers, without fractions", node.base.span.to(node.name_span), hint
            )
        if not isinstance(struct, Struct):
            raise ScriptError(
                f"Can not access field '{node.name}' on expression of type '{base}'",
                node.base.span,
                self._cast_hint(node.base) if is_integral(base) else "",
            )
        member = struct.find(node.name)
        if member is None:
            raise self._no_member(node, struct)
        self.kept[node] = member
        kind = self._inherit(member.type, base) if isinstance(base, Pointer) else member.type
        kind = self._completed(kind)
        if member.data_loc and isinstance(kind, Array) and kind.element.size == 1:
            return Str(int(self.config["max_strlen"]))
        return kind

    def _known_item(self, node: ast.Member) -> Type | None:
        """Let a field of a record that is wholly known stand for its value; its type then."""
        whole = self.real(node.base)
        if not isinstance(whole, ast.Record) or not all(isinstance(item, LITERALS) for item in whole.items):
            return None
        self.replaced[node] = whole.items[whole.names.index(node.name)]
        return self._expr(self.replaced[node])

    def _completed(self, kind: Type) -> Type:
        """A pointer to a struct of which its origin (tracefs without BTF) knows the name alone."""
        if isinstance(kind, Pointer) and isinstance(kind.target, Struct) and not kind.target.size:
            known = self.shared.types.find(kind.target.name)
            if isinstance(known, Struct) and known.size:
                return Pointer(known, kind.space, kind.tag)
        return kind

    def _cast_hint(self, base: ast.Expr) -> str:
        if isinstance(base, ast.Ident) and base.name == "curtask" and self.target.types is None:
            return no_btf()
        return "cast it to a pointer to a struct first: ((struct x *)p)->field"

    def _no_member(self, node: ast.Member, struct: Struct) -> ScriptError:
        names = list(struct.names())
        renamed = MEMBERS.get((struct.name.removeprefix("struct "), node.name), ())
        close = [name for name in renamed if name.partition(".")[0] in names] or nearest(node.name, names, 3)
        if isinstance(node.base, ast.Ident) and node.base.name == "args":
            hint = f"did you mean {close[0]}?" if close else "fields here: " + ", ".join(names[:12])
            hint = dict(self.context.lacks).get(f"args.{node.name}", hint)
            return ScriptError(
                f"Can't find a field '{node.name}' in {self.context.label}", node.name_span, hint
            )
        shown = [name for name in names if name]
        some = ", ".join([*shown[:8], *["..."][: len(shown) > 8]])
        hint = "did you mean " + " or ".join(close) + "?" if close else f"it has {some}"
        if not names:
            hint = "its definition is not known here"
        return ScriptError(
            f"Struct/union of type '{struct}' does not contain a field named '{node.name}'",
            node.name_span,
            hint,
            close[0] if close and close[0] in renamed else "",
        )

    def fields_of(self, node: ast.Expr, base: ast.Expr) -> Type:
        """Let a node stand for a record of what a probe's `args` point to; its type."""
        base = ast.Ident(base.span, base.name) if isinstance(base, ast.Ident) else base
        kind = self._expr(base)
        assert isinstance(base, ast.Ident) and isinstance(kind, Pointer) and isinstance(kind.target, Struct)
        names = tuple(dict.fromkeys(kind.target.names()))
        if not names:
            raise ScriptError(f"there are no fields in {base.name} here", node.span)
        items = (ast.Member(node.span, ast.Ident(base.span, base.name), name, node.span) for name in names)
        made = ast.Record(node.span, names, tuple(items))
        self.replaced[node] = made
        self.types[node] = self._expr(made)
        return self.types[node]

    def _address_of(self, node: ast.Unary) -> Type:
        """Variables and maps without keys lie in memory of the kernel's."""
        if isinstance(node.operand, ast.Var):
            return Pointer(self._expr(node.operand), "kernel")
        if isinstance(node.operand, ast.Map):
            known = self._keyed(node.operand)
            if not known.aggregation:
                return Pointer(self._expr(node.operand), "kernel")
        raise ScriptError(
            "the address of this cannot be taken", node.span, "& takes a variable, or a map without keys"
        )


def _integer(text: str, span: Span) -> int | None:
    """A positional parameter as a number, if it is one: as scripts write them, or 0b101."""
    digits = text.removeprefix("-")
    binary = Regex(r"0[bB]([01]{1,64})").fullmatch(digits)
    try:
        value = int(binary[1], 2) if binary else number(digits, span)
    except ScriptError:
        return None
    return -value if text.startswith("-") else value
