"""Text → syntax tree: `parse` for scripts, `parse_expr` for the values of #define."""

from __future__ import annotations

from collections.abc import Mapping

from pbt.data import NamedTuple
from pbt.lang import ast
from pbt.lang.lalr import Branch
from pbt.lang.literals import number, split_attach_point, unquote
from pbt.lang.preprocess import Define, Include, Known, preprocess
from pbt.lang.rules_expr import ExprRules
from pbt.lang.rules_stmt import StmtRules
from pbt.lang.syntax import syntax_tree
from pbt.regex import Regex
from pbt.source import ScriptError, ScriptErrors, ScriptWarning, Source, Span, give
from pbt.typing import Any

MOST_ERRORS = 10


class Parsed(NamedTuple):
    script: ast.Script
    defines: Mapping[str, Define]
    includes: tuple[Include, ...]
    warnings: tuple[ScriptWarning, ...]


def parse(
    source: Source,
    predefined: Mapping[str, str] | None = None,
    whole: bool = True,
    headers: Known | None = None,
    errors: list[ScriptError] | None = None,
) -> Parsed:
    """A script; one that is not `whole` but imported needs no probes. `headers` learn what it includes.

    Syntax errors, one for each probe that has any, go to `errors`, and these probes are left out; or they are raised.
    """
    text, defines, includes, warnings = preprocess(source, predefined or {}, headers)
    tree, wrong = _tree(source, text)
    give(wrong, errors)
    script = Maker(source).script(tree)
    if whole and not script.probes and not wrong:
        raise ScriptError(
            "No probes to attach", Span(source, len(source.text), len(source.text)),
            "a program has at least one probe, such as BEGIN { ... }",
        )  # fmt: skip
    known = {name: _predefined(name, value) for name, value in (predefined or {}).items() if name in text}
    return Parsed(script, {**known, **defines}, includes, warnings)


def _predefined(name: str, value: str) -> Define:
    return Define(name, Span(Source("<predefined>", value), 0, len(value)))


def _tree(source: Source, text: str) -> tuple[Branch, list[ScriptError]]:
    """The tree of all that can be read, and a syntax error for each probe that cannot."""
    errors: list[ScriptError] = []
    while True:
        try:
            return syntax_tree(source, text), errors
        except ScriptError as error:
            errors.append(error)
            probe = _probe_around(text, error.span.start)
            if probe is None or len(errors) >= MOST_ERRORS:
                raise ScriptErrors(errors) from None
            start, end = probe
            text = text[:start] + "".join("\n" if c == "\n" else " " for c in text[start:end]) + text[end:]


def parse_expr(define: Define) -> ast.Expr:
    """The value of a #define as an expression; its span stays inside the #define."""
    span = define.span
    before, after = "BEGIN{", "}"
    room = span.start - len(before)
    if room >= 0 and span.source.name != "<predefined>":
        value = span.text.replace("\\\n", " \n")
        text, source = " " * room + before + value + after, span.source
    else:
        source = Source(span.source.name, before + span.text + after)
        text = source.text
    script = Maker(source).script(syntax_tree(source, text))
    statements = script.probes[0].body.body
    if len(statements) == 1 and isinstance(statements[0], ast.ExprStmt):
        return statements[0].value
    raise ScriptError(f"the value of {define.name} is no expression", span)


def _probe_around(text: str, offset: int) -> tuple[int, int] | None:
    """From where to where the probe reaches that contains an error, if its braces tell and text follows."""
    depth = start = 0
    pattern = Regex(r'"([^"\\\n]|\\.)*"|//[^\n]*|/\*(?:.|\n)*?\*/|[{}]')
    for match in pattern.finditer(text):
        if match[0] == "{":
            depth += 1
        elif match[0] == "}":
            depth -= 1
            if depth < 0:
                return None
            if depth == 0 and match.end() > offset:
                return (start, match.end()) if text[match.end() :].strip() else None
            if depth == 0:
                start = match.end()
    return None


def _without_suffix(point: str) -> str:
    """An attach point without a word in brackets behind it."""
    return Regex(r"\s+\[\w+\]$").sub("", point) if point.endswith("]") else point


class Maker(StmtRules, ExprRules):
    """Turns the parser's tree into nodes: the whole script, and what stands at its outer level."""

    def script(self, tree: Branch) -> ast.Script:
        settings: tuple[ast.Setting, ...] = ()
        types: list[ast.Definition] = []
        probes: list[ast.Probe] = []
        maps: list[ast.MapDecl] = []
        macros: list[ast.Macro] = []
        functions: list[ast.Function] = []
        imports: list[ast.Import] = []
        for child in tree.children:
            made = self.make(child)
            if isinstance(made, tuple):
                if settings:
                    raise ScriptError("config stands twice", self.span(child))
                if probes:
                    raise ScriptError("config must stand before the first probe", self.span(child))
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
                types += made if isinstance(made, list) else [made]
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
        return split_attach_point(_without_suffix(str(tree.children[0])), span)

    def _predicate(self, tree: Any, span: Span) -> ast.Expr:
        made: ast.Expr = self.make(tree.children[0])
        return made
