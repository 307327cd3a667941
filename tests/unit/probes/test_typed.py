"""fentry, fexit and iter against a small BTF; the division of refused links; usdt arguments as code."""

from __future__ import annotations

from errno import EADDRNOTAVAIL, EBUSY, EINVAL, EPERM, ESRCH
from types import SimpleNamespace

import pytest

from pbt.feature import Provider
from pbt.host.btf import Btf
from pbt.host.programs import LoadedProgram
from pbt.registry import collect
from pbt.source import NOWHERE, KernelError
from pbt.types import I32, Pointer
from tests.unit.host.test_btf import Maker

PROVIDERS = collect("pbt.probes", Provider)


def kernel() -> Maker:
    m = Maker()
    number = m.add(1, "int", 4, 1 << 24 | 32)
    pair = m.add(4, "pair", 16, m.text("a"), number, 0, m.text("b"), number, 64, count=2)
    pointer = m.add(2, "", pair)
    proto = m.add(
        13, "", pointer, m.text("n"), number, m.text("by_value"), pair, m.text("p"), pointer, count=3
    )
    m.add(12, "typed", proto, count=1)
    silent = m.add(13, "", 0)
    m.add(12, "silent", silent, count=1)
    m.add(12, "silent.cold", silent, count=1)
    meta = m.add(2, "", m.add(4, "bpf_iter_meta", 24))
    m.add(4, "bpf_iter__pair", 24, m.text("meta"), meta, 0, m.text("pair"), pointer, 64, m.text("fd"), number, 128,
          count=3)  # fmt: skip
    m.add(12, "bpf_iter_pair", silent, count=1)
    m.add(4, "sk_buff", 8, m.text("len"), number, 32, count=1)
    m.add(4, "bpf_iter__lost", 8, m.text("meta"), meta, 0, count=1)  # without a function
    return m


def module(base: Btf, m: Maker) -> Btf:
    more = Maker(base.count + 1, len(m.strings))
    proto = more.add(13, "", 0)
    more.add(12, "mod_fn", proto, count=1)
    return Btf(more.bytes(), base)


def program(id: int) -> LoadedProgram:
    """A BPF program with two functions: `int count(struct pair *ctx)` and `int count_more(int)`."""
    m = Maker()
    number = m.add(1, "int", 4, 1 << 24 | 32)
    buffer = m.add(2, "", m.add(4, "__sk_buff", 4, m.text("len"), number, 0, count=1))
    main = m.add(12, "count", m.add(13, "", number, m.text("ctx"), buffer, count=1))
    more = m.add(12, "count_more", m.add(13, "", number, m.text("by"), number, count=1))
    return LoadedProgram(id, Btf(m.bytes()), {"count": main, "count_more": more})


class Machine:
    def __init__(self) -> None:
        made = kernel()
        self.types = Btf(made.bytes())
        self._module = module(self.types, made)
        self.kallsyms = SimpleNamespace(
            functions=dict, names=list, address=lambda name: 0, has=lambda name: True
        )
        self.tracefs = SimpleNamespace(traced=dict, forbidden=frozenset())
        self.programs = (program(7), program(12))

    def has(self, feature: str) -> bool:
        return False

    def modules(self) -> tuple[str, ...]:
        return ("mod",)

    def module_types(self, name: str) -> Btf | None:
        return self._module if name == "mod" else None


@pytest.fixture
def machine() -> Machine:
    return Machine()


def labels(machine, name, *parts):
    provider = PROVIDERS[name]
    return [provider.label(p) for p in provider.expand(provider.parse(parts, NOWHERE), machine)]


def context(machine, name, *parts):
    provider = PROVIDERS[name]
    (place,) = provider.expand(provider.parse(parts, NOWHERE), machine)
    return provider.describe(place, machine)


PLACES = (
    ("fentry", ("typed",), ["fentry:vmlinux:typed"]),
    ("fentry", ("mod_fn",), ["fentry:mod:mod_fn"]),
    ("fentry", ("mod", "mod_fn"), ["fentry:mod:mod_fn"]),
    ("fentry", ("mod", "typed"), []),
    ("fentry", ("vmlinux", "mod_fn"), []),
    ("fentry", ("s*",), ["fentry:vmlinux:silent"]),
    ("fexit", ("*", "mod_*"), ["fexit:mod:mod_fn"]),
    ("fentry", ("nosuch",), []),
    ("fentry", ("bpf", "count"), ["fentry:bpf:7:count", "fentry:bpf:12:count"]),
    ("fentry", ("bpf", "12", "count*"), ["fentry:bpf:12:count", "fentry:bpf:12:count_more"]),
    ("fexit", ("bpf", "count_m*"), ["fexit:bpf:7:count_more", "fexit:bpf:12:count_more"]),
    ("fentry", ("bpf", "3", "count"), []),
    ("fentry", ("bpf", "nosuch"), []),
    ("iter", ("pair",), ["iter:pair"]),
    ("iter", ("*",), ["iter:pair"]),
    ("iter", ("lost",), []),
)


