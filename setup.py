"""Builds of pbt hold what runs: what is only read is left out of installed modules, but no line moves

Tracebacks name the lines that the sources have, and all names are theirs. Modules that people meet through
`help(pbt)` keep docstrings and annotations; checkouts, editable installations and source distributions keep all.
The rest stands in pyproject.toml.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

PUBLIC = (
    "pbt", "pbt.aot", "pbt.api", "pbt.bundle", "pbt.host.target", "pbt.output.sink", "pbt.source", "pbt.values",
)  # fmt: skip
"""Modules that keep their docstrings and annotations."""


def bare(source: str, public: bool) -> str:
    """A module that does the same, without comments and, unless it is public, without what is only read.

    That is docstrings, annotations of functions and variables, and imports for these. Those of classes' fields
    stay: they make the fields. Levels are indented by one space, and blanks that part nothing go.
    """
    if not public:
        tree = ast.parse(source)
        source = _without(source, [*_docstrings(tree), *_annotations(tree, False), *_unseen(tree)])
        source = _without(source, [*_imports(ast.parse(source))])
    return _plain(source)


class Cut(NamedTuple):
    """A piece of a source, from and to a row and its column in bytes, and what stands there instead."""

    first: tuple[int, int]
    last: tuple[int, int]
    left: str = ""


def _cut(node: ast.stmt | ast.expr, left: str = "") -> Cut:
    assert node.end_lineno is not None and node.end_col_offset is not None
    return Cut((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset), left)


def _without(source: str, cuts: list[Cut]) -> str:
    """What is cut leaves its lines."""
    lines = source.encode().split(b"\n")
    for (first, start), (last, end), left in sorted(cuts, reverse=True):
        lines[first - 1 : last] = [
            lines[first - 1][:start] + left.encode() + lines[last - 1][end:],
            *[b""] * (last - first),
        ]
    return b"\n".join(lines).decode()


def _docstrings(tree: ast.Module) -> Iterator[Cut]:
    """Docstrings, and texts that stand alone behind what they describe."""
    for node in ast.walk(tree):
        body = getattr(node, "body", ())
        if not isinstance(body, list):  # of a lambda
            continue
        for statement in body:
            value = getattr(statement, "value", None) if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield _cut(statement, '""' if len(body) == 1 and node is not tree else "")


def _annotations(node: ast.AST, in_class: bool) -> Iterator[Cut]:
    """Those of functions, and of variables that are no fields; what follows a name in the sources is in its line."""
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
        if isinstance(child, ast.arg) and child.annotation:
            at = child.col_offset + len(child.arg.encode())
            yield Cut((child.lineno, at), _cut(child.annotation).last)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) and child.returns:
            yield Cut(
                (child.returns.lineno, child.returns.col_offset - len(" -> ")), _cut(child.returns).last
            )
        elif isinstance(child, ast.AnnAssign) and not in_class:
            if child.value:
                yield Cut(_cut(child.target).last, _cut(child.annotation).last)
            elif len(getattr(node, "body", ())) > 1:
                yield _cut(child)
        yield from _annotations(child, isinstance(child, ast.ClassDef) or (in_class and not is_function))


def _unseen(tree: ast.Module) -> Iterator[Cut]:
    """What only type checkers see."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and not node.orelse and ast.unparse(node.test) == "TYPE_CHECKING":
            yield _cut(node, "pass" if node.col_offset else "")


def _imports(tree: ast.Module) -> Iterator[Cut]:
    """Imports of names that nothing uses."""
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    postponed = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in imports)
    fields = [node.annotation for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)]
    unread = {id(name) for field in fields if postponed for name in ast.walk(field)}
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in unread}
    used |= {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    used |= {"annotations"} if fields else set()
    for node in imports:
        kept = [n for n in node.names if n.name == n.asname or (n.asname or n.name).split(".")[0] in used]
        if not kept:
            yield _cut(node, "pass" if node.col_offset else "")
        elif kept != node.names:
            node.names = kept
            yield _cut(node, ast.unparse(node))


_WORDS = ("NAME", "NUMBER", "STRING", "FSTRING_START", "FSTRING_END")
_BREAKS = ("NEWLINE", "NL", "COMMENT")


def _plain(source: str) -> str:
    """The source without comments, and without blanks that part nothing; texts stay as they are."""
    starts = [0, *accumulate(map(len, io.StringIO(source))), len(source)]
    parts, end, level, in_text = [], 0, 0, 0
    before = "NEWLINE"
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind in ("INDENT", "DEDENT"):
            level += 1 if kind == "INDENT" else -1
            continue
        start = starts[token.start[0] - 1] + token.start[1]
        gap, begins = source[end:start], before == "NEWLINE"
        end = starts[token.end[0] - 1] + token.end[1]
        if begins:
            gap = "" if kind in _BREAKS else " " * level
        elif not in_text and gap.isspace():  # not where a line goes on behind a backslash
            gap = " " if before in _WORDS and (kind in _WORDS or token.string[0] == ".") else ""
        shown = kind != "COMMENT" or token.string.startswith("#!")
        parts += [gap, source[start:end] if shown else ""]
        in_text += (kind == "FSTRING_START") - (kind == "FSTRING_END")
        before = before if begins and kind in _BREAKS else kind
    return "".join(parts)


if __name__ == "__main__":
    from setuptools import setup
    from setuptools.command.build_py import build_py

    class BuildPy(build_py):
        """Copies modules as `bare` makes them."""

        def build_module(self, module: str, module_file: str, package: str) -> tuple[str, bool]:
            made, copied = super().build_module(module, module_file, package)
            name = package if module == "__init__" else f"{package}.{module}"
            with open(module_file, encoding="utf-8") as source, open(made, "w", encoding="utf-8") as file:
                file.write(bare(source.read(), name in PUBLIC))
            return made, copied

    setup(cmdclass={"build_py": BuildPy})
