"""Script → canonical text: the same tokens and comments, laid out anew.

Nothing is modernised and no parenthesis moved; only blanks and newlines change, a `;` is put after the
last statement of a block, and a `;` or `,` that separates nothing goes. The rules of the grammar are laid
out by `_LAYOUTS`; a rule without a row there has its tokens in a line, spaced by `_apart`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from pbt.lang.concrete import Branch, Leaf, Note, concrete, first_leaf, last_leaf
from pbt.lang.document import (
    FRESH,
    LINE,
    Align,
    Cat,
    Doc,
    Fill,
    Flush,
    Fresh,
    Group,
    Nest,
    Text,
    cat,
    joined,
    render,
)
from pbt.lang.parse import parse
from pbt.source import Source
from pbt.typing import TypeAlias

WIDTH = 80
STEP = 2  # columns of indentation

Node: TypeAlias = Branch | Leaf


def format_script(source: Source) -> str:
    """The canonical text of a script. ScriptErrors for one with syntax errors."""
    parse(source, whole=False)
    return render(_Layout().start(concrete(source)), WIDTH)


class _Layout:
    """Trees → documents. Tokens that are added or left out keep the notes around them in their places."""

    def __init__(self) -> None:
        self._suffix: dict[Leaf, str] = {}
        self._dropped: set[Leaf] = set()
        self._values: set[Branch] = set()  # blocks whose last statement is the value of something around them
        self._noted: set[Leaf] = set()

    def doc(self, node: Node) -> Doc:
        """A node, after the notes before it: they break no group that begins with its first token."""
        if isinstance(node, Leaf):
            return self.leaf(node)
        notes = tuple(self.notes(first_leaf(node)))
        made = _LAYOUTS.get(node.kind, _Layout.plain)(self, node)
        return Cat((*notes, made)) if notes else made

    def docs(self, nodes: Sequence[Node]) -> list[Doc]:
        return [self.doc(node) for node in nodes]

    def plain(self, node: Branch) -> Doc:
        """Children in a line."""
        return self.line(node.children)

    def line(self, nodes: Sequence[Node]) -> Doc:
        return self.spaced(nodes, lambda left, right: _apart(last_leaf(left), first_leaf(right)))

    def tight(self, node: Branch) -> Doc:
        """Children without blanks, but where two signs would become another."""

        def apart(left: Node, right: Node) -> bool:
            return (
                last_leaf(left).text[-1:] in ("-", "&")
                and first_leaf(right).text[:1] == last_leaf(left).text[-1:]
            )

        return self.spaced(node.children, apart)

    # --- tokens and notes

    def leaf(self, leaf: Leaf) -> Doc:
        text = "" if leaf in self._dropped else _respaced(leaf)
        parts = [*self.notes(leaf)]
        parts.append(Text(text + self._suffix.get(leaf, "")))
        parts += [Text(" " + note.text) for note in leaf.after]
        return Cat((*parts, FRESH)) if leaf.after else Cat(tuple(parts))

    def notes(self, leaf: Leaf) -> Iterator[Doc]:
        """What stands before a token, the first time it is asked for."""
        if leaf in self._noted:
            return
        self._noted.add(leaf)
        for number, note in enumerate(leaf.before):
            if note.own:
                yield Fresh(note.blank and number > 0)
            yield _note(note)
            yield FRESH if note.kind != "/*" else Text(" ")
            if note.kind == "/*" and not (number + 1 == len(leaf.before) and leaf.inline):
                yield FRESH
        if leaf.before and leaf.blank:
            yield Fresh(True)

    def drop(self, node: Node) -> None:
        self._dropped.add(last_leaf(node))

    def end(self, node: Node, text: str) -> None:
        """Put text after a node, before the notes that follow it."""
        self._suffix[last_leaf(node)] = text

    # --- lines of a block

    def lines(self, nodes: Sequence[Node]) -> list[Doc]:
        """Each node on lines of its own, with the blank lines between them that the script has."""
        parts: list[Doc] = []
        for number, node in enumerate(nodes):
            parts += [Fresh(number > 0 and _blank_before(node)), self.doc(node)]
        return parts

    def braces(self, opening: Leaf, nodes: Sequence[Node], closing: Leaf) -> Doc:
        """`{`, indented lines, `}`."""
        notes = (
            [Fresh(bool(nodes) and _blank_before(closing)), *self.notes(closing)] if closing.before else []
        )
        if not nodes and not notes and not opening.after:
            return cat(self.doc(opening), self.leaf(closing))
        inside = Nest(STEP, Cat((*self.lines(nodes), *notes)))
        return cat(self.doc(opening), inside, FRESH, self.leaf(closing))

    def block(self, node: Branch) -> Doc:
        opening, *items, closing = node.children
        assert isinstance(opening, Leaf) and isinstance(closing, Leaf)
        for item in items:
            if item.kind == "last" and node not in self._values:
                self.end(item, ";")
        return self.braces(opening, items, closing)

    def valued(self, items: Sequence[Node]) -> None:
        """The last of these statements is a value, and so is what the blocks in it end with."""
        pending = [*items[-1:]]
        while pending:
            node = pending.pop()
            if isinstance(node, Branch) and node.kind == "block":
                self._values.add(node)
                pending += node.children[-2:-1]
            elif isinstance(node, Branch) and node.kind == "if":
                pending += node.children

    def item(self, node: Branch) -> Doc:
        """A statement with its `;`, which compound ones do not need."""
        stmt, semicolon = node.children
        if stmt.kind in _COMPOUND:
            self.drop(semicolon)
        return cat(self.doc(stmt), self.doc(semicolon))

    def value_block(self, node: Branch) -> Doc:
        """`{ statements; value }`, on one line where there is room."""
        opening, *items, closing = node.children
        assert isinstance(opening, Leaf) and isinstance(closing, Leaf)
        self.valued(items)
        inner = cat(LINE, joined(self.docs(items), LINE), *self.notes(closing))
        return Group(cat(self.doc(opening), Nest(STEP, inner), LINE, self.leaf(closing)))

    # --- the whole

    def start(self, tree: Branch) -> Doc:
        parts: list[Doc] = []
        *nodes, end = tree.children
        for number, node in enumerate(nodes):
            if node.kind in ("struct_def", "enum_def"):
                self.end(node, ";")
            apart = number > 0 and (node.kind in _APART or nodes[number - 1].kind in _APART)
            parts += [Fresh(number > 0 and (apart or _blank_before(node))), self.doc(node)]
        return cat(*parts, Fresh(bool(nodes) and _blank_before(end)), self.doc(end))

    def definition(self, node: Branch) -> Doc:
        """A struct or enum with its `;`."""
        return cat(*self.docs(node.children))

    def struct(self, node: Branch) -> Doc:
        at = next(i for i, child in enumerate(node.children) if child.kind == "LBRACE")
        to = next(i for i, child in enumerate(node.children) if child.kind == "RBRACE")
        opening, closing = node.children[at], node.children[to]
        assert isinstance(opening, Leaf) and isinstance(closing, Leaf)
        body = self.braces(opening, _rows(node.children[at + 1 : to]), closing)
        return cat(
            self.line(node.children[:at]),
            " ",
            body,
            *(cat(" ", self.doc(c)) for c in node.children[to + 1 :]),
        )

    def field(self, node: Branch) -> Doc:
        """`unsigned int a, b[2]`"""
        return self.spaced(node.children, lambda left, right: right.kind not in ("COMMA", "SEMICOLON"))

    def declarator(self, node: Branch) -> Doc:
        """`*next`, `cells[2][3]`, `x : 3`, `(*call)(int, char *)`."""
        return self.spaced(node.children, lambda left, right: (
            left.kind in ("COMMA", "QUALIFIER") or right.kind in ("bits", "ATTRIBUTE")
            or last_leaf(left).kind == "QUALIFIER"
        ))  # fmt: skip

    def spaced(self, nodes: Sequence[Node], apart: Callable[[Node, Node], bool]) -> Doc:
        """Nodes in a line, with a blank between two that stand apart."""
        parts: list[Doc | str] = []
        for number, node in enumerate(nodes):
            parts += [" " * (number > 0 and apart(nodes[number - 1], node)), self.doc(node)]
        return cat(*parts)

    def enum(self, node: Branch) -> Doc:
        at = next(i for i, child in enumerate(node.children) if child.kind == "LBRACE")
        *values, closing = node.children[at + 1 :]
        assert isinstance(closing, Leaf)
        inner = Nest(
            STEP, cat(LINE, joined(self.separated(values, trailing=True), LINE), *self.notes(closing))
        )
        body = Group(cat(self.doc(node.children[at]), inner, LINE, self.leaf(closing)))
        return cat(self.line(node.children[:at]), " ", body)

    def config(self, node: Branch) -> Doc:
        word, equals, opening, *rest, closing = node.children
        assert isinstance(opening, Leaf) and isinstance(closing, Leaf)
        return cat(self.doc(word), " ", self.doc(equals), " ", self.braces(opening, _rows(rest), closing))

    def ended(self, node: Branch) -> Doc:
        """Children in a line, and a `;` if there is none."""
        if last_leaf(node).text != ";":
            self.end(node, ";")
        return self.line(node.children)

    def with_body(self, node: Branch) -> Doc:
        """What a body belongs to, and the body on a line of its own."""
        *head, body = node.children
        return cat(*(piece for part in self.heads(head) for piece in (part, FRESH)), self.doc(body))

    def heads(self, nodes: Sequence[Node]) -> list[Doc]:
        if nodes[0].kind == "points":
            return self.docs(nodes)
        return [self.line(nodes)]

    def macro(self, node: Branch) -> Doc:
        """The last statement of a macro is its value and keeps its end."""
        *head, body = node.children
        assert isinstance(body, Branch)
        opening, *items, closing = body.children
        assert isinstance(opening, Leaf) and isinstance(closing, Leaf)
        self.valued(items)
        return cat(self.line(head), FRESH, self.braces(opening, items, closing))

    def points(self, node: Branch) -> Doc:
        if last_leaf(node).text == ",":
            self.drop(last_leaf(node))
        return joined(self.separated(node.children), FRESH)

    def predicate(self, node: Branch) -> Doc:
        """`/` and a comment at once would be another comment."""
        opening, expr, closing = node.children
        blank = " " if first_leaf(expr).before else ""
        return cat(self.doc(opening), blank, Align(self.doc(expr)), self.doc(closing))

    # --- statements

    def headed(self, node: Branch) -> Doc:
        """`while (x) {`, `for (...) {`, `if x { } else { }`: words, heads and blocks on a line."""
        return cat(*(piece for child in node.children for piece in (self.doc(child), " ")))

    def for_(self, node: Branch) -> Doc:
        *head, block = node.children

        def apart(left: Node, right: Node) -> bool:
            return "COLON" in (left.kind, right.kind) or _apart(last_leaf(left), first_leaf(right))

        return cat(self.spaced(head, apart), " ", self.doc(block))

    def assign(self, node: Branch) -> Doc:
        return joined(self.docs(node.children), Text(" "))

    # --- expressions

    def chain(self, node: Branch) -> Doc:
        """Operators of one precedence: breaks come after them."""
        parts: list[Doc] = []
        left: Node = node
        while isinstance(left, Branch) and left.rule == node.rule and left.kind in _CHAINS:
            left, op, right = left.children
            parts[:0] = [Text(" "), self.doc(op), LINE, self.doc(right)]
        parts.insert(0, self.doc(left))
        return (
            Group(Cat(tuple(parts)))
            if first_leaf(node.children[1]).text in ("&&", "||")
            else _fill_chain(parts)
        )

    def ternary(self, node: Branch) -> Doc:
        condition, question, then, colon, other = node.children
        arms = (LINE, self.doc(question), " ", self.doc(then), LINE, self.doc(colon), " ", self.doc(other))
        return Group(cat(self.doc(condition), Nest(2 * STEP, cat(*arms))))

    def elvis(self, node: Branch) -> Doc:
        condition, question, colon, other = node.children
        rest = (LINE, self.doc(question), self.doc(colon), " ", self.doc(other))
        return Group(cat(self.doc(condition), Nest(2 * STEP, cat(*rest))))

    def call(self, node: Branch) -> Doc:
        """`name(a, b)`, `base[a, b]`, `(a, b)`: what is in brackets is aligned."""
        at = next(i for i, child in enumerate(node.children) if child.kind in ("LPAR", "LSQB"))
        *inner, closing = node.children[at + 1 :]
        one = node.kind == "tuple" and sum(child.kind == "COMMA" for child in inner) == 1 and len(inner) == 2
        parts = self.separated(inner, keep_last=one)
        return cat(
            *self.docs(node.children[: at + 1]), Align(Fill(tuple(parts))), self.doc(closing)
        )  # fmt: skip

    def separated(self, nodes: Sequence[Node], trailing: bool = False, keep_last: bool = False) -> list[Doc]:
        """Items, each with the comma after it; a comma after the last is left out, or added if `trailing`."""
        parts: list[Doc] = []
        for number, node in enumerate(nodes):
            if node.kind == "COMMA":
                if number + 1 == len(nodes) and not keep_last and not trailing:
                    self.drop(node)
                parts[-1] = cat(parts[-1], self.doc(node))
            else:
                parts.append(self.doc(node))
        return parts

    def group(self, node: Branch) -> Doc:
        opening, inner, closing = node.children
        return cat(self.doc(opening), Align(self.doc(inner)), self.doc(closing))


def _fill_chain(parts: Sequence[Doc]) -> Doc:
    """Operand, then (" ", operator, line, operand) over and over → operands with their operators, filled."""
    lines: list[list[Doc]] = [[]]
    for part in parts:
        if part == LINE:
            lines.append([])
        else:
            lines[-1].append(part)
    return Align(Fill(tuple(Cat(tuple(line)) for line in lines)))


def _note(note: Note) -> Doc:
    """A note's text: directives at the margin, the stars of a block comment below each other."""
    if note.kind in ("directive", "left out"):
        return Flush(note.text)
    lines = [line.strip() for line in note.text.split("\n")]
    if note.own and note.kind == "/*" and all(line.startswith("*") for line in lines[1:]):
        return cat(lines[0], Nest(1, cat(*(piece for line in lines[1:] for piece in (FRESH, line)))))
    return Text(note.text)


