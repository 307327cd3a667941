"""Attach points → places: names and aliases of providers, parameters, wildcards, what does not exist."""

from __future__ import annotations

from typing import Any

import pytest

from pbt.feature import find_provider, providers
from pbt.lang.expand import expand
from pbt.lang.renamed import FUNCTIONS, successors
from pbt.lang.settings import settle
from pbt.source import ScriptError
from tests.unit.lang.shown import parsed
from tests.unit.lower.machine import machine


def labels(script: str, *params: str, **config: Any) -> tuple[list[list[str]], list[str]]:
    """Names of the places of each probe, and warnings."""
    settings = {**settle((), {}), **config}
    expanded, warnings = expand(parsed(script).script, machine(), params, settings)
    return [[place.context.label for place in e.places] for e in expanded], [w.message for w in warnings]


def test_wildcards() -> None:
    assert labels("kprobe:do_* { } kprobe:do_m* { } kprobe:do_it,kprobe:do_more { }")[0] == [
        ["kprobe:do_it", "kprobe:do_more"], ["kprobe:do_more"], ["kprobe:do_it", "kprobe:do_more"]]  # fmt: skip


def test_parameters_are_put_in_as_text() -> None:
    assert labels("kprobe:do_$1 { } interval:ms:$2 { }", "it", "50")[0] == [
        ["kprobe:do_it"],
        ["interval:ms:50"],
    ]
    with pytest.raises(ScriptError):
        labels("kprobe:do_$1 { }")


@pytest.mark.parametrize(
    ("name", "provider"),
    [("kprobe", "kprobe"), ("k", "kprobe"), ("KPROBE", "kprobe"), ("kr", "kretprobe"),
     ("t", "tracepoint"), ("i", "interval"), ("p", "profile"),
     ("begin", "BEGIN"), ("END", "END"), ("u", "uprobe"),
     ("s", "software"), ("h", "hardware"), ("rt", "rawtracepoint")],
)  # fmt: skip
def test_names_of_providers(name: str, provider: str) -> None:
    found = find_provider(name)
    assert found is not None and found.name.lower() == provider.lower()


def test_aliases_mean_one_provider() -> None:
    known = providers()
    names = [n for p in set(known.values()) for n in (p.name, *p.aliases)]
    assert len(names) == len(set(names)) and all(find_provider(p.name) is p for p in known.values())
    assert find_provider("nothing") is None


@pytest.mark.parametrize(
    ("script", "message", "hint"),
    [
        ("kprob:f { }", "Invalid probe type: kprob", "did you mean kprobe?"),
        ("zzz:f { }", "Invalid probe type: zzz", "pbt -l"),
        ("kprobe:do_itt { }", "No matches for kprobe do_itt", "did you mean kprobe:do_it?"),
        ("kprobe:nothing_* { }", "No matches for kprobe nothing_*", "missing_probes"),
        (
            "tracepoint:test:gone { }",
            "No matches for tracepoint test:gone",
            "did you mean tracepoint:test:go?",
        ),
    ],
)
def test_what_does_not_exist(script: str, message: str, hint: str) -> None:
    with pytest.raises(ScriptError) as caught:
        labels(script)
    assert message in caught.value.message and hint in caught.value.hint
    assert caught.value.span.text == script.partition(" ")[0]


def test_functions_that_have_another_name_now(monkeypatch: pytest.MonkeyPatch) -> None:
    assert successors("kmem_cache_alloc") == ("kmem_cache_alloc_noprof",)
    monkeypatch.setitem(FUNCTIONS, "did_it", ("never_done", "do_it"))
    test_what_does_not_exist(
        "kprobe:did_it { }", "No matches for kprobe did_it", "this kernel has kprobe:do_it"
    )


def test_one_of_several_attach_points_may_be_missing() -> None:
    found, warnings = labels("kprobe:nothing, kprobe:do_it { }")
    assert found == [["kprobe:do_it"]] and len(warnings) == 1 and "kprobe nothing" in warnings[0]
    assert labels("kprobe:nothing, kprobe:do_it { }", missing_probes="ignore")[1] == []
    with pytest.raises(ScriptError, match="No matches for kprobe nothing"):
        labels("kprobe:nothing { } kprobe:do_it { }")


def test_missing_probes_may_be_tolerated() -> None:
    script = "kprobe:do_it, kprobe:nothing { }"
    found, warnings = labels(script, missing_probes="warn")
    assert found == [["kprobe:do_it"]] and len(warnings) == 1 and "kprobe nothing" in warnings[0]
    assert labels(script, missing_probes="ignore") == ([["kprobe:do_it"]], [])
    with pytest.raises(ScriptError, match="No probes to attach"):
        labels("kprobe:nothing { }", missing_probes="ignore")


def test_too_many_probes() -> None:
    with pytest.raises(ScriptError, match="attach to 3 probes"):
        labels("kprobe:do_* { } BEGIN { }", max_probes=2)
    assert labels("kprobe:do_* { }", max_probes=2)[0] == [["kprobe:do_it", "kprobe:do_more"]]
