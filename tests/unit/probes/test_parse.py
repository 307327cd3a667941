"""Attach points as text: what each provider makes of them, and what it says of mistakes."""

from __future__ import annotations

import pytest

from pbt.feature import Provider
from pbt.registry import collect
from pbt.source import NOWHERE, ScriptError

PROVIDERS = collect("pbt.probes", Provider)

GOOD = (  # provider, parts, label
    ("BEGIN", [], "begin"),
    ("END", [], "end"),
    ("tracepoint", ["sched", "sched_switch"], "tracepoint:sched:sched_switch"),
    ("tracepoint", ["*sleep*"], "tracepoint:*:*sleep*"),
    ("kprobe", ["vfs_read"], "kprobe:vfs_read"),
    ("kprobe", ["vfs_read+8"], "kprobe:vfs_read+8"),
    ("kprobe", ["vfs_read+0x10"], "kprobe:vfs_read+16"),
    ("kprobe", ["vfs_read+0"], "kprobe:vfs_read"),
    ("kprobe", ["nf_tables", "nft_do_chain"], "kprobe:nf_tables:nft_do_chain"),
    ("kprobe", ["nft_do_chain [nf_tables]"], "kprobe:nft_do_chain"),
    ("kretprobe", ["vfs_read"], "kretprobe:vfs_read"),
    ("uprobe", ["/bin/bash", "readline"], "uprobe:/bin/bash:readline"),
    ("uprobe", ["/bin/bash", "readline+4"], "uprobe:/bin/bash:readline+4"),
    ("uprobe", ["readline"], "uprobe:readline"),
    ("uprobe", ["/bin/bash", "0x1234"], "uprobe:/bin/bash:0x1234"),
    ("uretprobe", ["libc", "malloc"], "uretprobe:libc:malloc"),
    ("interval", ["s", "5"], "interval:s:5"),
    ("interval", ["500ms"], "interval:us:500000"),
    ("interval", ["1000"], "interval:us:1"),
    ("profile", ["hz", "99"], "profile:hz:99"),
    ("software", ["page-faults", "100"], "software:page-faults:100"),
    ("software", ["cs"], "software:cs"),
    ("hardware", ["cache-misses", "1000"], "hardware:cache-misses:1000"),
    ("rawtracepoint", ["sched_switch"], "rawtracepoint:sched_switch"),
    ("kprobe", ["0xffffffff81000000"], "kprobe:0xffffffff81000000"),
    ("fentry", ["vfs_read"], "fentry:vfs_read"),
    ("fexit", ["nf_tables", "nft_do_chain"], "fexit:nf_tables:nft_do_chain"),
    ("uprobe", ["/bin/x", "cpp", "zoo::Cat::meow(int)"], "uprobe:/bin/x:cpp:zoo::Cat::meow(int)"),
    ("usdt", ["/bin/x", "python", "gc__start"], "usdt:/bin/x:python:gc__start"),
    ("usdt", ["/bin/x", "gc__start"], "usdt:/bin/x:*:gc__start"),
    ("usdt", ["gc__start"], "usdt::*:gc__start"),
    ("usdt", ["", "python", "gc__start"], "usdt::python:gc__start"),
    ("uprobe", ["", "main"], "uprobe:main"),
    ("fentry", ["bpf", "f"], "fentry:bpf:f"),
    ("fexit", ["bpf", "12", "f"], "fexit:bpf:12:f"),
    ("iter", ["task"], "iter:task"),
    ("iter", ["task", "pin"], "iter:task:/sys/fs/bpf/pin"),
    ("iter", ["task", "/tmp/pin"], "iter:task:/tmp/pin"),
    ("watchpoint", ["0x1000", "8", "wr"], "watchpoint:0x1000:8:wr"),
    ("self", ["signal", "SIGUSR1"], "self:signal:SIGUSR1"),
    ("rawtracepoint", ["vmlinux", "sched_switch"], "rawtracepoint:vmlinux:sched_switch"),
)


@pytest.mark.parametrize(("name", "parts", "label"), GOOD)
def test_label(name, parts, label):
    provider = PROVIDERS[name]
    assert provider.label(provider.parse(parts, NOWHERE)) == label