def _blank_before(node: Node) -> bool:
    leaf = first_leaf(node)
    return leaf.before[0].blank if leaf.before else leaf.blank


_CLOSE = {")", "]", ",", ";", ".", "->", "..", "++", "--", ":"}
_OPEN = {"(", "[", ".", "->", "..", "!", "~"}


def _apart(left: Leaf, right: Leaf) -> bool:
    """Whether a blank stands between two tokens of a rule that has no layout of its own."""
    if left.text in _OPEN or right.text in _CLOSE or left.text == "*":
        return False
    return right.text not in ("(", "[") or left.kind not in _NAMES


def _respaced(leaf: Leaf) -> str:
    """A token's own text; the blanks inside a cast are set in order."""
    if leaf.kind != "CAST":
        return leaf.text
    text = re.sub(r"\s+", " ", re.sub(r"\s*([()\[\]*])\s*", r"\1", leaf.text))
    return re.sub(r"(?<=[\w\]])\*", " *", text)


_NAMES = {"NAME", "SIZEOF", "OFFSETOF", "TYPEOF", "TYPEINFO", "MAP"}
_COMPOUND = {"if", "while", "unroll", "for_range", "for_map", "block"}


def _rows(nodes: Sequence[Node]) -> list[Node]:
    """What may end with a `;`, each together with its own."""
    rows: list[Node] = []
    for node in nodes:
        if node.kind == "SEMICOLON":
            rows[-1] = Branch("row", -1, (*rows[-1].children, node))  # type: ignore[union-attr]
        else:
            rows.append(Branch("row", -1, (node,)))
    return rows


