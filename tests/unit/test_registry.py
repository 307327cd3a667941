"""The list of features is what the modules of a package hold."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pbt.feature import Aggregation, Builtin, Presentation, Provider
from pbt.registry import Records, collect


class Thing:
    def __init__(self, name: str) -> None:
        self.name = name


FILES = {
    "__init__": "",
    "beta": 'from things import Thing\nB = Thing("b")\nMORE = (Thing("c"), Thing("d"))\n_HIDDEN = 5\n',
    "alpha": 'from things import Thing\nA = Thing("a")\nfrom NAME.beta import B\n',
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    module = ModuleType("things")
    vars(module)["Thing"] = Thing
    monkeypatch.setitem(sys.modules, "things", module)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def package(folder: Path, name: str, **more: str) -> str:
    (folder / name).mkdir()
    for file, text in {**FILES, **more}.items():
        (folder / name / f"{file}.py").write_text(text.replace("NAME", name))
    return name


def test_records_alone_and_in_tuples(folder: Path) -> None:
    """In the order of the modules' names; one that another module imports too counts once."""
    found = collect(package(folder, "sample_once"), Thing)
    assert list(found) == ["a", "b", "c", "d"] and all(found[name].name == name for name in found)


def test_a_name_that_occurs_twice_is_an_error(folder: Path) -> None:
    with pytest.raises(AssertionError, match="Thing a is defined twice"):
        len(
            collect(
                package(folder, "sample_twice", gamma='from things import Thing\nOTHER = Thing("a")\n'), Thing
            )
        )


def test_every_builtin_has_one_kernel_half() -> None:
    for builtin in collect("pbt.builtins", Builtin).values():
        halves = [half for half in (builtin.value, builtin.into, builtin.effect) if half is not None]
        assert len(halves) <= 1, builtin.name
        assert builtin.doc.endswith("."), builtin.name


def test_every_record_has_a_name_of_its_own() -> None:
    builtins, aggregations = collect("pbt.builtins", Builtin), collect("pbt.builtins", Aggregation)
    names = [n for r in (*builtins.values(), *aggregations.values()) for n in (r.name, *r.aliases)]
    assert len(names) == len(set(names))
    assert {"count", "sum", "avg", "min", "max", "stats", "hist", "lhist"} <= set(aggregations)


@pytest.mark.parametrize(
    ("package", "kind"),
    [
        ("pbt.builtins", Builtin),
        ("pbt.builtins", Aggregation),
        ("pbt.builtins", Presentation),
        ("pbt.probes", Provider),
    ],
)
def test_each_record_can_be_found_without_the_others(package: str, kind: type[Any]) -> None:
    """Its module's source mentions its name; aliases that are only the name in other letters need not be."""
    for name, record in collect(package, kind, aliases=True).items():
        if name == record.name or name != record.name.lower():
            alone = Records(package, kind, aliases=True)
            assert alone[name].name == record.name


def test_asking_for_one_record_imports_its_module_alone(folder: Path) -> None:
    found = collect(package(folder, "sample_lazy"), Thing)
    assert "x" not in found and "sample_lazy.alpha" not in sys.modules
    assert found["c"].name == "c" and "sample_lazy.alpha" not in sys.modules
    assert "" not in found and "sample_lazy.alpha" not in sys.modules, "nothing is called so"
    assert len(found) == 4 and "sample_lazy.alpha" in sys.modules


def test_every_opaque_type_can_be_drawn() -> None:
    from pbt.types import Opaque

    drawn = collect("pbt.builtins", Presentation)
    for module in [m for n, m in sys.modules.items() if n.startswith("pbt.builtins.")]:
        for value in vars(module).values():
            if isinstance(value, Opaque):
                assert value.name in drawn


def test_providers_know_themselves() -> None:
    for name, provider in collect("pbt.probes", Provider).items():
        assert name == provider.name and provider.doc.endswith(".")