@pytest.mark.parametrize(("name", "parts", "found"), PLACES)
def test_expand(machine, name, parts, found):
    assert labels(machine, name, *parts) == found


def test_ftrace_narrows_wildcards_but_not_names(machine):
    machine.tracefs = SimpleNamespace(traced=lambda: {"vmlinux": frozenset({"typed"})}, forbidden=frozenset())
    assert labels(machine, "fentry", "s*") == []
    assert labels(machine, "fentry", "silent") == ["fentry:vmlinux:silent"]


def test_arguments_take_the_room_they_need(machine):
    found = context(machine, "fentry", "typed")
    assert [(m.name, m.offset) for m in found.args.members] == [("n", 0), ("by_value", 8), ("p", 24)]
    assert (found.prog_type, found.expected_attach_type) == ("TRACING", "TRACE_FENTRY")
    assert found.attach_btf == ("func", "typed") and found.retval is None


def test_the_result_stands_behind_the_arguments(machine):
    found = context(machine, "fexit", "typed")
    assert isinstance(found.retval, Pointer) and found.detail[0] == 32
    assert context(machine, "fexit", "silent").retval is None
    assert context(machine, "fentry", "mod_fn").attach_btf == ("func", "mod:mod_fn")


def test_listed_arguments(machine):
    place = {"module": "vmlinux", "function": "typed"}
    assert list(PROVIDERS["fexit"].fields(place, machine)) == [
        "int n", "struct pair by_value", "struct pair * p", "struct pair * retval"
    ]  # fmt: skip
    assert list(PROVIDERS["fentry"].fields(place, machine))[-1] == "struct pair * p"


def test_functions_of_programs_are_typed_by_their_own_types(machine):
    found = context(machine, "fentry", "bpf", "7", "count")
    assert found.attach_btf == ("prog", "7:count") and found.label == "fentry:bpf:7:count"
    (member,) = found.args.members
    assert member.name == "ctx" and member.ctype == "struct sk_buff *"  # what the kernel hands to the program
    assert member.type.target.find("len").offset == 4
    assert context(machine, "fexit", "bpf", "7", "count_more").retval == I32
    fields = PROVIDERS["fexit"].fields({"module": "bpf", "program": 7, "function": "count_more"}, machine)
    assert list(fields) == ["int by", "int retval"]
    assert PROVIDERS["fentry"].list(("bpf", "*"), machine)[:2] == ["bpf:7:count", "bpf:12:count"]
    assert PROVIDERS["fentry"].list(("bpf", "12", "*"), machine) == ["bpf:12:count", "bpf:12:count_more"]


def test_iterators_have_a_typed_context(machine):
    found = context(machine, "iter", "pair")
    assert found.ctx.find("fd").type == I32 and found.enter is not None
    assert [at for at, _ in found.detail] == [8]  # the pointer that may be missing; not the sequence itself
    assert found.attach_btf == ("func", "bpf_iter_pair") and found.anyone
    assert "struct pair * pair" in PROVIDERS["iter"].fields({"kind": "pair"}, machine)


def test_what_the_kernel_refuses_is_left_out_of_the_link():
    from pbt.probes import kattach

    calls = []

    def link(*, syms, cookies):
        calls.append(dict(zip(syms, cookies, strict=True)) if cookies else syms)
        if "bad" in syms:
            raise KernelError("no", ESRCH)
        return SimpleNamespace(close=lambda: None)

    places = [(name, cookie) for cookie, name in enumerate(["a", "b", "bad", "c", "d", "e"])]
    links = []
    count = kattach._links(links, link, places)
    assert count == 5 and len(links) < 5 and calls[0] == dict(places) and {"c": 3, "d": 4, "e": 5} in calls
    calls.clear()
    assert kattach._links([], link, [("bad", 0)]) == 0 and calls == [("bad",)]
    with pytest.raises(KernelError):
        kattach._links([], link, [("bad", 0)], must=True)


@pytest.mark.parametrize("errno", [EBUSY, EPERM])
def test_other_refusals_are_errors(errno):
    from pbt.probes import kattach

    def link(**more):
        raise KernelError("no", errno)

    if errno == EBUSY:
        assert kattach._links([], link, [("a", 0), ("b", 0)]) == 0
    else:
        with pytest.raises(KernelError):
            kattach._links([], link, [("a", 0), ("b", 0)])


