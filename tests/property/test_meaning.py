"""Compiled scripts do what they say: the reference evaluator and the emitted instructions agree."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from pbt.bundle import Bundle
from pbt.host.target import Target
from pbt.lang.typed import Typed
from pbt.pipeline import Options, run
from pbt.source import ScriptErrors, Source
from pbt.types import Int, Str, Tuple, Type
from tests.property.model import Kernel
from tests.property.reference import Evaluator, canonical

M64 = (1 << 64) - 1


class Plain(Target):
    """A machine with every feature the code generator knows and no types."""

    release = "6.1.0"
    cpus = online = (0,)
    types = None

    def __init__(self, features: frozenset[str]) -> None:
        self._has = features

    @property
    def arch(self) -> Any:
        from pbt.arch import get

        return get("x86_64")

    def has(self, feature: str) -> bool:
        return feature in self._has


MODERN = frozenset({"ringbuf", "probe_read_kernel", "ktime_get_boot_ns"})

# --- scripts ----------------------------------------------------------------------------------

numbers = st.sampled_from([0, 1, 2, 3, 7, 8, 63, 64, 255, 4096, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]).map(
    str
)
names = st.sampled_from(["$a", "$b", "$c"])
inputs = st.sampled_from(["pid", "tid", "uid", "gid", "cpu", "nsecs", "rand"])
casts = st.sampled_from(["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
binary = st.sampled_from(
    ["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "==", "!=", "<", "<=", ">", ">=", "&&", "||"]
)
texts = st.sampled_from(["comm", '"python"', '"sh"', '"averyverylongname"', "$s", '@s["k"]'])


def _nonzero(parts: tuple[str, str, str]) -> str:
    left, op, right = parts
    return f"({left} {op} ({right} | 1))" if op in "/%" else f"({left} {op} {right})"


leaves = st.one_of(numbers, names, inputs, st.just("@n"), inputs.map(lambda i: f"@m[{i}]"))
exprs: st.SearchStrategy[str] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, binary, inner).map(_nonzero),
        st.tuples(casts, inner).map(lambda p: f"({p[0]})({p[1]})"),
        st.tuples(st.sampled_from("-~!"), inner).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(inner, inner, inner).map(lambda p: f"(({p[0]}) ? ({p[1]}) : ({p[2]}))"),
        st.tuples(texts, st.sampled_from(["==", "!="]), texts).map(" ".join).map("({})".format),
        st.tuples(names, st.sampled_from(["++", "--"])).map("".join),
        inputs.map(lambda i: f"@m[{i}]++"),
        st.just("++@n"),
    ),
    max_leaves=8,
)

compound = st.sampled_from(["=", "+=", "-=", "*=", "&=", "|=", "^=", "<<=", ">>="])
aggregates = st.one_of(
    st.just("@count = count();"),
    exprs.map(lambda e: f"@count2[pid] = count(); @sum = sum({e});"),
    exprs.map(lambda e: f"@min[cpu] = min({e});"),
    exprs.map(lambda e: f"@max = max({e});"),
    exprs.map(lambda e: f"@avg = avg({e});"),
    exprs.map(lambda e: f"@stats[comm] = stats({e});"),
    exprs.map(lambda e: f"@hist = hist({e});"),
    exprs.map(lambda e: f"@hist2[tid] = hist({e}, 2);"),
    exprs.map(lambda e: f"@lhist = lhist({e}, -10, 1000, 7);"),
)
simple = st.one_of(
    st.tuples(names, compound, exprs).map(lambda p: f"{p[0]} {p[1]} {p[2]};"),
    st.tuples(compound, exprs).map(lambda p: f"@n {p[0]} {p[1]};"),
    st.tuples(inputs, compound, exprs).map(lambda p: f"@m[{p[0]}] {p[1]} {p[2]};"),
    st.tuples(exprs, exprs).map(lambda p: f"@two[{p[0]}, comm] = {p[1]};"),
    texts.map(lambda t: f"$s = {t};"),
    texts.map(lambda t: f'@s["k"] = {t};'),
    texts.map(lambda t: f"@by[{t}] = 1;"),
    st.tuples(exprs, texts, exprs).map(
        lambda p: f"$t = ({p[0]}, {p[1]}, {p[2]}); @t[1] = $t; $a = $t.0 + $t.2;"
    ),
    st.tuples(exprs, texts).map(lambda p: f"print(({p[0]}, {p[1]}));"),
    exprs.map(lambda e: f"print({e});"),
    inputs.map(lambda i: f"delete(@m[{i}]);"),
    aggregates,
)


def _counting(var: str, end: int, skipped: str, body: str) -> str:
    """A loop; its variable is named after the length of its body, so that inner ones have other names."""
    return f"for ({var} : 0..{end}) {{ if ({var} == {skipped}) {{ continue; }} $b += {var}; {body} }}"


blocks: st.SearchStrategy[str] = st.recursive(
    st.lists(simple, min_size=1, max_size=3).map(" ".join),
    lambda inner: st.one_of(
        st.tuples(exprs, inner, inner).map(lambda p: f"if ({p[0]}) {{ {p[1]} }} else {{ {p[2]} }}"),
        st.tuples(exprs, inner).map(lambda p: f"if ({p[0]}) {{ {p[1]} }}"),
        st.tuples(texts, texts, inner).map(lambda p: f"if ({p[0]} == {p[1]}) {{ {p[2]} }}"),
        st.tuples(exprs, inner).map(lambda p: f"if ({p[0]}) {{ return; }} {p[1]}"),
        st.tuples(st.integers(1, 3), inner).map(lambda p: f"unroll({p[0]}) {{ {p[1]} }}"),
        st.tuples(st.integers(-2, 4), exprs, inner).map(
            lambda p: _counting(f"$i{len(p[2])}", max(p[0], 0), p[1], p[2])
        ),
        st.lists(inner, min_size=1, max_size=3).map(" ".join),
    ),
    max_leaves=5,
)
PRELUDE = '$a = nsecs; $b = (int64)tid; $c = (int8)rand; $s = comm; @n = 0; @m[pid] = 0; @s["k"] = "start_of_text"; '
scripts = blocks.map(lambda body: f"BEGIN {{ {PRELUDE} {body} }}")
u32 = st.one_of(st.integers(0, 4), st.integers(0, 2**32 - 1))
runs = st.lists(
    st.fixed_dictionaries(
        {
            "pid": u32, "tid": u32, "uid": u32, "gid": u32, "cpu": st.just(0), "rand": u32,
            "nsecs": st.one_of(st.integers(0, 300), st.integers(0, M64)),
            "comm": st.sampled_from([b"python", b"sh", b"averyverylongn", b"", b"pyth"]),
        }
    ),
    min_size=1, max_size=3,
)  # fmt: skip


# --- the law ----------------------------------------------------------------------------------


@given(scripts, runs)
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@example('BEGIN { $a = (int8)pid; @n = $a / -3; @m[0] = $a % 5; }', [
    {"pid": 200, "tid": 1, "uid": 0, "gid": 0, "cpu": 0, "rand": 0, "nsecs": 5, "comm": b"sh"}])  # fmt: skip
def test_compiled_scripts_mean_what_they_say(script: str, inputs: list[dict[str, Any]]) -> None:
    """The maps and records that the instructions leave are those that the script asks for."""
    try:
        work = run(Source("stdin", script), Plain(MODERN), Options(environment={}))
    except ScriptErrors as errors:  # arithmetic of literals alone may not leave 64 bits
        assume(any("the result must fit 64 bits" not in (e.hint or "") for e in errors.errors))
        raise
    typed, bundle = work.typed, work.bundle
    assert typed is not None and bundle is not None
    kernel = Kernel(bundle, {})
    maps: dict[str, dict[Any, Any]] = {}
    for given_ in inputs:
        kernel.inputs, kernel.records = given_, []
        kernel.run(bundle.programs[0].code)
        reference = Evaluator(typed.instances[0], typed.maps, given_, maps)
        reference.run()
        assert _records(bundle, kernel) == reference.printed, script
    assert _maps(typed, bundle, kernel) == {name: cells for name, cells in maps.items() if cells}, script


def _records(bundle: Bundle, kernel: Kernel) -> list[tuple[Any, ...]]:
    found = []
    for record in kernel.records:
        event = bundle.events[struct.unpack_from("<I", record)[0]]
        fields = event.record.fields[2:]
        values = event.record.decode(record)[2:]
        found.append(tuple(_pattern(v, f.type) for v, f in zip(values, fields, strict=True)))
    return found


def _pattern(value: Any, kind: Type) -> Any:
    """A decoded value in the reference's form."""
    if isinstance(kind, Str):
        return value
    if isinstance(kind, Tuple):
        return tuple(_pattern(v, k) for v, k in zip(value, kind.elements, strict=True))
    return canonical(int(value), kind)


