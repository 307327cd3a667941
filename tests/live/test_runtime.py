"""A whole session on the running kernel, from Bundles written by hand: no compiler is involved."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from errno import EPERM
from pathlib import Path

import pytest

from pbt.bundle import Bundle, Code, Event, Map, Place, Program, Reloc
from pbt.data import replace
from pbt.host.target import Target
from pbt.isa.asm import assemble
from pbt.isa.insn import encode
from pbt.output.sink import JsonSink, Message, TextSink
from pbt.record import Record
from pbt.runtime.events import Reader
from pbt.runtime.load import LoadError, load
from pbt.runtime.session import Session
from pbt.source import KernelError, UsageError
from pbt.types import I64, U32, U64, Str
from pbt.values import Stats
from tests.conftest import PATIENCE

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

HELPERS = {"get_current_comm": 16, "ringbuf_output": 130, "map_update_elem": 2, "map_lookup_elem": 1,
           "get_current_pid_tgid": 14, "perf_event_output": 25}  # fmt: skip
HEADER = [("id", U32), ("_", U32)]
RING = Map("ringbuf", "RINGBUF", 0, 0, 1 << 20)
LOST = Map("lost", "ARRAY", 4, 8, 1)
HELLO = Event("printf", Record.of([*HEADER, ("comm", Str(16)), ("n", U32)]), "%s %d\n")
EXIT = Event("exit", Record.of([*HEADER, ("code", I64)]))
NICE = {"event": "sys_enter", "text": "sys_enter"}


def program(name: str, text: str, provider: str, place: dict[str, str] | None = None) -> Program:
    """`map @x` in the text stands for the address of a map, `value @x` for that of its first value."""
    names = re.findall(r"(map|value) (\S+)", text)
    text = re.sub(r"map \S+", "map_fd[0]", re.sub(r"value \S+", "map_value[0]", text))
    insns = assemble(text, HELPERS)
    wides = [i for i, insn in enumerate(insns) if insn.opcode == 0x18 and insn.src_reg]
    kinds = {"map": "map_fd", "value": "map_value"}
    relocs = tuple(Reloc(i, kinds[kind], of) for i, (kind, of) in zip(wides, names, strict=True))
    spans = tuple(Place(0, 5) for _ in insns)
    code = Code(encode(insns), relocs, spans)
    return Program(name, provider, "RAW_TRACEPOINT", code, place or {}, span=Place(0, 5))


def send(number: int, size: int) -> str:
    """Send the record that lies at r10 - size."""
    return f"""
        *(u64 *)(r10 -{size}) = {number}
        r1 = map ringbuf
        r2 = r10
        r2 += -{size}
        r3 = {size}
        r4 = 0
        call ringbuf_output
    """


def hello(n: int) -> str:
    return f"""
        r1 = r10
        r1 += -24
        r2 = 16
        call get_current_comm
        *(u64 *)(r10 -8) = {n}
    """ + send(0, 32)


def leave(code: int) -> str:
    return f"*(u64 *)(r10 -8) = {code}" + send(1, 16)


RETURN = "\nr0 = 0\nexit"


def bundle(programs: list[Program], maps: list[Map] | None = None, **more: object) -> Bundle:
    return Bundle("test.bt", "BEGIN { }", tuple(programs), (RING, LOST, *(maps or ())), (HELLO, EXIT),
                  os.uname().machine, os.uname().release, **more)  # fmt: skip


@pytest.fixture
def target() -> Target:
    return Target.live()


def run(
    script: Bundle, target: Target, tmp_path, make=TextSink, attached: Callable[[], object] = list, **more
) -> tuple[int, bytes, list[str]]:
    """Exit code, output and notes of a whole run; no descriptor may stay open. `attached` is called when all is."""
    lines: list[str] = []

    def notify(line: str) -> None:
        lines.append(line)
        if line.startswith("Attached "):
            attached()

    before = len(os.listdir("/proc/self/fd"))
    sink = make(str(tmp_path / "out"))
    code = Session(script, target, sink=sink, notify=notify, **more).run()
    sink.close()
    assert len(os.listdir("/proc/self/fd")) <= before
    return code, (tmp_path / "out").read_bytes(), lines


COMM = Path("/proc/self/comm").read_text().strip()


def test_begin_and_end_speak_and_it_ends_by_itself(target, tmp_path):
    script = bundle([program("BEGIN", hello(1) + RETURN, "BEGIN"), program("END", hello(2) + RETURN, "END")])
    code, out, notes = run(script, target, tmp_path)
    assert (code, out.decode()) == (0, f"{COMM} 1\n{COMM} 2\n")
    assert notes == ["Attached 2 probes"]


def test_exit_stops_what_follows_but_not_end(target, tmp_path):
    begin = program("BEGIN", hello(1) + leave(3) + hello(9) + RETURN, "BEGIN")
    code, out, _ = run(bundle([begin, program("END", hello(2) + RETURN, "END")]), target, tmp_path)
    assert (code, out.decode()) == (3, f"{COMM} 1\n{COMM} 2\n")


def test_json_is_one_object_a_line(target, tmp_path):
    import json

    script = bundle([program("BEGIN", hello(7) + RETURN, "BEGIN")])
    _, out, notes = run(script, target, tmp_path, make=JsonSink)
    attached = {"type": "attached_probes", "count": 1, "data": {"probes": 1}}
    assert [json.loads(line) for line in out.splitlines()] == [
        attached,
        {"type": "printf", "data": f"{COMM} 7\n"},
    ]
    assert notes == []


COUNT = Map("@", "PERCPU_HASH", 8, 8, 64, key=Record.of([("k", U32)]), value=U64, aggregation="count")
STATS = Map("@s", "PERCPU_ARRAY", 4, 24, 1, key=Record((), 4), value=I64, aggregation="stats")
PLAIN = Map("@p", "ARRAY", 4, 16, 1, key=Record((), 4), value=I64)
HIST = Map("@h", "PERCPU_ARRAY", 4, 8, 66, key=Record((), 4), value=U64, aggregation="hist", args=(0,))
FILL = """
    *(u64 *)(r10 -8) = {key}
    *(u64 *)(r10 -16) = 5
    r1 = map @
    r2 = r10
    r2 += -8
    r3 = r10
    r3 += -16
    r4 = 0
    call map_update_elem
    r1 = value @p
    *(u64 *)(r1 + 0) = -3
    *(u64 *)(r1 + 8) = 1
    *(u32 *)(r10 -8) = 0
    r1 = map @s
    r2 = r10
    r2 += -8
    call map_lookup_elem
    if r0 == 0 goto none
    *(u64 *)(r0 + 0) = 13
    *(u64 *)(r0 + 8) = 2
    *(u64 *)(r0 + 16) = 1
    none:
