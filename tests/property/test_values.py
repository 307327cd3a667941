"""Expressions of every type have one value: by the reference, by the interpreter, and by the running kernel.

A batch is one program that prints a tuple of many expressions; each disagreement names the expression,
the inputs, and who says what. Inputs lie in maps, so that nothing is known while compiling.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pbt.bundle import Bundle
from pbt.host.target import Target
from pbt.pipeline import Options, Work, run
from pbt.runtime.load import load, ring_size
from pbt.source import ScriptErrors, Source
from pbt.sys import bpf
from pbt.sys.ring import RingBuffer
from pbt.types import Array, Str, Tuple, Type
from tests.property.model import Kernel
from tests.property.reference import Evaluator, canonical
from tests.property.test_meaning import MODERN, Plain

M64 = (1 << 64) - 1
BATCH = 40
TYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
GIVEN = " ".join(f"${t} = ({t})@{'ab'[n % 2]};" for n, t in enumerate(TYPES))
PRELUDE = (
    f"{GIVEN} $bool = (bool)(@a & 1); $s = comm; $t = (@c & 1 ? \"left\" : \"averyverylongright\");"
    " $bytes = (uint8[8])@a; $words = (int16[4])@b; $pair = ($int16, $t, $uint32); $rec = (x=$int8, y=($uint64, $s));"
)  # fmt: skip
TYPED = "END { @a = nsecs; @b = nsecs; @c = nsecs; }"

# --- expressions ------------------------------------------------------------------------------

edges = st.sampled_from([0, 1, 2, 3, 7, 63, 64, 127, 128, 255, 256, 32767, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1,
                         2**63, 2**64 - 1])  # fmt: skip
words = st.one_of(edges, st.integers(0, M64))
types = st.sampled_from(TYPES)
leaves = st.one_of(
    types.map("${}".format),
    st.one_of(edges, st.integers(0, 300)).map(str),
    st.sampled_from(["$bool", "@a", "@b", "@c", "true", "false", "-1", "-128", "(int8)-5", "(uint16)65535"]),
    st.sampled_from(["$pair.0", "$pair.2", "$rec.x", "$rec.y.0", "$pair[0]"]),
    st.integers(0, 7).map("$bytes[{}]".format),
    st.integers(0, 3).map("$words[{}]".format),
    st.integers(0, 15).map("$s[{}]".format),
)
texts = st.sampled_from(
    ["$s", "$t", '"python"', '"sh"', '"left"', '""', '"averyverylongright"', "$pair.1", "$rec.y.1"]
)
operators = st.sampled_from(["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "==", "!=", "<", "<=", ">", ">=",
                             "&&", "||"])  # fmt: skip
equality = st.sampled_from(["==", "!="])


def _binary(parts: tuple[str, str, str]) -> str:
    left, op, right = parts
    return f"({left} {op} ({right} | 1))" if op in "/%" else f"({left} {op} {right})"


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.tuples(inner, operators, inner).map(_binary)
    cast = st.tuples(types, inner).map(lambda p: f"({p[0]})({p[1]})")
    return st.one_of(
        binary,
        binary,
        binary,
        binary,
        binary,
        binary,
        cast,
        cast,
        inner.map(lambda e: f"(bool)({e})"),
        st.tuples(st.sampled_from("-~!"), inner).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(inner, inner, inner).map(lambda p: f"(({p[0]}) ? ({p[1]}) : ({p[2]}))"),
        st.tuples(texts, equality, texts).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(inner, texts, texts, equality, texts).map(
            lambda p: f"((({p[0]}) ? {p[1]} : {p[2]}) {p[3]} {p[4]})"
        ),
        st.tuples(inner, inner).map(lambda p: f"(({p[0]}, {p[1]})).1"),
        st.tuples(inner, inner).map(lambda p: f"((b={p[0]}, a={p[1]})).b"),
        st.tuples(inner, st.integers(0, 7)).map(lambda p: f"((uint8[8])(uint64)({p[0]}))[{p[1]}]"),
        st.tuples(inner, st.integers(0, 1)).map(lambda p: f"((int32[2])(int64)({p[0]}))[{p[1]}]"),
        st.tuples(inner, texts, equality).map(
            lambda p: f"(((int64)({p[0]}), {p[1]}) {p[2]} ((int64)@a, {p[1]}))"
        ),
        st.tuples(inner, equality).map(lambda p: f"((uint8[8])(uint64)({p[0]}) {p[1]} $bytes)"),
        inner.map(lambda e: f"(uint64)((uint8[8])(uint64)({e}))"),
    )


numbers: st.SearchStrategy[str] = st.recursive(leaves, _larger, max_leaves=6)
strings = st.one_of(texts, st.tuples(numbers, texts, texts).map(lambda p: f"(({p[0]}) ? {p[1]} : {p[2]})"))
expressions = st.one_of(
    numbers,
    numbers,
    numbers,
    strings,
    st.tuples(numbers, strings).map(lambda p: f"({p[0]}, {p[1]})"),
    st.tuples(numbers, strings, numbers).map(lambda p: f"(z={p[0]}, m={p[1]}, a=({p[2]}, 7))"),
    st.tuples(numbers, numbers).map(
        lambda p: f"(({p[0]}) ? $pair : ((int16)({p[1]}), $t, (uint32)({p[1]})))"
    ),
    numbers.map(lambda e: f"(uint16[4])(uint64)({e})"),
)
inputs = st.fixed_dictionaries(
    {
        "@a": words,
        "@b": words,
        "@c": words,
        "comm": st.sampled_from([b"python", b"sh", b"averyverylongn", b"left"]),
    }
)
batches = st.lists(expressions, min_size=BATCH, max_size=BATCH)
runs = st.lists(inputs, min_size=2, max_size=3)

# --- who says what ------------------------------------------------------------------------------


def _compiled(batch: list[str], target: Target) -> Work:
    """The batch as a program. Expressions of literals whose value does not fit, which is an error, make way."""
    head = f"BEGIN {{ {PRELUDE} print(("
    while True:
        text = f"{head}{', '.join(batch)},)); }} {TYPED}"
        try:
            return run(Source("script", text), target, Options(environment={}))
        except ScriptErrors as several:
            error = several.errors[0]
            assert "unable to fold literals" in error.message, error
            ends = accumulate((len(e) + 2 for e in batch), initial=len(head))
            batch[bisect_right(list(ends), error.span.start) - 1] = "$int64"


def _by_reference(work: Work, given_: Mapping[str, Any]) -> tuple[Any, ...]:
    assert work.typed is not None
    maps = {name: {(): given_[name]} for name in ("@a", "@b", "@c")}
    evaluator = Evaluator(work.typed.instances[0], work.typed.maps, given_, maps)
    evaluator.run()
    ((values,),) = evaluator.printed
    return values


def _cell(number: int) -> bytes:
    """A scalar map's value: the number, and that it was written."""
    return number.to_bytes(8, "little") + (1).to_bytes(8, "little")


