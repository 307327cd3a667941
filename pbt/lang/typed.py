"""What the checker finds out: types, names and kept facts, in tables beside the tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.data import dataclass, field
from pbt.feature import Aggregation, Builtin, Call, Context, Presentation
from pbt.lang import ast
from pbt.lang.expand import Attached
from pbt.registry import collect
from pbt.source import ScriptWarning, Span
from pbt.types import Opaque, Type
from pbt.typing import Any


@dataclass
class MapType:
    """What is known of a map: None where nothing is yet."""

    name: str
    span: Span
    key: tuple[Type, ...] | None = None  # () for a map without keys
    value: Type | None = None
    aggregation: str = ""
    args: tuple[int, ...] = ()
    signed: bool = False
    kind: str = ""  # BPF map type, where the script declares one
    entries: int = 0
    loses_keys: bool = False  # some keys go while the script runs: by delete() or clear()

    @property
    def known(self) -> tuple[object, ...]:
        """All that types of expressions follow from."""
        return self.key, self.value, self.aggregation, self.args, self.signed, self.kind


@dataclass(frozen=True, eq=False)
class Instance:
    """One body for one context: tables keyed by node."""

    probe: ast.Probe
    context: Context
    places: tuple[Attached, ...]
    types: Mapping[ast.Node, Type]
    kept: Mapping[ast.Node, Any]
    calls: Mapping[ast.Node, tuple[Builtin, Call]]
    replaced: Mapping[ast.Expr, ast.Expr]
    names: Mapping[ast.Var, str]
    variables: Mapping[str, Type]


@dataclass(frozen=True, eq=False)
class Typed:
    """A checked script; `options`: those of its own, and what they are for."""

    script: ast.Script
    instances: tuple[Instance, ...]
    maps: Mapping[str, MapType]
    warnings: tuple[ScriptWarning, ...]
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Options:
    """What checking depends on beside the script and the machine.

    `words`: what stands after the script, of which `params` are the parameters and `named` the options.
    """

    config: Mapping[str, Any]
    params: Sequence[str] = ()
    unsafe: bool = False
    named: Mapping[str, str] = field(default_factory=dict)
    words: Sequence[str] = ()


def builtins() -> Mapping[str, Builtin]:
    """By name and alias."""
    return collect("pbt.builtins", Builtin, aliases=True)


def named_type(name: str) -> Type | None:
    """The type of values that only user space can draw which scripts call so."""
    found = collect("pbt.builtins", Presentation, aliases=True).get(name)
    return Opaque(found.name, found.size) if found is not None and found.spelled == name else None


def numbers_of(kind: Opaque, text: str) -> Sequence[int] | None:
    """The numbers that are drawn as a text; None where values of the type cannot be compared with texts."""
    numbers = collect("pbt.builtins", Presentation)[kind.name].numbers
    return None if numbers is None else numbers(text, kind.detail)


def aggregations() -> Mapping[str, Aggregation]:
    """By name and alias."""
    return collect("pbt.builtins", Aggregation, aliases=True)
