"""Imports go the way docs/design.md says: each package lists all packages it may import."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PBT = ROOT / "pbt"
DESIGN = ROOT / "docs" / "design.md"


def allowed() -> dict[str, set[str]]:
    """Package or top-level module → packages it may import, from the listing in the design."""
    rules: dict[str, set[str]] = {"__init__": set()}
    name = ""
    for line in DESIGN.read_text().split("```")[3].splitlines():
        head = re.match(r"(pbt/\S*)\s+<(.*)$", line)
        more = re.match(r"\s+<(.*)$", line)
        if head:
            name = head[1].removeprefix("pbt/").rstrip("/").removesuffix(".py")
            rules[name] = set(head[2].split("  ")[0].split())
        elif more:
            rules[name] |= set(more[1].split("  ")[0].split())
    return rules


def base() -> set[str]:
    text = DESIGN.read_text().split("```")[3]
    section = text[text.index("base:") :].split("\n\n")[0]
    return set(re.findall(r"^  (\w+)\.py", section, re.M))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Modules of pbt that a file imports at run time, with line numbers."""
    tree = ast.parse(path.read_text())
    skip = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if node in skip:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "pbt":
            if node.module == "pbt":
                yield from ((alias.name, node.lineno) for alias in node.names)
            else:
                yield node.module.split(".")[1], node.lineno
        elif isinstance(node, ast.Import):
            yield from ((a.name.split(".")[1], node.lineno) for a in node.names if a.name.startswith("pbt."))


def home(path: Path) -> str:
    parts = path.relative_to(PBT).parts
    return parts[0].removesuffix(".py")


FILES = sorted(PBT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PBT)))
def test_imports_follow_the_design(path: Path) -> None:
    rules, below = allowed(), base()
    own = home(path)
    if own in below:
        return
    assert own in rules, f"docs/design.md does not list pbt/{own}"
    for name, line in imports(path):
        fine = name == own or name in below or name in rules[own] or name == "__version__"
        assert fine, (
            f"{path.relative_to(ROOT)}:{line} imports pbt.{name}; {own} may import: {sorted(rules[own])}"
        )


def test_base_modules_import_only_those_above_them() -> None:
    text = DESIGN.read_text().split("```")[3]
    section = text[text.index("base:") :].split("\n\n")[0]
    order = re.findall(r"^  (\w+)\.py", section, re.M)
    for at, name in enumerate(order):
        for used, line in imports(PBT / f"{name}.py"):
            assert used in order[:at], f"pbt/{name}.py:{line} imports {used}, which stands below it"


def test_every_module_is_listed() -> None:
    text = DESIGN.read_text().split("```")[3]
    for path in FILES:
        if path.name not in ("__init__.py",):
            assert re.search(rf"\b{path.stem}\.py\b", text), (
                f"docs/design.md does not mention {path.relative_to(ROOT)}"
            )