def _by_interpreter(work: Work, given_: Mapping[str, Any]) -> tuple[Any, ...]:
    assert work.bundle is not None
    kernel = Kernel(work.bundle, given_)
    for name in ("@a", "@b", "@c"):
        kernel.machine.write(kernel.values[name][bytes(4)], _cell(given_[name]))
    kernel.run(work.bundle.programs[0].code)
    return _decoded(work.bundle, kernel.records)


@contextmanager
def _named(comm: bytes) -> Iterator[None]:
    """This thread under another name."""
    path = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
    old = path.read_bytes()
    path.write_bytes(comm)
    yield
    path.write_bytes(old)


def _by_kernel(work: Work, several: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    bundle = work.bundle
    assert bundle is not None
    with load(bundle, work.target) as loaded:
        ring = RingBuffer(loaded.map("ringbuf"), ring_size(bundle.map("ringbuf").max_entries, 0))
        for given_ in several:
            for name in ("@a", "@b", "@c"):
                bpf.map_update(loaded.map(name), bytes(4), _cell(given_[name]))
            with _named(given_["comm"]):
                bpf.prog_test_run(loaded.programs[0].fileno())
            yield _decoded(bundle, ring.drain())
        ring.close()


def _decoded(bundle: Bundle, records: Sequence[bytes]) -> tuple[Any, ...]:
    (record,) = records
    event = bundle.events[int.from_bytes(record[:4], "little")]
    (values,), kind = event.record.decode(record)[2:], event.record.fields[2].type
    return tuple(_pattern(values, kind))


def _pattern(value: Any, kind: Type) -> Any:
    """A decoded value in the reference's form."""
    if isinstance(kind, Tuple):
        items = value.values() if isinstance(value, dict) else value
        return tuple(_pattern(v, k) for v, k in zip(items, kind.elements, strict=True))
    if isinstance(kind, Array):
        size = kind.element.size
        return b"".join((v & (1 << 8 * size) - 1).to_bytes(size, "little") for v in value)
    return value if isinstance(kind, Str) else canonical(int(value), kind)


def _compare(batch: Sequence[str], given_: Mapping[str, Any], **answers: tuple[Any, ...]) -> None:
    for number, text in enumerate(batch):
        said = {who: values[number] for who, values in answers.items()}
        assert len(set(said.values())) == 1, f"{text}\nwith {given_}\n{said}"


# --- the laws -----------------------------------------------------------------------------------

ALL = tuple(HealthCheck)


@given(batches, runs)
@settings(max_examples=10, deadline=None, suppress_health_check=ALL)
@example(
    ["$int8 / -3", "$int8 % 5", "-$int64 / ($int32 | 1)"], [{"@a": 200, "@b": M64, "@c": 1, "comm": b"sh"}]
)
def test_instructions_mean_what_the_script_says(batch: list[str], several: list[dict[str, Any]]) -> None:
    work = _compiled(batch, Plain(MODERN))
    for given_ in several:
        _compare(
            batch, given_, reference=_by_reference(work, given_), interpreter=_by_interpreter(work, given_)
        )


@pytest.mark.live
@given(batches, runs)
@settings(max_examples=52, deadline=None, suppress_health_check=ALL)
def test_the_kernel_comes_to_the_same(batch: list[str], several: list[dict[str, Any]]) -> None:
    """52 batches of 40: more than 2,000 expressions."""
    work = _compiled(batch, Target.live())
    for given_, value in zip(several, _by_kernel(work, several), strict=True):
        _compare(
            batch, given_, reference=_by_reference(work, given_), interpreter=_by_interpreter(work, given_), kernel=value
        )  # fmt: skip
