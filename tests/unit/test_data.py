"""pbt.data makes what the standard library makes: the same classes, made twice, behave alike."""

from __future__ import annotations

import copy
import dataclasses
import typing
from types import SimpleNamespace

import pytest

from pbt import data


def attempt(action):
    """What an action gives, or the type of what it raises."""
    try:
        return action()
    except Exception as error:
        return type(error)


def classes(library: SimpleNamespace) -> SimpleNamespace:
    @library.dataclass(frozen=True, slots=True)
    class Point:
        x: int
        y: int = 5
        label: str = library.field(default="", compare=False)

        @property
        def total(self) -> int:
            return self.x + self.y

    @library.dataclass(frozen=True, slots=True)
    class Deep(Point):
        z: list[int] = library.field(default_factory=list)

    @library.dataclass(frozen=True, eq=False)
    class Node:
        name: str
        count: typing.ClassVar[int] = 7

    @library.dataclass()
    class Open:
        items: list[int] = library.field(default_factory=list)
        size: int = library.field(init=False, repr=False)

        def __post_init__(self) -> None:
            self.size = len(self.items)

    class Pair(library.NamedTuple):
        """Two."""

        left: int
        right: str = "r"

        @property
        def both(self) -> str:
            return f"{self.left}{self.right}"

    return SimpleNamespace(Point=Point, Deep=Deep, Node=Node, Open=Open, Pair=Pair)


STANDARD = classes(SimpleNamespace(
    dataclass=dataclasses.dataclass, field=dataclasses.field, NamedTuple=typing.NamedTuple
))  # fmt: skip
OURS = classes(data)

SAME = {
    "positions": lambda k: repr(k.Point(1, 2)).rpartition(".")[2],
    "names": lambda k: repr(k.Point(y=3, x=1)).rpartition(".")[2],
    "defaults": lambda k: (k.Point(1).y, k.Point(1).label, k.Point(1).total),
    "too few": lambda k: attempt(k.Point),
    "given twice": lambda k: (attempt(lambda: k.Point(1, x=2)), attempt(lambda: k.Pair(1, left=2))),
    "too many": lambda k: attempt(lambda: k.Point(1, 2, "", 4)),
    "unknown name": lambda k: attempt(lambda: k.Point(1, z=2)),
    "equal": lambda k: (k.Point(1) == k.Point(1), k.Point(1) == k.Point(2), k.Point(1) == 1, k.Point(1) != k.Point(2)),
    "not compared": lambda k: (k.Point(1, 2, "a") == k.Point(1, 2, "b"), len({k.Point(1, 2, "a"), k.Point(1, 2, "b")})),
    "another class": lambda k: k.Point(1) == k.Deep(1),
    "hash": lambda k: len({k.Point(1), k.Point(1), k.Point(2)}),
    "no hash": lambda k: attempt(lambda: hash(k.Open())),
    "frozen": lambda k: isinstance(attempt(lambda: setattr(k.Point(1), "x", 2)), type),
    "slots": lambda k: hasattr(k.Point(1), "__dict__"),
    "inherited": lambda k: (k.Deep(1).z, k.Deep(1, z=[3]).z, k.Deep(1).y, k.Deep(4).total),
    "own list each": lambda k: k.Deep(1).z is k.Deep(1).z,
    "identity": lambda k: (k.Node("a") == k.Node("a"), len({k.Node("a"), k.Node("a")}), k.Node.count),
    "after init": lambda k: (k.Open([1, 2]).size, repr(k.Open([1])).rpartition(".")[2], k.Open() == k.Open()),
    "match": lambda k: (k.Point.__match_args__, k.Pair.__match_args__),
    "copies": lambda k: (copy.copy(k.Point(1, 9)).y, copy.deepcopy(k.Deep(1, z=[1])).z, copy.copy(k.Pair(1))),
    "tuple": lambda k: (tuple(k.Pair(1)), k.Pair(1) == (1, "r"), k.Pair(1).both, k.Pair(right="x", left=2)),
    "tuple text": lambda k: repr(k.Pair(1)),
    "tuple fields": lambda k: (k.Pair._fields, k.Pair._field_defaults, k.Pair(1)._asdict(), k.Pair.__doc__),
    "tuple replaced": lambda k: (k.Pair(1)._replace(right="z"), isinstance(attempt(lambda: k.Pair(1)._replace(no=1)), type)),
    "tuple made": lambda k: k.Pair._make([3, "q"]),
    "tuple errors": lambda k: (attempt(k.Pair), attempt(lambda: k.Pair(1, "", 3)), attempt(lambda: k.Pair(up=1))),
    "tuple frozen": lambda k: attempt(lambda: setattr(k.Pair(1), "left", 2)),
    "tuple parts": lambda k: (lambda pair: (pair[0], pair[-1], *pair))(k.Pair(5)),
}  # fmt: skip


@pytest.mark.parametrize("few", [0, 1, 1000])
@pytest.mark.parametrize("name", SAME)
def test_like_the_standard_library(name, few, monkeypatch):
    """`few`: so many instances are made before a class gets a constructor of its own."""
    monkeypatch.setattr(data, "_FEW", few)
    assert SAME[name](classes(data)) == SAME[name](STANDARD)


def test_whoever_has_entered_a_constructor_may_go_on_when_it_is_replaced(monkeypatch):
    """As it happens among threads."""
    monkeypatch.setattr(data, "_FEW", 0)
    cls = classes(data).Deep
    first, made = cls.__init__, cls.__new__(cls)
    assert cls(4).total and cls.__init__ is not first
    first(made, 4)
    assert made == cls(4)


def test_replaced():
    first = OURS.Point(1, 2, "a")
    assert data.replace(first, x=9) == OURS.Point(9, 2) and data.replace(first).label == "a"
    assert attempt(lambda: data.replace(first, no=1)) is TypeError
