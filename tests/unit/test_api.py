"""The Python interface: compile without privileges, errors as exceptions, a trace for real."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pbt
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
