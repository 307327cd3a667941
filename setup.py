"""Builds of pbt hold what runs: comments and docstrings are left out of installed modules, but no line moves

Tracebacks name the lines that the sources have. What `help(pbt)` shows keeps its docstrings; checkouts,
editable installations and source distributions keep all. The rest stands in pyproject.toml.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator

PUBLIC = ("pbt", "pbt.aot", "pbt.api", "pbt.bundle", "pbt.host.target", "pbt.source")
"""Modules that keep their docstrings."""


def bare(source: str, docstrings: bool) -> str:
    """A module that does the same, without comments and, unless they are wanted, without docstrings."""
    lines = list(io.StringIO(source))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith("#!"):
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip() + "\n"
    if not docstrings:
        for text, alone in _docstrings(ast.parse(source)):
            _blank(lines, text, '""' if alone else "")
    return "".join(lines)


def _docstrings(tree: ast.Module) -> Iterator[tuple[ast.Expr, bool]]:
    """Docstrings, and texts that stand alone behind what they describe; whether it is all of a body."""
    for node in ast.walk(tree):
        body = getattr(node, "body", ())
        if not isinstance(body, list):  # of a lambda
            continue
        for statement in body:
            value = getattr(statement, "value", None) if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement, len(body) == 1 and node is not tree


def _blank(lines: list[str], text: ast.Expr, left: str) -> None:
    assert text.end_lineno is not None
    first, last = text.lineno - 1, text.end_lineno - 1
    assert not lines[last].encode()[text.end_col_offset :].strip(), "a docstring ends its line"
    before = lines[first].encode()[: text.col_offset].decode()
    lines[first : last + 1] = [(before + left).rstrip() + "\n", *["\n"] * (last - first)]


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