def _maps(typed: Typed, bundle: Bundle, kernel: Kernel) -> dict[str, dict[Any, Any]]:
    found = {}
    for name in typed.maps:
        map_ = bundle.map(name)
        assert map_.key is not None
        cells = {}
        for raw, data in kernel.contents(name).items():
            if map_.key.fields:
                parts = zip(map_.key.decode(raw), map_.key.fields, strict=True)
                key = tuple(_pattern(v, f.type) for v, f in parts)
            elif typed.maps[name].aggregation in ("hist", "lhist"):
                key = struct.unpack("<I", raw)
                if data == bytes(8):
                    continue
            else:
                key = ()
                if not struct.unpack_from("<Q", data, len(data) - 8)[0]:
                    continue
            cells[key] = _cell(typed, name, data)
        if cells:
            found[name] = cells
    return found


def _cell(typed: Typed, name: str, data: bytes) -> Any:
    known = typed.maps[name]
    if not known.aggregation:
        from pbt.record import reader

        assert known.value is not None
        return _pattern(reader(known.value)(data[: known.value.size]), known.value)
    words = struct.unpack_from(f"<{len(data) // 8}Q", data)
    if known.aggregation in ("avg", "stats"):
        return words[0], words[1]
    if known.aggregation in ("min", "max"):
        return int.from_bytes(data[:8], "little", signed=known.signed)
    assert isinstance(known.key, tuple) and Int(8)
    return words[0]
