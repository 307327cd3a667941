"""The Python interface: compile without privileges, errors as exceptions, a trace for real."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

import pbt
from pbt.api import Trace
from pbt.runtime.session import Session
from pbt.source import ScriptError, ScriptErrors, Source
from tests.unit.lower.machine import machine

ROOT = Path(__file__).resolve().parents[2]


def test_compile() -> None:
    bundle = pbt.compile("BEGIN { @[$1] = count(); }", 5, target=machine(), name="mine")
    assert bundle.name == "mine" and [m.name for m in bundle.maps if m.name[0] == "@"] == ["@"]
    assert pbt.compile(Source("other", "BEGIN { exit(); }"), target=machine()).name == "other"


def test_parameters_may_be_of_any_type() -> None:
    bundle = pbt.compile('BEGIN { printf("%s", str($1)); @ = $2; }', "text", 7, target=machine())
    assert b"text" in bundle.programs[0].code.insns or bundle.events


@pytest.mark.parametrize(
    "script",
    ["BEGIN { @ = ; }", "BEGIN { nothing(); }", "kprobe:no_such_function { }", 'BEGIN { system("ls"); }'],
)
@pytest.mark.parametrize("call", ["compile", "trace"])
def test_mistakes_in_scripts(script: str, call: str) -> None:
    with pytest.raises((ScriptError, ScriptErrors)) as caught:
        getattr(pbt, call)(script, target=machine())
    assert str(caught.value).startswith("script:1:")


def test_what_is_unknown_is_no_attribute() -> None:
    with pytest.raises(AttributeError):
        pbt.nothing  # noqa: B018


def test_importing_costs_nothing() -> None:
    text = "import sys, pbt; print([m for m in sys.modules if m.startswith(('pbt.', 'lark'))])"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=env, check=True)
    assert done.stdout == "[]\n"


def test_explain_without_privileges() -> None:
    text = pbt.explain("BEGIN { @x = 5; }", target=machine())
    assert "@x = 5" in text


def test_explain_takes_what_compile_takes() -> None:
    script = 'tracepoint:test:go { system("ls"); @x = $1; }'
    with pytest.raises((ScriptError, ScriptErrors), match="mine:1:"):
        pbt.explain(script, 5, target=machine(), name="mine")
    anyone, only = (pbt.explain(script, 5, target=machine(), unsafe=True, pid=pid) for pid in (None, 7))
    assert "get_current_pid_tgid" in only and "get_current_pid_tgid" not in anyone


def test_a_judged_bundle_may_be_run() -> None:
    from pbt.api import judge

    judge(pbt.compile("kprobe:do_it { @[comm, arg0] = hist(nsecs); }", target=machine()))


@pytest.mark.live
def test_trace() -> None:
    with pbt.trace(
        'BEGIN { @a["x"] = 5; @c = count(); printf("%d %s\\n", $1, str($2)); print((1, "t")); exit(); }',
        42,
        "word",
    ) as trace:
        messages = list(trace)
    said = [(m.kind, m.text) for m in messages if m.kind in ("printf", "value")]
    assert said == [("printf", b"42 word\n"), ("value", b"(1, t)\n")] or [t.strip() for _, t in said] in (
        [b"42 word", b"(1, t)"], ["42 word", "(1, t)"])  # fmt: skip
    assert trace.maps["@a"] == {"x": 5} and trace.maps["@c"] == 1
    assert not trace.alive and trace.lost == 0


@pytest.mark.live
def test_load_runs_what_compile_made() -> None:
    bundle = pbt.compile("BEGIN { @ = $1; } END { @end = 1; } interval:ms:10 { exit(3); }", 9)
    with pbt.load(bundle) as trace:
        list(trace)
    assert dict(trace.maps) == {"@": 9, "@end": 1} and trace.exit_code == 3


@pytest.mark.live
def test_leaving_early_leaves_nothing_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pbt.trace("interval:ms:1 { @ = count(); }") as trace:
        for _ in range(100):
            trace.poll(0.01)
            if trace.maps.get("@"):
                break
        trace.stop()
    assert trace.maps["@"] >= 1
    assert len(os.listdir("/proc/self/fd")) <= before
    with pytest.raises(RuntimeError), pbt.trace("interval:ms:1 { @ = count(); }"):
        raise RuntimeError("of the caller")
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.live
def test_two_scripts_and_other_tasks_in_one_event_loop() -> None:
    import asyncio

    async def numbers(script: str) -> list[int]:
        with pbt.trace(script) as trace:
            return [event.values[0] async for event in trace if event.kind == "printf"]

    async def main() -> tuple[list[int], ...]:
        ticks: list[int] = []

        async def tick() -> list[int]:
            while True:
                await asyncio.sleep(0.01)
                ticks.append(1)

        other = asyncio.create_task(tick())
        script = 'interval:ms:20 { @++; printf("%d", @); if (@ == 10) { exit(); } }'
        made = await asyncio.wait_for(asyncio.gather(numbers(script), numbers(script)), 60)
        other.cancel()
        return (*made, ticks)

    first, second, ticks = asyncio.run(main())
    assert first == second == list(range(1, 11)) and len(ticks) > 5


@pytest.mark.live
def test_a_cancelled_task_leaves_nothing_behind() -> None:
    import asyncio

    async def watch() -> None:
        with pbt.trace("interval:s:60 { print(1); }") as trace:
            async for _ in trace:
                pass

    async def main() -> int:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(watch(), 1)
        return len(os.listdir("/proc/self/fd")) - before

    assert asyncio.run(main()) <= 0


def test_folded_stacks() -> None:
    stack, deeper = "\n        read+12\n        main+5\n", "\n        read+99\n        main+0x7f\n"
    assert pbt.folded({("sh", stack): 2, ("sh", deeper): 3, ("a;b", "\n"): 1}) == ["a:b 1", "sh;main;read 5"]
    assert pbt.folded({stack: 4}) == ["main;read 4"]


def test_other_processes_may_be_sent_errors() -> None:
    with pytest.raises(ScriptError) as caught:
        pbt.compile("kprobe:no_such_function { }", target=machine())
    for error in (caught.value, pbt.KernelError("a map", 1, "root may", "log"), pbt.UsageError("no", "yes")):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error)
        assert again.__dict__.keys() == error.__dict__.keys()


def test_what_is_public_is_there_and_has_words() -> None:
    for name in pbt.__all__:
        assert getattr(pbt, name).__doc__, name
    for name in ("start", "stop", "close", "poll", "alive", "maps", "lost", "exit_code"):
        assert getattr(pbt.Trace, name).__doc__, name


def test_what_is_no_text_is_no_script() -> None:
    with pytest.raises(TypeError, match="not bytes"):
        pbt.compile(b"BEGIN { }", target=machine())  # type: ignore[arg-type]


def test_bundles_are_judged_unless_that_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []
    monkeypatch.setattr("pbt.api.judge", lambda bundle, target: judged.append(bundle.name))
    pbt.compile("BEGIN { }", target=machine(), name="a")
    pbt.compile("BEGIN { }", target=machine(), name="b", verify=False)
    assert judged == ["a"]


def test_files_that_are_none(tmp_path: Path) -> None:
    pbt.build("kprobe:do_it { @[comm] = count(); }", to=tmp_path / "tool", target=machine())
    data = (tmp_path / "tool").read_bytes()
    (tmp_path / "half").write_bytes(data[: len(data) // 2])
    with pytest.raises(pbt.UsageError, match="damaged"):
        pbt.load(tmp_path / "half")
    with pytest.raises(pbt.UsageError, match="cannot read"):
        pbt.load(tmp_path / "nothing")
    with pytest.raises(pbt.UsageError, match="cannot write"):
        pbt.build("BEGIN { }", to=tmp_path / "no" / "folder", target=machine())


def test_records_are_found_by_many_threads_at_once() -> None:
    """In a process that has imported nothing yet; unguarded, one of a few such processes fails."""
    text = (
        "import sys, threading, pbt; sys.setswitchinterval(1e-6); from tests.unit.lower.machine import machine\n"
        "made, gate, here = [], threading.Barrier(6), machine()\n"
        "def work():\n"
        "    gate.wait(); made.append(pbt.compile('interval:ms:10 { @[comm] = hist(nsecs); }', target=here))\n"
        "threads = [threading.Thread(target=work) for _ in range(6)]\n"
        "[t.start() for t in threads]; [t.join(60) for t in threads]\n"
        "assert len(made) == 6 and len({m.programs[0].code.insns for m in made}) == 1\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=env, timeout=90)
    assert done.returncode == 0, done.stderr


@pytest.mark.live
def test_a_trace_runs_once() -> None:
    trace = pbt.trace("interval:ms:10 { @n++; }", name="mine")
    assert not trace.alive and repr(trace) == "<pbt.Trace of mine: not started>"
    for ask in (lambda: trace.maps, trace.poll, lambda: list(trace)):
        with pytest.raises(pbt.UsageError, match="not running yet"):
            ask()
    trace.close()  # nothing to do
    assert trace.start() is trace and trace.alive
    with pytest.raises(pbt.UsageError, match="started once"):
        trace.start()
    trace.poll(0.1)
    trace.close()
    trace.close()
    assert trace.maps["@n"] and str(trace.maps) == f"{{'@n': {trace.maps['@n']}}}"
    assert repr(trace).endswith("ended>")
    assert [event.kind for event in trace.poll()] == ["map"] and trace.poll() == []


@pytest.mark.live
def test_maps_outlive_an_exception() -> None:
    with pytest.raises(KeyboardInterrupt), pbt.trace("BEGIN { @n = 5; } END { @n = 6; }") as trace:
        raise KeyboardInterrupt
    assert dict(trace.maps) == {"@n": 5} and list(trace) == []
    failed = pbt.trace("interval:s:9 { @n++; }", cmd="/no/such/program")
    with pytest.raises(pbt.UsageError):
        failed.start()
    assert not failed.alive and dict(failed.maps) == {} and list(failed) == []


@pytest.mark.live
def test_poll_waits_for_messages() -> None:
    with pbt.trace('interval:ms:300 { printf("tick"); }') as trace:
        first = trace.poll(30)
        assert [event.text for event in first][:1] == ["tick"]


@pytest.mark.live
def test_a_file_is_loaded_and_tied_to_a_process(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    made = pbt.build("tracepoint:syscalls:sys_enter_getppid { @[pid] = count(); @p = $1; }", 7, to=tool)
    assert made.name == "script" and os.access(tool, os.X_OK)
    with pbt.load(str(tool), pid=os.getpid()) as trace:
        other = os.fork()
        if not other:
            os.getppid()
            os._exit(0)
        os.waitpid(other, 0)
        os.getppid()
    assert trace.maps["@"] == {os.getpid(): 1} and trace.maps["@p"] == 7


@pytest.mark.live
def test_a_forked_process_ends_nothing() -> None:
    with pbt.trace("interval:ms:10 { @n++; } END { @end = 1; }", cmd="sleep 30") as trace:
        child = os.fork()
        if not child:
            try:
                none = not trace.alive and not list(trace)
                trace.close()
            finally:
                os._exit(0 if none else 1)
        assert os.waitpid(child, 0)[1] == 0
        trace.poll(0.1)
        assert trace.alive and not trace.maps["@end"]
    assert trace.maps["@end"] == 1


@pytest.mark.live
def test_what_fails_in_programs_is_a_message() -> None:
    lines: list[str] = []
    script = "config = { max_map_keys = 1 } BEGIN { @[1] = 1; @[2] = 1; exit(); }"
    with pbt.trace(script, notify=lines.append) as trace:
        (event,) = [event for event in trace if event.kind == "helper_error"]
    assert "@ is full with 1 keys" in event.text and event.data["helper"] == "map_update_elem"
    assert lines == []


@pytest.mark.live
def test_maps_that_are_kept_stay_readable() -> None:
    """Not so by their descriptors, whose numbers the next script's maps have."""
    with pbt.trace("BEGIN { @m[1] = 2; } END { @m[1] = 3; }") as trace:
        maps = trace.maps
        assert maps["@m"] == {1: 2}
    with pbt.trace("BEGIN { @q[9] = 9; @r[8] = 8; }"):
        assert maps["@m"] == {1: 3} and list(maps) == ["@m"] and repr(maps) == "{'@m': {1: 3}}"


@pytest.mark.live
def test_a_trace_may_be_closed_from_within() -> None:
    lines: list[str] = []

    def heard(line: str) -> None:
        lines.append(line)
        trace.close()

    trace = pbt.trace('interval:ms:10 { cat("/no/such/file"); cat("/no/such/file"); @n++; }', notify=heard)
    with trace:
        list(trace)
    assert lines and not trace.alive and trace.maps["@n"] > 0


@pytest.mark.parametrize("turns", range(6))
def test_who_waits_for_news_can_be_cancelled_whenever_they_come(turns: int) -> None:
    readable, writable = os.pipe()
    trace = Trace.__new__(Trace)
    trace._session = cast(Session, SimpleNamespace(rest=lambda: True, fileno=lambda: readable))

    async def main() -> None:
        waiting = asyncio.create_task(trace._news())
        await asyncio.sleep(0)
        os.write(writable, b"!")
        for _ in range(turns):
            await asyncio.sleep(0)
        if waiting.cancel():
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(main())
    os.close(readable)
    os.close(writable)


def test_a_script_is_text() -> None:
    with pytest.raises(pbt.UsageError, match="no text: half a pair of surrogates at 9"):
        pbt.compile('BEGIN { "\ud800"; }', target=machine())
