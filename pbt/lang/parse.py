"""Text → syntax tree: `parse` for scripts, `parse_expr` for the values of #define."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from pbt.lang import ast
from pbt.lang.preprocess import Define, preprocess
from pbt.source import ScriptError, ScriptErrors, ScriptWarning, Source, Span

if TYPE_CHECKING:
    from lark import Token, Tree

    Branch: TypeAlias = Tree[Token]

MOST_ERRORS = 10
MOST_DEPTH = 150  # of nesting: deeper trees would overrun Python's stack in later stages


class Parsed(NamedTuple):
    script: ast.Script
    defines: Mapping[str, Define]
    includes: tuple[str, ...]
    warnings: tuple[ScriptWarning, ...]


def parse(source: Source, predefined: Mapping[str, str] | None = None, whole: bool = True) -> Parsed:
    """A script; one that is not `whole` but imported needs no probes. ScriptErrors: one syntax error for each
    probe that has any."""
    text, defines, includes, warnings = preprocess(source, predefined or {})
    errors: list[ScriptError] = []
    while True:
        try:
            tree = _tree(source, text)
            break
        except ScriptError as error:
            errors.append(error)
            rest = _after_probe(text, error.span.start)
            if rest is None or len(errors) >= MOST_ERRORS:
                raise ScriptErrors(errors) from None
            text = re.sub(r"[^\n]", " ", text[:rest]) + text[rest:]
    if errors:
        raise ScriptErrors(errors)
    script = _Maker(source).script(tree)
    if whole and not script.probes:
        raise ScriptError(
            "syntax error, unexpected end of file, expecting a probe", Span(source, len(source.text), len(source.text)),
            "a program has at least one probe, such as BEGIN { ... }",
        )  # fmt: skip
    return Parsed(script, defines, includes, warnings)


def parse_expr(define: Define) -> ast.Expr:
    """The value of a #define as an expression; its span stays inside the #define."""
    span = define.span
    before, after = "BEGIN{", "}"
    room = span.start - len(before)
    if room >= 0 and span.source.name != "<predefined>":
        text, source = " " * room + before + span.text + after, span.source
    else:
        source = Source(span.source.name, before + span.text + after)
        text = source.text
    script = _Maker(source).script(_tree(source, text))
    statements = script.probes[0].body.body
    if len(statements) == 1 and isinstance(statements[0], ast.ExprStmt):
        return statements[0].value
    raise ScriptError(f"the value of {define.name} is no expression", span)


def _after_probe(text: str, offset: int) -> int | None:
    """Where the probe that contains an error ends, if its braces tell."""
    depth = 0
    pattern = re.compile(r'"([^"\\\n]|\\.)*"|//[^\n]*|/\*(?:.|\n)*?\*/|[{}]')
    for match in pattern.finditer(text):
        if match[0] == "{":
            depth += 1
        elif match[0] == "}":
            depth -= 1
            if depth == 0 and match.end() > offset:
                return match.end() if text[match.end() :].strip() else None
            if depth < 0:
                return None
    return None


# --- syntax errors ----------------------------------------------------------------------------

_WORDS = {
    "ATTACH": "a probe", "END_PREDICATE": "/ before {", "INT": "a number", "STRING": "a string", "NAME": "a name",
    "VAR": "a variable", "MAP": "a map", "PARAM": "$1", "CAST": "a cast", "SEMICOLON": ";", "LBRACE": "{",
    "RBRACE": "}",
    "LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "COMMA": ",", "COLON": ":", "$END": "end of file",
    "__ANON_0": "=", "__ANON_1": "..",
}  # fmt: skip
_SOUGHT = (
    "RPAR",
    "RSQB",
    "RBRACE",
    "SEMICOLON",
    "LBRACE",
    "COMMA",
    "END_PREDICATE",
    "COLON",
    "NAME",
    "ATTACH",
)
_EXPRESSION = {"INT", "STRING", "VAR", "MAP", "LPAR"}


