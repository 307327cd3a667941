"""Rules of C definitions and of types: tree → nodes."""

from __future__ import annotations

from pbt.lang import ast
from pbt.lang.literals import MOST_SHAPE, character, in_order, number, parse_type
from pbt.lang.rules import Rules
from pbt.regex import Regex
from pbt.source import ScriptError, Span
from pbt.typing import Any


class CRules(Rules):
    """struct, union and enum; types in casts and annotations."""

    def _forward(self, tree: Any, span: Span) -> None:
        """A declaration without members says nothing that a pointer to the name does not."""

    def _typedef(self, tree: Any, span: Span) -> list[ast.Typedef]:
        return [ast.Typedef(made.span, made) for made in self._members(tree)]

    def _struct_def(self, tree: Any, span: Span) -> ast.StructDef:
        kind, *rest = tree.children
        attributes, name, inner = self._parts(rest)
        members = [made for field in inner for made in self._members(field)]
        packed, aligned = self._attributes(attributes)
        return ast.StructDef(span, str(kind), name, tuple(members), packed, aligned)

    def _enum_def(self, tree: Any, span: Span) -> ast.EnumDef:
        attributes, name, inner = self._parts(tree.children[1:])
        return ast.EnumDef(
            span, name, tuple(self._enumerator(e) for e in inner), self._attributes(attributes)[0]
        )

    def _enumerator(self, tree: Any) -> tuple[str, ast.Expr | None]:
        name, *value = tree.children
        if value and getattr(value[0], "type", "") == "CHARACTER":
            at = self.at(value[0])
            return str(name), ast.Int(at, character(value[0], at))
        return str(name), self.make(value[0]) if value else None

    def _parts(self, parts: list[Any]) -> tuple[list[Any], str, list[Any]]:
        """Attributes, name and what is between the braces."""
        attributes = [part for part in parts if getattr(part, "type", "") == "ATTRIBUTE"]
        names = [str(part) for part in parts if getattr(part, "type", "") == "NAME"]
        return attributes, (names or [""])[0], [part for part in parts if hasattr(part, "data")]

    def _attributes(self, tokens: list[Any]) -> tuple[bool, ast.Expr | None]:
        """Whether `packed` is among them, and what `aligned` says."""
        packed, aligned = False, None
        for token in tokens:
            packed = packed or Regex(r"\b(__)?packed(__)?\b").search(token) is not None
            match = Regex(r"\b(?:__)?aligned(?:__)?\b\s*(?:\(\s*(\w+)\s*\))?").search(token)
            if match:
                aligned = self._alignment(match[1] or "16", self.at(token))
        return packed, aligned

    def _alignment(self, word: str, span: Span) -> ast.Expr:
        return ast.Int(span, number(word, span)) if word[0].isdigit() else ast.Ident(span, word)

    def _members(self, field: Any) -> list[ast.FieldDef]:
        words: list[str] = []
        inline, made = None, []
        for part in field.children:
            if part.data == "declarator":
                made.append(self._declared(part, " ".join(words), inline))
            elif part.data == "bits":
                return [self._room(part, words[0])]
            elif part.data != "word":
                return [ast.FieldDef(self.span(field), "", "", (), None, self.make(part), None, False)]
            elif hasattr(part.children[0], "data"):
                inline = self.make(part.children[0])
            else:
                words += [str(token) for token in part.children if token.type != "QUALIFIER"]
        return made

    def _room(self, bits: Any, words: str) -> ast.FieldDef:
        width = self.make(bits.children[0])
        return ast.FieldDef(self.span(bits), "", words, (), width, None, None, False)

    def _declared(self, tree: Any, words: str, inline: Any) -> ast.FieldDef:
        name, shape, bits, attributes = self._declarator(tree)
        if bits is not None and name in _BASE_WORDS:  # `unsigned int : 3`
            name, words = "", f"{words} {name}"
        if len(shape) > MOST_SHAPE:
            message = f"a declarator has at most {MOST_SHAPE} stars and dimensions"
            raise ScriptError(message, self.span(tree))
        packed, aligned = self._attributes(attributes)
        return ast.FieldDef(self.span(tree), name, words, tuple(shape), bits, inline, aligned, packed)

    def _declarator(self, tree: Any) -> tuple[str, list[Any], ast.Expr | None, list[Any]]:
        """Name, shape, width in bits, attributes."""
        kinds = {
            kind: [p for p in tree.children if _kind(p) == kind] for kind in {*map(_kind, tree.children)}
        }
        behind = [self._suffix(p) for p in tree.children if _kind(p) in ("bound", "parameters")]
        shape = ["*"] * len(kinds.get("pointer", ())) + behind[::-1]
        bits = self.make(kinds["bits"][0].children[0]) if "bits" in kinds else None
        attributes = kinds.get("ATTRIBUTE", [])
        if "NAME" in kinds:
            return str(kinds["NAME"][0]), shape, bits, attributes
        name, inner, bits, more = self._declarator(kinds["declarator"][0])
        return name, shape + inner, bits, attributes + more

    def _suffix(self, part: Any) -> Any:
        if part.data == "parameters":
            return "()"
        return self.make(part.children[0]) if part.children else None

    def _type(self, tree: Any, span: Span) -> ast.TypeName | ast.TypeOf:
        first = tree.children[0]
        if getattr(first, "data", "") == "typeof":
            made: ast.TypeOf = self.make(first)
            return made
        return parse_type(span.text, span)

    def _typeof(self, tree: Any, span: Span) -> ast.TypeOf:
        of, *suffixes = tree.children
        parts = [part.children[0] for part in suffixes]
        steps = [self._dim(part) if getattr(part, "data", "") == "dim" else "*" for part in parts]
        return ast.TypeOf(span, self._of(of), in_order(steps))

    def _dim(self, tree: Any) -> int | None:
        return number(tree.children[0], self.at(tree.children[0])) if tree.children else None

    def _of(self, part: Any) -> Any:
        """What sizeof, typeof or typeinfo is asked about: a type or an expression."""
        return self._cast_type(part) if hasattr(part, "type") else self.make(part)

    def _cast_type(self, token: Any) -> ast.TypeName:
        return parse_type(str(token)[1:-1], self.at(token))


_BASE_WORDS = ("char", "short", "int", "long", "signed", "unsigned")


def _kind(part: Any) -> str:
    return str(getattr(part, "type", None) or part.data)