BAD = (  # provider, parts, words of the message
    ("BEGIN", ["x"], "begin probe type requires 0 arguments, found 1"),
    ("END", [""], "end probe type requires 0 arguments, found 1"),
    ("interval", ["s", "99999999999999999999"], "too long"),
    ("tracepoint", ["sched"], "tracepoint probe type requires 2 arguments, found 1"),
    ("tracepoint", ["a", "b", "c"], "requires 2 arguments, found 3"),
    ("tracepoint", ["a", ""], "requires 2 arguments, found 1"),
    ("kprobe", [], "kprobe probe type requires 1 or 2 arguments, found 0"),
    ("kprobe", ["vfs_read+x"], "not a positive number"),
    ("kretprobe", ["vfs_read+4"], "no offset"),
    ("uprobe", ["/bin/bash"], "uprobe probe type requires 2 or 3 arguments, found 1"),
    ("uretprobe", ["/bin/bash", "readline+4"], "no offset"),
    ("interval", ["s", "0"], "not a positive number"),
    ("interval", ["s", "abc"], "not a positive number"),
    ("interval", ["days", "1"], "Invalid unit 'days'"),
    ("interval", ["999"], "too short"),
    ("profile", [], "requires 1 or 2 arguments, found 0"),
    ("software", ["page-fault"], "Unknown software event"),
    ("software", ["page-*"], "no wildcards"),
    ("software", ["page-faults", "-1"], "not a positive number"),
    ("hardware", ["nosuch"], "Unknown hardware event"),
    ("fentry", ["a", "b", "c"], "fentry probe type requires 1 or 2 arguments, found 3"),
    ("usdt", ["/bin/x"], "usdt probe type requires 2 or 3 arguments, found 1"),
    ("usdt", ["", "a", "b", "c"], "usdt probe type requires 1 or 2 arguments, found 3"),
    ("uprobe", ["/bin/x", "cpp", ""], "uprobe probe type requires 3 arguments, found 2"),
    ("fentry", ["bpf", "x", "f"], "Invalid program id"),
    ("fentry", ["bpf", ""], "bpf:function or bpf:id:function"),
    ("iter", ["task*", "pin"], "one file can be one iterator alone"),
    ("iter", [], "iter probe type requires 1 or 2 arguments, found 0"),
    ("watchpoint", ["0x1000", "3", "w"], "Invalid length: 3"),
    ("watchpoint", ["0x1000", "8", "q"], "Invalid mode: 'q'"),
    ("watchpoint", ["0x1000", "8", "ww"], "Invalid mode: 'ww'"),
    ("watchpoint", ["0x1000"], "requires 3 arguments, found 1"),
    ("self", ["signal", "SIGINT"], "know only signal:SIGUSR1"),
    ("self", ["signal"], "requires 2 arguments, found 1"),
    ("rawtracepoint", ["a", "b", "c"], "requires 1 or 2 arguments, found 3"),
)


@pytest.mark.parametrize(("name", "parts", "words"), BAD)
def test_mistake(name, parts, words):
    with pytest.raises(ScriptError, match=words.replace("(", r"\(")):
        PROVIDERS[name].parse(parts, NOWHERE)


PERIODS = (
    (["s", "5"], {"ns": 5_000_000_000}),
    (["ms", "100"], {"ns": 100_000_000}),
    (["us", "10"], {"ns": 10_000}),
    (["hz", "99"], {"hz": 99}),
    (["1s"], {"ns": 1_000_000_000}),
    (["2m"], {"ns": 120_000_000_000}),
    (["5000"], {"ns": 5_000}),
)


@pytest.mark.parametrize(("parts", "rate"), PERIODS)
def test_period(parts, rate):
    place = dict(PROVIDERS["interval"].parse(parts, NOWHERE))
    place.pop("text")
    assert place == rate


def test_a_misspelt_event_gets_a_suggestion():
    with pytest.raises(ScriptError) as caught:
        PROVIDERS["software"].parse(["page-fault"], NOWHERE)
    assert "page-faults" in caught.value.hint


SHORT = {
    "t": "tracepoint", "k": "kprobe", "kr": "kretprobe", "u": "uprobe", "ur": "uretprobe", "U": "usdt",
    "p": "profile", "i": "interval", "s": "software", "h": "hardware", "w": "watchpoint", "rt": "rawtracepoint",
    "f": "fentry", "kfunc": "fentry", "fr": "fexit", "kretfunc": "fexit", "it": "iter",
}  # fmt: skip


@pytest.mark.parametrize(("short", "name"), SHORT.items())
def test_short_and_former_names(short, name):
    assert short in PROVIDERS[name].aliases


def test_names_and_aliases_are_distinct():
    names = [name for p in PROVIDERS.values() for name in (p.name, *p.aliases)]
    assert len(names) == len(set(names))
    assert set(PROVIDERS) >= {"BEGIN", "END", "tracepoint", "kprobe", "kretprobe", "uprobe", "uretprobe"}
    assert set(PROVIDERS) >= {"interval", "profile", "software", "hardware", "rawtracepoint"}
    assert set(PROVIDERS) >= {"fentry", "fexit", "usdt", "iter", "watchpoint", "self"}


def test_what_is_listed_without_a_pattern():
    listed = {name for name, provider in PROVIDERS.items() if provider.listed}
    assert {"kprobe", "tracepoint", "software", "hardware", "rawtracepoint", "fentry", "iter"} <= listed
    assert not listed & {"BEGIN", "END", "interval", "profile", "uprobe", "kretprobe", "uretprobe"}