def _tree(source: Source, text: str) -> Branch:
    from lark.exceptions import UnexpectedInput

    from pbt.lang.table import parser

    try:
        tree = parser().parse(text)
    except UnexpectedInput as error:
        raise _syntax_error(source, text, error) from None
    _check_depth(source, tree)
    return tree


def _syntax_error(source: Source, text: str, error: Any) -> ScriptError:
    token = getattr(error, "token", None)
    expected = set(getattr(error, "accepts", None) or getattr(error, "expected", None) or error.allowed or ())
    if token is not None and token.type == "$END":
        at = len(text.rstrip())
        span, found = Span(source, max(at - 1, 0), max(at, 1)), "end of file"
    elif token is not None:
        span, found = Span(source, token.start_pos, token.end_pos), _first_word(text, token.start_pos)
        span = Span(source, span.start, span.start + len(found))
        found = f"'{found}'"
    else:
        at = error.pos_in_stream
        found = _first_word(text, at)
        span, found = Span(source, at, at + len(found)), f"'{found}'"
    stray = re.search(r"\belse\s*$", text[: span.start])
    if stray:  # where no `if` comes before, it reads as a name
        span, found, expected = (
            Span(source, stray.start(), stray.start() + 4),
            "'else'",
            {"RBRACE", *_EXPRESSION},
        )
    message, hint = f"syntax error, unexpected {found}", ""
    wanted = _wanted(expected)
    if found.startswith("'\"") and not re.fullmatch(r"'\".*\"'", found):
        message, hint = (
            "this string has no end",
            'a string ends with " on the same line; write a newline as \\n',
        )
    elif text[span.start : span.start + 2] == "/*":
        message, hint = "this comment has no end", "a comment ends with */"
    elif wanted:
        message += f", expecting {wanted}"
    return ScriptError(message, span, hint or _hint(found, text, span))


def _first_word(text: str, at: int) -> str:
    match = re.compile(r'[@$]?\w+|"[^"\n]*"?|\S').match(text, at)
    return match[0] if match else text[at : at + 1]


def _wanted(expected: set[str]) -> str:
    if expected >= _EXPRESSION:
        return "an expression" if "RBRACE" not in expected else "a statement or }"
    names = [_WORDS[name] for name in _SOUGHT if name in expected][:3]
    if not names:
        names = [_WORDS.get(name, name.lower()) for name in sorted(expected)][:3]
    return " or ".join(names)


def _hint(found: str, text: str, span: Span) -> str:
    word = found.strip("'")
    before = text[: span.start].rstrip()
    if word == "=" or (word == "==" and before.endswith("=")):
        return "only variables and maps can be assigned to; comparison is =="
    if word == "else":
        return "else follows the } of an if"
    if word == "'" or word.startswith("'"):
        return 'strings are written with double quotes: "text"'
    if found == "end of file" and before.count("{") > before.count("}"):
        return "a { has no }"
    if (
        re.fullmatch(r"[A-Za-z_]\w*", word)
        and re.search(r"[\w)\]]$", before)
        and "\n" in text[len(before) : span.start]
    ):
        return "is a ; missing at the end of the line before?"
    return ""


def _check_depth(source: Source, tree: Branch) -> None:
    pending: list[tuple[Any, int]] = [(tree, 0)]
    while pending:
        node, depth = pending.pop()
        if depth > MOST_DEPTH:
            span = Span(source, node.meta.start_pos, min(node.meta.end_pos, node.meta.start_pos + 1))
            raise ScriptError(f"nested more than {MOST_DEPTH} levels deep", span, "split it with variables")
        pending.extend((child, depth + 1) for child in node.children if hasattr(child, "children"))


# --- tree → nodes -----------------------------------------------------------------------------

_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    '"': '"',
    "\\": "\\",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "e": "\x1b",
}
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
_INT = re.compile(
    r"(?:(?P<hex>0[xX][0-9a-fA-F](?:_?[0-9a-fA-F])*)|(?P<exp>[1-9])e(?P<power>\d+)|(?P<dec>\d(?:_?\d)*))"
    r"(?:(?P<unit>ns|us|ms|s|m|h|d)|(?i:ul|ull|llu|lu|ll|l|u))?"
)