_APART = {"probe", "macro", "function", "struct_def", "definition", "enum_def", "config"}
_CHAINS = {"binary", "add", "div", "mod", "bitor", "bitxor", "bitand"}

_LAYOUTS: dict[str, Callable[[_Layout, Branch], Doc]] = {
    "definition": _Layout.definition,
    "struct_def": _Layout.struct,
    "enum_def": _Layout.enum,
    "field": _Layout.field,
    "typedef": _Layout.field,
    "declarator": _Layout.declarator,
    "parameters": _Layout.declarator,
    "config": _Layout.config,
    "row": _Layout.ended,
    "import": _Layout.ended,
    "probe": _Layout.with_body,
    "function": _Layout.with_body,
    "macro": _Layout.macro,
    "points": _Layout.points,
    "predicate": _Layout.predicate,
    "body": _Layout.block,
    "block": _Layout.block,
    "block_value": _Layout.value_block,
    "item": _Layout.item,
    "if": _Layout.headed,
    "if_value": _Layout.headed,
    "while": _Layout.headed,
    "for_range": _Layout.for_,
    "for_map": _Layout.for_,
    "assign": _Layout.assign,
    "ternary": _Layout.ternary,
    "elvis": _Layout.elvis,
    "call": _Layout.call,
    "index": _Layout.call,
    "tuple": _Layout.call,
    "record": _Layout.call,
    "group": _Layout.group,
    **dict.fromkeys(_CHAINS, _Layout.chain),
    **dict.fromkeys(
        (
            "cast",
            "unary",
            "address_of",
            "pre_step",
            "post_step",
            "member",
            "sizeof",
            "type_suffix",
            "dim",
            "bound",
            "pointer",
            "typeof",
        ),
        _Layout.tight,
    ),
}