"""


def test_maps_are_printed_in_name_order_at_the_end(target, tmp_path):
    maps = [STATS, PLAIN, HIST, COUNT]
    script = bundle([program("BEGIN", FILL.format(key=42) + RETURN, "BEGIN")], maps)
    _, out, _ = run(script, target, tmp_path)
    assert out.decode() == "\n\n@[42]: 5\n@p: -3\n@s: { .count = 2, .average = 6, .total = 13 }\n"
    assert run(bundle([], maps), target, tmp_path)[1] == b""
    quiet = bundle(script.programs, maps, config={"print_maps_on_exit": False})
    assert run(quiet, target, tmp_path)[1] == b""


def test_maps_are_printed_when_the_kernel_refuses_to_go_on(target, tmp_path, monkeypatch):
    def refused(reader):
        raise KernelError("cannot read a map", EPERM)

    monkeypatch.setattr(Reader, "lost", refused)
    programs = [program("BEGIN", FILL.format(key=42) + RETURN, "BEGIN"), enter(0, hello(1))]
    with pytest.raises(KernelError, match="cannot read a map"):
        run(bundle(programs, [STATS, PLAIN, HIST, COUNT]), target, tmp_path)
    assert (tmp_path / "out").read_text().startswith("\n\n@[42]: 5\n@p: -3\n@s: ")


def test_maps_are_python_values_while_it_runs(target):
    script = bundle([program("BEGIN", FILL.format(key=42) + RETURN, "BEGIN")], [COUNT, STATS, PLAIN, HIST])
    with Session(script, target) as session:
        session.start()
        assert dict(session.maps)["@"] == {42: 5}
        assert session.maps["@s"] == Stats(2, 6, 13) and session.maps["@p"] == -3
        session.world.map("@").zero()
        session.world.map("@s").zero()
        session.world.map("@p").clear()
        assert session.maps["@"] == {42: 0} and session.maps["@s"] == Stats(0, 0, 0)
        assert session.maps["@p"] is None
        session.world.map("@").clear()
        assert session.maps["@"] == {}
        with pytest.raises(KeyError):
            session.maps["lost"]


def test_a_session_iterates_over_messages(target):
    script = bundle([program("BEGIN", hello(5) + RETURN, "BEGIN"), program("END", hello(6) + RETURN, "END")])
    found = [(m.kind, m.text, m.values) for m in Session(script, target)]
    assert found == [("printf", f"{COMM} {n}\n", (COMM, n)) for n in (5, 6)]


ONLY_US = """
    call get_current_pid_tgid
    r0 >>= 32
    if r0 != {pid} goto others