def number(text: str, span: Span) -> int:
    """An integer literal: decimal, 0x, octal, 1e6, 1_000, C suffixes, durations in nanoseconds."""
    match = _INT.fullmatch(text)
    if not match:
        hint = "one digit before e, as in 1e6" if re.fullmatch(r"\d+e\d+", text) else ""
        raise ScriptError(f"invalid number: {text}", span, hint)
    if match["hex"]:
        value = int(match["hex"].replace("_", ""), 16)
    elif match["exp"]:
        if int(match["power"]) > 19:
            raise ScriptError(f"{text} does not fit 64 bits", span)
        value = int(match["exp"]) * 10 ** int(match["power"])
    else:
        digits = match["dec"].replace("_", "")
        octal = len(digits) > 1 and digits[0] == "0"
        if octal and re.search("[89]", digits):
            raise ScriptError(f"invalid number: {text}", span, "a leading 0 means octal")
        value = int(digits, 8 if octal else 10)
    value *= _UNITS[match["unit"]] if match["unit"] else 1
    if value >= 1 << 64:
        raise ScriptError(f"{text} does not fit 64 bits", span)
    return value


def unquote(text: str, span: Span) -> str:
    """The characters of a string literal; bytes from 0x80 on are lone surrogates."""

    def replace(match: re.Match[str]) -> str:
        body = match[1]
        if body[0] in "x01234567":
            byte = int(body[1:], 16) if body[0] == "x" else int(body, 8) & 0xFF
            return chr(byte) if byte < 0x80 else chr(0xDC00 + byte)  # as surrogateescape keeps single bytes
        if body not in _ESCAPES:
            raise ScriptError(
                f"invalid escape sequence \\{body}", span, r"escapes are \n \t \r \" \\ \ooo \xhh"
            )
        return _ESCAPES[body]

    return re.sub(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.|\n)", replace, text[1:-1])


def parse_type(text: str, span: Span) -> ast.TypeName:
    """`struct x *`, `uint8[4]`: the inside of a cast."""
    match = re.fullmatch(r"\s*([\w\s]+?)\s*((?:\*\s*)*)((?:\[\s*\d*\s*\]\s*)*)(\*?)\s*", text)
    if not match:
        raise ScriptError(
            f"cannot read the type {text.strip()}", span, "for example: struct sock *, uint8[4], int32"
        )
    dims = tuple(int(d) if d else None for d in re.findall(r"\[\s*(\d*)\s*\]", match[3]))
    return ast.TypeName(span, " ".join(match[1].split()), match[2].count("*") + len(match[4]), dims)


def split_attach_point(text: str, span: Span) -> ast.AttachPoint:
    """Parts between colons; quotes taken off, and a name before `=`."""
    text = re.sub(r"^[A-Za-z_]\w*=", "", text)
    parts = re.findall(r':?("(?:[^"\\]|\\.)*"|(?:[^:"]|"(?:[^"\\]|\\.)*")*)', text)[: _count_parts(text)]
    return ast.AttachPoint(span, text, tuple(unquote(p, span) if p.startswith('"') else p for p in parts))


def _count_parts(text: str) -> int:
    return len(re.sub(r'"(?:[^"\\]|\\.)*"', "", text).split(":"))


