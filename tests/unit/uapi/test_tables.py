"""The tables of pbt.uapi, without a kernel."""

from __future__ import annotations

import re

from pbt.uapi import btf, consts, helpers
from pbt.uapi.features import FALLBACKS, FEATURES, helper_release
from pbt.uapi.helpers import BY_ID, HELPERS, NEWER, named
from pbt.uapi.maps import MAP_BY_ID, MAP_TYPES
from pbt.uapi.progs import PROG_TYPES, for_regs, may_access, ranges, returns


def test_helper_ids_have_no_gaps() -> None:
    assert list(BY_ID) == list(range(1, 212)) and len(HELPERS) == 211


def test_every_kind_is_explained() -> None:
    arguments, results = str(helpers.__doc__).split("Kinds of results:")
    explained = [set(re.findall(r"^    ([A-Z_]+): ", text, re.MULTILINE)) for text in (arguments, results)]
    assert {named(arg)[0] for h in HELPERS.values() for arg in h.args} == explained[0]
    assert {named(h.ret)[0] for h in HELPERS.values()} == explained[1]
    assert named("MEM_FIXED:8") == ("MEM_FIXED", "8") and named("ANYTHING") == ("ANYTHING", "")


def test_memory_is_followed_by_its_size() -> None:
    sized = ("MEM", "MEM_RDONLY", "UNINIT_MEM", "PTR_TO_MEM_OR_NULL", "MEM_OR_NULL_RDONLY")
    for helper in HELPERS.values():
        for index, arg in enumerate(helper.args):
            if arg in sized:
                assert "SIZE" in helper.args[index + 1], helper


def test_sizes_follow_memory() -> None:
    for helper in HELPERS.values():
        for index, arg in enumerate(helper.args):
            if arg.startswith("CONST_SIZE"):
                assert "MEM" in helper.args[index - 1], helper


def test_newer_helpers_have_a_feature() -> None:
    for helper in HELPERS.values():
        assert bool(helper.feature) == (helper.id > NEWER)
        assert not helper.feature or helper.feature in FEATURES


def test_releases_grow_with_helper_ids() -> None:
    found = [tuple(map(int, helper_release(id).split("."))) for id in BY_ID]
    assert found == sorted(found)
    assert helper_release(HELPERS["probe_read_kernel"].id) == "5.5"
    assert helper_release(HELPERS["ringbuf_reserve"].id) == "5.8"
    assert helper_release(HELPERS["get_func_ip"].id) == "5.15"


def test_features_name_themselves() -> None:
    kinds = {"helper", "map", "uses", "prog", "attach", "insns", "run", "link", "batch", "stats", "file"}
    for name, row in FEATURES.items():
        assert row.name == name and row.kind in kinds
        assert all(part.isdigit() for part in row.release.split("."))


def test_map_and_program_types_are_complete() -> None:
    assert {row.id for row in MAP_TYPES.values()} == set(consts.MAP_TYPE.values()) - {0} == MAP_BY_ID.keys()
    assert {row.id for row in PROG_TYPES.values()} == set(consts.PROG_TYPE.values()) - {0}


def test_types_name_features_that_exist() -> None:
    assert {row.feature for row in (*MAP_TYPES.values(), *PROG_TYPES.values())} <= {"", *FEATURES}


def test_every_helper_is_allowed_somewhere() -> None:
    used = {name for row in PROG_TYPES.values() for name in row.helpers}
    assert HELPERS.keys() - used == set()


def test_helpers_that_take_maps_have_map_types() -> None:
    taken = {name for row in MAP_TYPES.values() for name in row.helpers}
    wants = {h.name for h in HELPERS.values() if "CONST_MAP_PTR" in h.args}
    assert wants <= taken


def test_context_accesses() -> None:
    kprobe, tracepoint = PROG_TYPES["KPROBE"], PROG_TYPES["TRACEPOINT"]
    assert may_access(kprobe.reads, 160, 8) and not may_access(kprobe.reads, 168, 8)
    assert not may_access(kprobe.reads, 4, 8) and may_access(kprobe.reads, 4, 4)
    assert not may_access(kprobe.writes, 0, 8)
    assert not may_access(tracepoint.reads, 0, 8) and may_access(tracepoint.reads, 8184, 8)
    assert list(ranges("84:0-8,16-24")) == [(8, 0, 8), (4, 0, 8), (8, 16, 24), (4, 16, 24)]


def test_contexts_with_registers_follow_the_machine() -> None:
    kprobe, event = for_regs(PROG_TYPES["KPROBE"], 272), for_regs(PROG_TYPES["PERF_EVENT"], 272)
    assert may_access(kprobe.reads, 264, 8) and not may_access(kprobe.reads, 272, 8)
    assert may_access(event.reads, 272, 4) and not may_access(event.reads, 264, 4)
    assert for_regs(PROG_TYPES["XDP"], 272) is PROG_TYPES["XDP"]
    assert for_regs(PROG_TYPES["PERF_EVENT"], 168).reads == PROG_TYPES["PERF_EVENT"].reads


def test_return_values() -> None:
    assert returns("KPROBE") is None and returns("KPROBE", "TRACE_UPROBE_SESSION") == (0, 1)
    assert returns("CGROUP_SKB") == (0, 1) and returns("CGROUP_SKB", "CGROUP_INET_EGRESS") == (0, 3)
    assert returns("TRACING", "TRACE_RAW_TP") is None and returns("TRACING", "TRACE_FENTRY") == (0, 0)


def test_fallbacks_are_of_features_and_by_features() -> None:
    assert FALLBACKS.keys() <= FEATURES.keys()
    assert {needed for ways in FALLBACKS.values() for needed, _ in ways} <= {"", *FEATURES}


def test_kinds_of_btf_are_called_as_their_numbers() -> None:
    assert [getattr(btf, name.upper()) for name in btf.KINDS[1:]] == list(range(1, len(btf.KINDS)))
    assert not btf.WORDS.keys() & btf.WORDS_EACH.keys()