"""


def enter(pid: int, body: str) -> Program:
    text = ONLY_US.format(pid=pid) + body + "\nothers:" + RETURN
    return program("rawtracepoint:sys_enter", text, "rawtracepoint", NICE)


def test_attached_programs_run_until_a_signal(target, tmp_path):
    script = bundle([enter(os.getpid(), hello(1)), program("END", hello(2) + RETURN, "END")])
    code, out, notes = run(script, target, tmp_path, attached=lambda: os.kill(os.getpid(), signal.SIGINT))
    lines = out.decode().splitlines()
    assert code == 0 and notes[0] == "Attached 2 probes"
    assert lines[-1] == f"{COMM} 2" and f"{COMM} 1" in lines


def test_exit_discards_what_was_recorded_after_it(target, tmp_path):
    script = bundle(
        [enter(os.getpid(), hello(1) + leave(0) + hello(3)), program("END", hello(2) + RETURN, "END")]
    )
    _, out, _ = run(script, target, tmp_path)
    assert [line.split()[-1] for line in out.decode().splitlines()] == ["1", "2"]


def test_records_that_keep_coming_do_not_hold_up_the_start(target, monkeypatch):
    """Nor does it end before what BEGIN sent is handled."""
    kept, read = [], Reader.read

    def endless(reader):
        assert len(kept) < 50
        kept.extend(read(reader) or kept[:1])
        return kept[-1:]

    monkeypatch.setattr(Reader, "read", endless)
    script = bundle([program("BEGIN", hello(1) + RETURN, "BEGIN"), enter(0, hello(2))])
    with Session(script, target) as session:
        session.start()
        assert session.alive and session.sink.take()[0].text == f"{COMM} 1\n"


def test_the_child_waits_and_its_end_is_the_end(target, tmp_path):
    started = time.monotonic()
    script = bundle([enter(0, hello(1))])
    code, _, notes = run(script, target, tmp_path, cmd=f"sh -c 'echo ran > {tmp_path}/ran; sleep 0.2'")
    assert code == 0 and (tmp_path / "ran").read_text() == "ran\n"
    assert time.monotonic() - started > 0.2 and notes == ["Attached 1 probe"]


def test_a_child_that_runs_on_is_ended(target, tmp_path):
    started = time.monotonic()
    run(bundle([program("BEGIN", leave(0) + RETURN, "BEGIN")]), target, tmp_path, cmd="sleep 60")
    assert time.monotonic() - started < 50


def test_the_end_of_a_watched_process_is_the_end(target, tmp_path):
    with subprocess.Popen(["sleep", "0.2"]) as process:
        run(bundle([enter(0, "")]), target, tmp_path, pid=process.pid)
        assert process.poll() is not None or process.wait(PATIENCE) == 0


def test_impossible_requests_are_usage_errors(target):
    script = bundle([])
    for wrong in ({"pid": 1, "cmd": "true"}, {"pid": 1 << 22}, {"cmd": "/nonexistent/x"}, {"cmd": "'"}):
        with pytest.raises(UsageError), Session(script, target, **wrong) as session:
            session.start()


def test_a_refused_program_is_explained_in_place(target):
    bad = program("BEGIN", "r0 = *(u64 *)(r10 -8)\nr1 = *(u64 *)(r2 + 0)" + RETURN, "BEGIN")
    with pytest.raises(LoadError) as caught:
        load(bundle([bad]), target)
    assert "R2 !read_ok" in str(caught.value) and "test.bt:1:1" in str(caught.value)
    assert "BEGIN" in str(caught.value)


def test_equal_programs_are_loaded_once(target):
    twice = [program("BEGIN", "r0 = 0\nexit", "BEGIN"), program("END", "r0 = 0\nexit", "END")]
    with load(bundle(twice), target) as loaded:
        assert loaded.programs[0] is loaded.programs[1]


def test_lost_records_are_counted(target, tmp_path):
    lose = program("BEGIN", "r1 = value lost\nr2 = 3\nlock *(u64 *)(r1 + 0) += r2" + RETURN, "BEGIN")
    _, _, notes = run(bundle([lose]), target, tmp_path)
    assert notes == ["Attached 1 probe", "Lost 3 events", "WARNING: Total lost event count: 3"]


PERF_HELLO = """
    r6 = r1
    call get_current_pid_tgid
    r0 >>= 32
    if r0 != {pid} goto others
    r1 = r10
    r1 += -24
    r2 = 16
    call get_current_comm
    *(u64 *)(r10 -8) = 4
    *(u64 *)(r10 -32) = 0
    r1 = r6
    r2 = map ringbuf
    r3 = 0xffffffff ll
    r4 = r10
    r4 += -32
    r5 = 32
    call perf_event_output
    others:
"""


def test_perf_buffers_serve_as_well(target):
    text = PERF_HELLO.format(pid=os.getpid()) + RETURN
    probe = program("rawtracepoint:sys_enter", text, "rawtracepoint", NICE)
    perf = Map("ringbuf", "PERF_EVENT_ARRAY", 4, 4, 0)
    script = bundle([probe], [perf])
    script = replace(script, maps=(perf,))
    found: list[Message] = []
    with Session(script, target) as session:
        session.start()
        deadline = time.monotonic() + PATIENCE
        while not found and time.monotonic() < deadline:
            os.getppid()
            session.poll()
            found = session.sink.take()
    assert found[0].values == (COMM, 4) and found[0].text == f"{COMM} 4\n"


FLOOD = """
import os, sys
sys.stdin.readline()
for _ in range(120_000):
    os.getppid()
"""


def test_a_flood_of_events_is_not_lost(target, tmp_path):
    """More records than the ring buffer has room for."""
    with subprocess.Popen([sys.executable, "-c", FLOOD], stdin=subprocess.PIPE) as load_:
        counted = hello(1).replace("call ringbuf_output", "call ringbuf_output\nif r0 == 0 goto others")
        count = "r1 = value lost\nr2 = 1\nlock *(u64 *)(r1 + 0) += r2"
        script = bundle([enter(load_.pid, counted + count)])
        script = replace(script, maps=(replace(RING, max_entries=4 << 20), LOST))
        go = threading.Thread(target=load_.communicate, args=(b"\n",))
        _, out, notes = run(script, target, tmp_path, attached=go.start, pid=load_.pid)
    assert notes == ["Attached 1 probe"]
    assert out.count(b" 1\n") == len(out.splitlines()) >= 120_000


def test_a_closed_pipe_ends_it_quietly(target):
    script = bundle([enter(os.getpid(), hello(1))])
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert Session(script, target, sink=TextSink(fd=writing), notify=lambda text: None).run() == 0
    finally:
        os.close(writing)


def test_neither_lark_nor_the_compiler_is_imported():
    code = (
        "import sys; import pbt.runtime.session, pbt.runtime.attach as a; a.providers();"
        "from pbt.runtime import world;"
        "bad = [m for m in sys.modules if m.split('.')[0] == 'lark' or m.startswith("
        "('pbt.lang', 'pbt.ir', 'pbt.lower', 'pbt.backend'))]; assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