class _Maker:
    """Turns lark's tree into nodes, one method a rule (`_name`)."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def span(self, tree: Branch) -> Span:
        meta = tree.meta
        if meta.empty:
            return Span(self.source, 0, 0)
        return Span(self.source, meta.start_pos, meta.end_pos)

    def at(self, token: Any) -> Span:
        return Span(self.source, token.start_pos, token.end_pos)

    def make(self, tree: Branch) -> Any:
        rule: Callable[[Branch, Span], Any] = getattr(self, "_" + tree.data)
        return rule(tree, self.span(tree))

    def all(self, items: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(self.make(item) for item in items)

    # --- the whole

    def script(self, tree: Branch) -> ast.Script:
        settings: tuple[ast.Setting, ...] = ()
        types: list[ast.StructDef | ast.EnumDef] = []
        probes: list[ast.Probe] = []
        maps: list[ast.MapDecl] = []
        macros: list[ast.Macro] = []
        functions: list[ast.Function] = []
        imports: list[ast.Import] = []
        for child in tree.children:
            made = self.make(child)  # type: ignore[arg-type]
            if isinstance(made, tuple):
                if settings:
                    raise ScriptError("config stands twice", self.span(child))  # type: ignore[arg-type]
                if probes:
                    raise ScriptError("config must stand before the first probe", self.span(child))  # type: ignore[arg-type]
                settings = made
            elif isinstance(made, ast.Probe):
                probes.append(made)
            elif isinstance(made, ast.MapDecl):
                maps.append(made)
            elif isinstance(made, ast.Macro):
                macros.append(made)
            elif isinstance(made, ast.Function):
                functions.append(made)
            elif isinstance(made, ast.Import):
                imports.append(made)
            elif made is not None:
                types.append(made)
        return ast.Script(
            self.span(tree), settings, tuple(maps), tuple(macros), tuple(functions), tuple(imports),
            tuple(types), tuple(probes),
        )  # fmt: skip

    def _config(self, tree: Branch, span: Span) -> tuple[ast.Setting, ...]:
        return self.all(tree.children)

    def _setting(self, tree: Any, span: Span) -> ast.Setting:
        name, value = tree.children
        if value.type == "INT":
            return ast.Setting(span, str(name), number(value, self.at(value)))
        return ast.Setting(
            span, str(name), unquote(value, self.at(value)) if value.type == "STRING" else str(value)
        )

    def _macro(self, tree: Any, span: Span) -> ast.Macro:
        name, *params, body = tree.children
        words = tuple(str(p.children[0]) for p in params)
        if len(set(words)) != len(words):
            raise ScriptError("two parameters of this macro have one name", span)
        return ast.Macro(span, str(name), words, self._block_value(body, self.span(body)))

    def _function(self, tree: Any, span: Span) -> ast.Function:
        name, *params, body = tree.children
        kind = self.make(params.pop()) if params and params[-1].data == "type" else None
        made = self.all(params)
        if len({let.var.name for let in made}) != len(made):
            raise ScriptError("two parameters of this function have one name", span)
        return ast.Function(span, str(name), made, kind, self.make(body))

    def _fn_param(self, tree: Any, span: Span) -> ast.Let:
        var, kind = tree.children
        return ast.Let(span, ast.Var(self.at(var), str(var)), self.make(kind), None)

    def _import(self, tree: Any, span: Span) -> ast.Import:
        path = tree.children[0]
        return ast.Import(span, unquote(str(path), self.at(path)))

    def _map_decl(self, tree: Any, span: Span) -> ast.MapDecl:
        name, kind, entries = tree.children
        return ast.MapDecl(span, str(name), str(kind), number(entries, self.at(entries)))

    def _probe(self, tree: Any, span: Span) -> ast.Probe:
        points, *predicate, body = tree.children
        test = self.make(predicate[0]) if predicate else None
        return ast.Probe(span, self.all(points.children), test, self.make(body))

    def _attach_point(self, tree: Any, span: Span) -> ast.AttachPoint:
        return split_attach_point(re.sub(r"\s+\[\w+\]$", "", str(tree.children[0])), span)

    def _predicate(self, tree: Any, span: Span) -> ast.Expr:
        made: ast.Expr = self.make(tree.children[0])
        return made

    # --- C definitions

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
        tokens = self.source.text[tree.meta.start_pos : tree.meta.end_pos]
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

    # --- statements

    def _body(self, tree: Any, span: Span) -> ast.Block:
        return ast.Block(span, self.all(tree.children))

    _block = _body

    def _last(self, tree: Any, span: Span) -> Any:
        return self.make(tree.children[0])

    def _block_value(self, tree: Any, span: Span) -> ast.BlockExpr:
        made = self.all(tree.children)
        valued = tree.children and tree.children[-1].data == "last" and isinstance(made[-1], ast.ExprStmt)
        return ast.BlockExpr(span, made[:-1], made[-1].value) if valued else ast.BlockExpr(span, made, None)

    def _if_value(self, tree: Any, span: Span) -> ast.Ternary:
        return ast.Ternary(span, *self.all(tree.children))

    def _expr_stmt(self, tree: Any, span: Span) -> ast.ExprStmt:
        return ast.ExprStmt(span, self.make(tree.children[0]), False)

    def _assign(self, tree: Any, span: Span) -> ast.Stmt:
        target, *op, value = tree.children
        made = self.make(target)
        if not isinstance(made, (ast.Var, ast.Map, ast.Ident)) and not (
            isinstance(made, ast.Index) and isinstance(made.base, ast.Map)
        ):
            raise ScriptError(
                "this cannot be assigned to", self.span(target), "assign to $variable, @map or @map[key]"
            )
        if isinstance(made, ast.Ident):
            if made.name == "_" and not op:
                return ast.ExprStmt(span, self.make(value), True)
            raise ScriptError(
                f"'{made.name}' cannot be assigned to",
                self.span(target),
                f"variables are written ${made.name}",
            )
        return ast.Assign(span, made, str(op[0]) if op else "=", self.make(value))

    def _let(self, tree: Any, span: Span) -> ast.Let:
        var, *rest = tree.children
        type_ = self.make(rest.pop(0)) if rest and rest[0].data == "type" else None
        return ast.Let(span, ast.Var(self.at(var), str(var)), type_, self.make(rest[0]) if rest else None)

    def _array(self, tree: Any, span: Span) -> ast.ArrayDecl:
        words, name, dim, *items = tree.children
        size = number(dim.children[0], self.at(dim.children[0])) if dim.children else None
        type_ = ast.TypeName(self.at(words), str(words), 0, ())
        return ast.ArrayDecl(span, type_, str(name), size, self.all(items))

    def _jump(self, tree: Any, span: Span) -> ast.Jump:
        word, *value = tree.children
        return ast.Jump(span, str(word), self.make(value[0]) if value else None)

    def _if(self, tree: Any, span: Span) -> ast.If:
        condition, then, *other = self.all(tree.children)
        return ast.If(span, condition, then, other[0] if other else None)

    def _while(self, tree: Any, span: Span) -> ast.While:
        return ast.While(span, *self.all(tree.children))

    def _unroll(self, tree: Any, span: Span) -> ast.Unroll:
        return ast.Unroll(span, *self.all(tree.children))

    def _for_range(self, tree: Any, span: Span) -> ast.ForRange:
        var, *rest = tree.children
        return ast.ForRange(span, ast.Var(self.at(var), str(var)), *self.all(rest))

    def _for_map(self, tree: Any, span: Span) -> ast.ForMap:
        var, map_, body = tree.children
        made = ast.Map(self.at(map_), str(map_))
        return ast.ForMap(span, ast.Var(self.at(var), str(var)), made, self.make(body))

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

    def _typeinfo(self, tree: Any, span: Span) -> ast.Typeinfo:
        return ast.Typeinfo(span, self._of(tree.children[0]))

    # --- expressions

    def _binary(self, tree: Any, span: Span) -> ast.Binary:
        left, op, right = tree.children
        return ast.Binary(span, str(op), self.make(left), self.make(right))

    def _fixed(op: str) -> Callable[[_Maker, Any, Span], ast.Binary]:  # type: ignore[misc]
        """A binary operation whose operator the grammar leaves out of the tree."""
        return lambda self, tree, span: ast.Binary(span, op, *self.all(tree.children))

    _bitor, _bitxor, _bitand = _fixed("|"), _fixed("^"), _fixed("&")
    _add, _div, _mod = _fixed("+"), _fixed("/"), _fixed("%")

    def _ternary(self, tree: Any, span: Span) -> ast.Ternary:
        return ast.Ternary(span, *self.all(tree.children))

    def _elvis(self, tree: Any, span: Span) -> ast.BlockExpr:
        """`a ?: b` computes `a` once."""
        made, other = self.all(tree.children)
        name = f"$'{tree.meta.start_pos}"
        let = ast.Let(span, ast.Var(made.span, name), None, made)
        condition, then = ast.Var(made.span, name), ast.Var(made.span, name)
        return ast.BlockExpr(span, (let,), ast.Ternary(span, condition, then, other))

    def _unary(self, tree: Any, span: Span) -> ast.Expr:
        op, operand = tree.children
        made = self.make(operand)
        if op == "-" and operand.data == "int":
            if made.value > 1 << 63:
                raise ScriptError(f"-{made.value} does not fit 64 bits", span)
            return ast.Int(span, -made.value)
        return ast.Unary(span, str(op), made)

    def _address_of(self, tree: Any, span: Span) -> ast.Unary:
        return ast.Unary(span, "&", self.make(tree.children[0]))

    def _pre_step(self, tree: Any, span: Span) -> ast.Step:
        return self._stepped(span, str(tree.children[0]), True, tree.children[1])

    def _post_step(self, tree: Any, span: Span) -> ast.Step:
        return self._stepped(span, str(tree.children[1]), False, tree.children[0])

    def _stepped(self, span: Span, op: str, prefix: bool, tree: Any) -> ast.Step:
        made = self.make(tree)
        if not isinstance(made, (ast.Var, ast.Map)) and not (
            isinstance(made, ast.Index) and isinstance(made.base, ast.Map)
        ):
            raise ScriptError(f"{op} needs a variable or a map", made.span)
        return ast.Step(span, op, prefix, made)

    def _cast(self, tree: Any, span: Span) -> ast.Cast:
        kind, operand = tree.children
        return ast.Cast(span, self._of(kind), self.make(operand))

    def _cast_type(self, token: Any) -> ast.TypeName:
        return parse_type(str(token)[1:-1], self.at(token))

    def _index(self, tree: Any, span: Span) -> ast.Index:
        base, *keys = self.all(tree.children)
        return ast.Index(span, base, tuple(keys))

    def _member(self, tree: Any, span: Span) -> ast.Member:
        base, _, name = tree.children
        return ast.Member(span, self.make(base), str(name), self.at(name))

    def _int(self, tree: Any, span: Span) -> ast.Int:
        return ast.Int(span, number(str(tree.children[0]), span))

    def _string(self, tree: Any, span: Span) -> ast.Str:
        return ast.Str(span, unquote(str(tree.children[0]), span))

    def _bool(self, tree: Any, span: Span) -> ast.Bool:
        return ast.Bool(span, str(tree.children[0]) == "true")

    def _ident(self, tree: Any, span: Span) -> ast.Ident:
        return ast.Ident(span, str(tree.children[0]))

    def _var(self, tree: Any, span: Span) -> ast.Var:
        return ast.Var(span, str(tree.children[0]))

    def _param(self, tree: Any, span: Span) -> ast.Param:
        digits = str(tree.children[0])[1:]
        return ast.Param(span, 0 if digits == "#" else int(digits))

    def _map(self, tree: Any, span: Span) -> ast.Map:
        return ast.Map(span, str(tree.children[0]))

    def _call(self, tree: Any, span: Span) -> ast.Call:
        name, *args = tree.children
        return ast.Call(span, str(name), self.all(args))

    def _group(self, tree: Any, span: Span) -> Any:
        return self.make(tree.children[0])

    def _tuple(self, tree: Any, span: Span) -> ast.Tuple:
        return ast.Tuple(span, self.all(tree.children))

    def _record(self, tree: Any, span: Span) -> ast.Record:
        names = tuple(str(item.children[0]) for item in tree.children)
        if len(set(names)) != len(names):
            raise ScriptError("two fields of this record have one name", span)
        return ast.Record(span, names, tuple(self.make(item.children[1]) for item in tree.children))

    def _comptime(self, tree: Any, span: Span) -> ast.Comptime:
        return ast.Comptime(span, self.make(tree.children[0]))

    def _sizeof(self, tree: Any, span: Span) -> ast.Sizeof:
        return ast.Sizeof(span, self._of(tree.children[0]))

    def _offsetof(self, tree: Any, span: Span) -> ast.Offsetof:
        of, *path = tree.children
        return ast.Offsetof(span, self.make(of), tuple(str(t) for t in path if t.type == "NAME"))
