"""Rules of C definitions and of types: tree → nodes."""

from __future__ import annotations

import re
from typing import Any

from pbt.lang import ast
from pbt.lang.literals import number, parse_type
from pbt.lang.rules import Rules
from pbt.source import Span


class CRules(Rules):
    """struct, union and enum; types in casts and annotations."""

    def _forward(self, tree: Any, span: Span) -> None:
        """A declaration without members says nothing that a pointer to the name does not."""

    def _struct_def(self, tree: Any, span: Span) -> ast.StructDef:
        kind, *rest = tree.children
        attributes = [part for part in rest if getattr(part, "type", "") == "ATTRIBUTE"]
        rest = [part for part in rest if getattr(part, "type", "") != "ATTRIBUTE"]
        name = str(rest.pop(0)) if rest and getattr(rest[0], "type", "") == "NAME" else ""
        packed = any(re.search(r"\b(__)?packed(__)?\b", str(part)) for part in attributes)
        members = [m for field in rest for m in self._members(field)]
        return ast.StructDef(span, str(kind), name, tuple(members), packed)

    def _members(self, field: Any) -> list[ast.FieldDef]:
        first = field.children[0]
        if first.data != "word":
            return [ast.FieldDef(self.span(field), "", "", 0, (), 0, self.make(first), False)]
        words: list[str] = []
        inline, declarators = None, []
        for part in field.children:
            if part.data == "bits":
                width = number(part.children[0], self.at(part.children[0]))
                return [ast.FieldDef(self.span(field), "", words[0], 0, (), width, None, False)]
            if part.data != "word":
                declarators.append(part)
            elif hasattr(part.children[0], "data"):
                inline = self.make(part.children[0])
            else:
                words.extend(str(token) for token in part.children)
        spelled = " ".join(w for w in words if w not in ("const", "volatile", "restrict", "static"))
        return [self._declared(d, spelled, inline) for d in declarators]

    def _declared(self, tree: Any, words: str, inline: Any) -> ast.FieldDef:
        stars, name, dims, bits, function = 0, "", [], 0, False
        for part in tree.children:
            kind = getattr(part, "type", None) or part.data
            if kind == "STAR":
                stars += 1
            elif kind == "NAME":
                name = str(part)
            elif kind == "dim":
                dims.append(number(part.children[0], self.at(part.children[0])) if part.children else 0)
            elif kind == "bits":
                bits = number(part.children[0], self.at(part.children[0]))
        tokens = self.source.text[tree.start_pos : tree.end_pos]
        function = tokens.startswith("(")
        return ast.FieldDef(self.span(tree), name, words, stars, tuple(dims), bits, inline, function)

    def _enum_def(self, tree: Any, span: Span) -> ast.EnumDef:
        _, *rest = tree.children
        name = str(rest.pop(0)) if getattr(rest[0], "type", "") == "NAME" else ""
        return ast.EnumDef(span, name, tuple(self._enumerator(e) for e in rest))

    def _enumerator(self, tree: Any) -> tuple[str, int | None]:
        name, *value = tree.children
        if not value:
            return str(name), None
        digits = value[0].children[-1]
        return str(name), number(digits, self.at(digits)) * (-1 if len(value[0].children) > 1 else 1)

    def _type(self, tree: Any, span: Span) -> ast.TypeName | ast.TypeOf:
        first = tree.children[0]
        if getattr(first, "data", "") == "typeof":
            made: ast.TypeOf = self.make(first)
            return made
        return parse_type(span.text, span)

    def _typeof(self, tree: Any, span: Span) -> ast.TypeOf:
        of, *suffixes = tree.children
        shape = [part.children[0] for part in suffixes]
        stars = sum(getattr(part, "type", "") == "STAR" for part in shape)
        dims = [part for part in shape if getattr(part, "data", "") == "dim"]
        return ast.TypeOf(span, self._of(of), stars, tuple(self._dim(part) for part in dims))

    def _dim(self, tree: Any) -> int | None:
        return number(tree.children[0], self.at(tree.children[0])) if tree.children else None

    def _of(self, part: Any) -> Any:
        """What sizeof, typeof or typeinfo is asked about: a type or an expression."""
        return self._cast_type(part) if hasattr(part, "type") else self.make(part)

    def _cast_type(self, token: Any) -> ast.TypeName:
        return parse_type(str(token)[1:-1], self.at(token))