def test_what_one_refusal_ends_is_closed_again(monkeypatch):
    """A link of the second file is refused: the one of the first does not stay."""
    from pbt.probes import uattach, uprobe

    closed = []

    def link(fd, path, offsets, **more):
        if path == "/b":
            raise KernelError("no", EPERM)
        return SimpleNamespace(close=lambda: closed.append(path))

    monkeypatch.setattr(uattach, "link_uprobe_multi", link)
    programs = [
        SimpleNamespace(name="p", expected_attach_type=uprobe.MULTI, place={"path": path}, cookie=0)
        for path in ("/a", "/b")
    ]
    spot = lambda place: uattach.Spot(place["path"], 0)  # noqa: E731
    with pytest.raises(KernelError):
        uattach.attach_many(spot, False, SimpleNamespace(pid=None), 3, programs)
    assert closed == ["/a"]


class Events:
    """Stands for on_event: what was asked for; names in `ambiguous` and addresses in `refused` cannot be had."""

    def __init__(self, ambiguous=(), refused=()):
        self.ambiguous, self.refused, self.asked, self.cookies = ambiguous, refused, [], []

    def __call__(self, fd, *, cookie, type, config, name="", config2=0):
        if name in self.ambiguous:
            raise KernelError("several", EADDRNOTAVAIL)
        if config2 in self.refused:
            raise KernelError("no", EINVAL)
        self.asked.append(name or config2)
        self.cookies.append(cookie)
        return (SimpleNamespace(close=lambda: None),)


class Refusing:
    def __call__(self, fd, **event):
        raise KernelError("no", EINVAL)


SYMBOLS = "".join(
    f"{address:016x} t {name}\n"
    for address, name in ((0, "hidden"), (0x10, "one"), (0x20, "two"), (0x30, "two"), (0x40, "end"))
)


@pytest.fixture
def kprobes(monkeypatch, tmp_path):
    from pbt.host.kallsyms import Kallsyms
    from pbt.probes import kattach

    def attach(events, *places, returns=False, machine="x86_64"):
        monkeypatch.setattr(kattach, "on_event", events)
        monkeypatch.setattr(kattach.perf, "pmu_type", lambda name: 8)
        monkeypatch.setattr(kattach.perf, "retprobe_bit", lambda name: 1)
        (tmp_path / "kallsyms").write_text(SYMBOLS)
        said = []
        kallsyms = Kallsyms(str(tmp_path / "kallsyms"))
        target = SimpleNamespace(kallsyms=kallsyms, arch=SimpleNamespace(name=machine))
        host = SimpleNamespace(say=said.append, target=target)
        programs = [
            SimpleNamespace(name="p", expected_attach_type="", place=place, cookie=number)
            for number, place in enumerate(places)
        ]
        links, count = kattach.attach_many(returns, host, 3, programs)
        return len(links), count, events.asked, said

    return attach


def place(function, module="", offset=0, **more):
    return {"function": function, "module": module, "offset": offset, **more}


def test_wildcards_attach_by_address(kprobes):
    wild = [place(name, matched=True) for name in ("one", "two", "hidden")]
    events = Events()
    assert kprobes(events, *wild) == (4, 3, [0x10, 0x20, 0x30, "hidden"], [])
    assert events.cookies == [0, 1, 1, 2]  # all functions of one name are one place
    assert kprobes(Events(refused=[0x10, 0x20]), *wild) == (2, 2, [0x30, "hidden"], [])
    assert kprobes(Events(), place("one", "some", matched=True)) == (1, 1, ["some:one"], [])


def test_all_functions_of_a_name(kprobes):
    said = ["2 functions are called two, 2 of them probed"]
    assert kprobes(Events(ambiguous=["two"]), place("two", offset=4)) == (2, 1, [0x24, 0x34], said)
    assert kprobes(Events(), place("one")) == (1, 1, ["one"], [])
    for events, where in ((Events(ambiguous=["hidden"]), "hidden"), (Events(["two"], [0x20, 0x30]), "two")):
        with pytest.raises(KernelError):
            kprobes(events, place(where))


def test_offsets_end_where_the_function_does(kprobes):
    assert kprobes(Events(), place("one", offset=15), place("hidden", offset=99))[1] == 2
    assert kprobes(Events(), place("end", offset=99))[1] == 1  # the last symbol: its end is not known
    with pytest.raises(KernelError, match=r"\+16 is beyond the end of one, which has 16 bytes") as caught:
        kprobes(Events(), place("one", offset=16))
    assert caught.value.hint == "two+0 is what is there"


@pytest.mark.parametrize(
    ("machine", "offset", "told"),
    [("aarch64", 4, "where ftrace's call is"), ("aarch64", 6, "not the start of an instruction"),
     ("aarch64", 0, "inlined"), ("x86_64", 4, "inlined")],
)  # fmt: skip
def test_a_refused_offset_is_explained(kprobes, machine, offset, told):
    with pytest.raises(KernelError) as caught:
        kprobes(Refusing(), place("one", offset=offset), machine=machine)
    assert told in caught.value.hint
