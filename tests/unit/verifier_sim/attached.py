"""A small BTF of functions and tracepoints to attach to: for the tests of contexts, and the table of reasons."""

from __future__ import annotations

from pbt.host.btf import Btf
from pbt.uapi.btf import CONST, FUNC, FUNC_PROTO, INT, PTR, STRUCT, TYPEDEF, UNION
from pbt.verifier_sim.kerneltypes import KernelTypes
from tests.unit.host.test_btf import Maker

TARGETS = {"TRACE_RAW_TP": "event"}  # by attach type; other programs attach to "traced"


def small_types(exact: bool = True) -> KernelTypes:
    """int, char; struct inner {int a; inner *next}; struct outer {inner in; union; int bits:3; …}; functions."""
    m = Maker()
    integer = m.add(INT, "int", 4, 32)
    char = m.add(INT, "char", 1, 8)
    inner = m.add(STRUCT, "inner", 16, m.text("a"), integer, 0, m.text("next"), 4, 64, count=2)
    to_inner = m.add(PTR, "", inner)
    assert (inner, to_inner) == (3, 4)
    either = m.add(UNION, "", 8, m.text("p"), to_inner, 0, m.text("n"), integer, 0, count=2)
    to_char = m.add(PTR, "", char)
    void = m.add(PTR, "", 0)
    outer = m.add(
        STRUCT, "outer", 48,
        m.text("in"), inner, 0, m.text("u"), either, 128, m.text("bits"), integer, 3 << 24 | 192,
        m.text("text"), to_char, 256, m.text("any"), void, 320, count=5, flag=1,
    )  # fmt: skip
    constant = m.add(CONST, "", outer)
    to_outer = m.add(PTR, "", constant)
    to_int = m.add(PTR, "", integer)
    proto = m.add(
        FUNC_PROTO, "", integer, m.text("o"), to_outer, m.text("n"), integer, m.text("t"), to_char,
        m.text("i"), to_int, count=4,
    )  # fmt: skip
    for name in ("traced", "bpf_lsm_hook", "bpf_lsm_audit_rule_known", "bpf_lsm_vm_enough_memory", "d_path"):
        m.add(FUNC, name, proto)
    nothing = m.add(FUNC_PROTO, "", 0, m.text("o"), to_outer, count=1)
    m.add(FUNC, "bpf_lsm_free", nothing)
    traced = m.add(FUNC_PROTO, "", 0, m.text("__data"), void, m.text("o"), to_outer, count=2)
    m.add(TYPEDEF, "btf_trace_event", m.add(PTR, "", traced))
    return KernelTypes(Btf(m.bytes()), exact)
