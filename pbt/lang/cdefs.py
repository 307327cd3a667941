"""Definitions of headers through `pycparser`: its tree → nodes of the language's own tree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pycparser import CParser, c_ast
from pycparser.c_parser import ParseError

from pbt.lang import ast
from pbt.lang.cpp import MARK, Declaration
from pbt.source import Source, Span
from pbt.typing import Any

_PRELUDE = (
    "typedef struct { unsigned long a [3] ; } __builtin_va_list ; typedef int "
    "bool , u8 , u16 , u32 , u64 , s8 , s16 , s32 , s64 , __u8 , __u16 , __u32 , __u64 , __s8 , __s16 , __s32 ,"
    " __s64 , size_t , ssize_t , uint8_t , uint16_t , uint32_t , uint64_t , int8_t , int16_t , int32_t , int64_t ,"
    " uintptr_t , intptr_t , __be16 , __be32 , __be64 , __le16 , __le32 , __le64 , wchar_t ;"
)
_MOST_RETRIES = 60
_TYPE_WORD = re.compile(
    r"(?:(?<=[{;(,] )|(?<=const )|(?<=typedef )|(?<=volatile ))([A-Za-z_]\w*) (?=[A-Za-z_*])"
)
_KEYWORDS = frozenset(
    (
        "struct", "union", "enum", "const", "volatile", "signed", "unsigned", "char", "short", "int", "long",
        "float", "double", "void", "_Bool", "typedef", "sizeof", "__int128",
    )
)  # fmt: skip
"""What may stand in front of another word and is no name of a type."""


def read(declarations: Sequence[Declaration]) -> dict[str, ast.Definition]:
    """What declarations define, by its spelling: "struct x", "enum y", the name of a typedef. Those without
    a name are there too, under numbers. What the parser does not understand is left out."""
    texts = [declaration.text for declaration in declarations]
    tree, assumed = None, set[str]()
    for _ in range(_MOST_RETRIES):
        tree, bad = _parse([_PRELUDE + "".join(f" typedef int {name} ;" for name in sorted(assumed)), *texts])
        if tree is not None:
            break
        more = set(_TYPE_WORD.findall(texts[bad - 1])) - assumed - _KEYWORDS
        if more:
            assumed |= more
        else:
            texts[bad - 1] = ""
    found: dict[str, ast.Definition] = {}
    for node in tree.ext if tree is not None else ():
        line = node.coord.line - 2
        if line >= 0:
            for made in _Maker(declarations[line]).top(node):
                found.setdefault(_spelling(made) or str(len(found)), made)
    return found


def _parse(texts: Sequence[str]) -> tuple[Any, int]:
    """The tree of declarations, one a line; or None and the number of one that is not understood."""
    try:
        return CParser().parse("\n".join(texts)), 0
    except ParseError as error:
        line = re.match(r"[^:]*:(\d+):", str(error))
    bad = int(line[1]) - 1 if line else 0
    if 0 < bad < len(texts) and texts[bad]:
        return None, bad
    low, high = 1, len(texts)  # the fewest declarations that are not understood
    while low + 1 < high:
        middle = (low + high) // 2
        try:
            CParser().parse("\n".join(texts[:middle]))
            low = middle
        except ParseError:
            high = middle
    return None, high - 1


def _spelling(made: ast.Definition) -> str:
    if isinstance(made, ast.Typedef):
        return made.field.name
    kind = made.kind if isinstance(made, ast.StructDef) else "enum"
    return f"{kind} {made.name}" if made.name else ""


def by_constant(definitions: Iterable[ast.Definition]) -> dict[str, ast.EnumDef]:
    """The enums among definitions, also those inside others, by the names of their constants."""
    found: dict[str, ast.EnumDef] = {}
    for definition in definitions:
        for node in definition.walk():
            if isinstance(node, ast.EnumDef):
                found.update({name: node for name, _ in node.values})
    return found


class _Maker:
    def __init__(self, declaration: Declaration) -> None:
        """Nodes of one declaration all stand where it begins."""
        before = "\n" * (declaration.line - 1)
        source = Source(declaration.path, before + declaration.text)
        self.span = Span(source, len(before), len(source.text))

    def top(self, node: Any) -> list[ast.Definition]:
        if isinstance(node, c_ast.Typedef):
            made = ast.Typedef(self.span, self.field(node))
            inline = made.field.inline
            named = inline is not None and inline.name
            return [inline, made] if named else [made]  # type: ignore[list-item]
        if isinstance(node, c_ast.Decl) and isinstance(node.type, (c_ast.Struct, c_ast.Union, c_ast.Enum)):
            return [self.definition(node.type)]
        inner = getattr(node, "type", None)
        while inner is not None and not isinstance(inner, (c_ast.Struct, c_ast.Union, c_ast.Enum)):
            inner = getattr(inner, "type", None) if not isinstance(inner, list) else None
        return [self.definition(inner)] if inner is not None and _defines(inner) else []

    def definition(self, node: Any) -> ast.StructDef | ast.EnumDef:
        if isinstance(node, c_ast.Enum):
            items = node.values.enumerators if node.values else []
            values = tuple((e.name, self.expr(e.value) if e.value is not None else None) for e in items)
            return ast.EnumDef(self.span, node.name or "", values, False)
        kind = "union" if isinstance(node, c_ast.Union) else "struct"
        members: list[ast.FieldDef] = []
        packed, aligned = False, None
        for decl in node.decls or ():
            name = getattr(decl, "name", None) or ""
            if not name.startswith(MARK):
                members += [self.field(decl)] if isinstance(decl, c_ast.Decl) else []
                continue
            mark = name.removeprefix(MARK)
            value = self.expr(decl.type.dim) if isinstance(decl.type, c_ast.ArrayDecl) else None
            if mark.startswith("member_") and members:
                members[-1] = _marked(members[-1], mark.removeprefix("member_"), value)
            elif mark == "packed":
                packed = True
            else:
                aligned = value
        return ast.StructDef(self.span, kind, node.name or "", tuple(members), packed, aligned)

    def field(self, decl: Any) -> ast.FieldDef:
        shape: list[Any] = []
        inner = decl.type
        while not isinstance(inner, (c_ast.TypeDecl, c_ast.Struct, c_ast.Union, c_ast.Enum)):
            if isinstance(inner, c_ast.PtrDecl):
                shape.append("*")
            elif isinstance(inner, c_ast.ArrayDecl):
                shape.append(self.expr(inner.dim) if inner.dim is not None else None)
            else:
                shape.append("()")
            inner = inner.type
        base = inner.type if isinstance(inner, c_ast.TypeDecl) else inner
        words, inline = self.base(base)
        bits = self.expr(decl.bitsize) if getattr(decl, "bitsize", None) is not None else None
        return ast.FieldDef(
            self.span, decl.name or "", words, tuple(reversed(shape)), bits, inline, None, False
        )

    def base(self, node: Any) -> tuple[str, ast.StructDef | ast.EnumDef | None]:
        if isinstance(node, c_ast.IdentifierType):
            return " ".join(node.names), None
        if _defines(node):
            return "", self.definition(node)
        kind = {"Struct": "struct", "Union": "union"}.get(type(node).__name__, "enum")
        return f"{kind} {node.name}", None

    def type_name(self, node: Any) -> ast.TypeName:
        made = self.field(node)
        steps = ("*" if p == "*" else p.value if isinstance(p, ast.Int) else None for p in made.shape)
        return ast.TypeName(self.span, made.words, tuple(steps))

    def expr(self, node: Any) -> ast.Expr:
        span = self.span
        if isinstance(node, c_ast.Constant):
            return ast.Int(span, _number(node.value))
        if isinstance(node, c_ast.ID):
            return ast.Ident(span, node.name)
        if isinstance(node, c_ast.UnaryOp) and node.op == "sizeof":
            inner = node.expr
            of = self.type_name(inner) if isinstance(inner, c_ast.Typename) else self.expr(inner)
            return ast.Sizeof(span, of)
        if isinstance(node, c_ast.UnaryOp) and node.op in ("-", "~", "!", "+"):
            inner = self.expr(node.expr)
            return inner if node.op == "+" else ast.Unary(span, node.op, inner)
        if isinstance(node, c_ast.BinaryOp):
            return ast.Binary(span, node.op, self.expr(node.left), self.expr(node.right))
        if isinstance(node, c_ast.TernaryOp):
            return ast.Ternary(span, self.expr(node.cond), self.expr(node.iftrue), self.expr(node.iffalse))
        if isinstance(node, c_ast.Cast):
            return ast.Cast(span, self.type_name(node.to_type), self.expr(node.expr))
        return ast.Str(span, "")  # nothing that `constexpr` gives a value


def _defines(node: Any) -> bool:
    if isinstance(node, c_ast.Enum):
        return node.values is not None
    return isinstance(node, (c_ast.Struct, c_ast.Union)) and node.decls is not None


def _marked(member: ast.FieldDef, mark: str, value: ast.Expr | None) -> ast.FieldDef:
    packed, aligned = member.packed or mark == "packed", value if mark == "aligned" else member.aligned
    return ast.FieldDef(
        member.span, member.name, member.words, member.shape, member.bits, member.inline, aligned, packed
    )


def _number(text: str) -> int:
    if text[0] == "'":
        return ord(text[1:-1].encode().decode("unicode_escape")[0])
    digits = text.rstrip("uUlL")
    if digits[:2].lower() in ("0x", "0b"):
        return int(digits, 0)
    return int(digits, 8) if digits[0] == "0" and digits.isdigit() else int(float(digits))
