"""Which variable each $name means."""

from __future__ import annotations

import pytest

from pbt.lang import ast
from pbt.lang.scope import Names, resolve
from tests.unit.lang.shown import parsed


def bound(body: str) -> tuple[Names, list[str]]:
    """The binding, and the unique names of all uses in source order."""
    probe = parsed(f"BEGIN {{ {body} }}").script.probes[0]
    names = resolve(probe)
    nodes = sorted((n for n in probe.walk() if isinstance(n, ast.Var)), key=lambda n: n.span.start)
    return names, [names.of.get(n, "?") for n in nodes]


@pytest.mark.parametrize(
    ("body", "uses"),
    [
        ("$x = 1; $y = $x;", ["$x", "$y", "$x"]),
        ("$x = 1; if (1) { $x = 2; }", ["$x", "$x"]),
        ("if (1) { $x = 1; @a = $x; } if (1) { $x = 2; @b = $x; }", ["$x", "$x", "$x#2", "$x#2"]),
        ("if (1) { $x = 1; } else { $x = 2; } @a = $x;", ["$x", "$x", "$x"]),  # as older scripts do
        ("if (1) { if (1) { $x = 1; } @a = $x; }", ["$x", "$x"]),
        ("{ let $x = 1; } let $x = 2; @a = $x;", ["$x", "$x#2", "$x#2"]),
        ("for ($i : 0..3) { @a = $i; } for ($i : 0..3) { @a = $i; }", ["$i", "$i", "$i#2", "$i#2"]),
        ("if (1) { $n = 1; } for ($i : 0..$n) { }", ["$n", "$i", "$n"]),
        ("let $x; if (1) { $x = 1; } @a = $x;", ["$x", "$x", "$x"]),
        ("unroll(2) { $x = 1; } while (0) { $x = 2; }", ["$x", "$x#2"]),
    ],
)
def test_names(body: str, uses: list[str]) -> None:
    names, found = bound(body)
    assert found == uses and not names.errors


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        ("@a = $x;", "Undefined or undeclared variable: $x", "give it a value first"),
        ("$count = 1; @a = $coumt;", "Undefined or undeclared variable: $coumt", "did you mean $count?"),
        ("{ let $x = 1; } @a = $x;", "Undefined or undeclared variable: $x", ""),
        ("let $x = 1; let $x = 2;", "Variable $x was already declared", "choose another name"),
        ("$x = 1; let $x = 2;", "Variable $x was already declared", ""),
        ("$x = 1; if (1) { let $x = 2; }", "Variable $x was already declared", ""),
        ("let $x = $x;", "Undefined or undeclared variable: $x", ""),
    ],
)
def test_errors(body: str, message: str, hint: str) -> None:
    names, _ = bound(body)
    assert [e.message for e in names.errors] == [message]
    assert hint in names.errors[0].hint


def test_predicates_see_no_variables_of_the_body() -> None:
    probe = parsed("BEGIN /$x/ { let $x = 1; }").script.probes[0]
    assert [e.message for e in resolve(probe).errors] == ["Undefined or undeclared variable: $x"]
