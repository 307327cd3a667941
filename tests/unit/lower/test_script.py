"""Whole programs: the process filter, scratch memory, sharing of events and maps, many scripts."""

from __future__ import annotations

import glob
import re
from pathlib import Path

import pytest

from pbt.host.target import Target
from pbt.pipeline import Options
from pbt.pipeline import run as compile_until
from pbt.source import ScriptError, ScriptErrors, Source, UsageError
from tests.unit import saved
from tests.unit.lower.machine import Ran, compiled

ROOT = Path(__file__).resolve().parents[2]


def test_the_process_filter() -> None:
    ran = Ran("kprobe:do_it { @[pid] = count(); }", times=[{"pid": 5}, {"pid": 6}], pid=5)
    assert ran.maps == {"@": {5: 1}}


def test_the_process_filter_lets_begin_alone() -> None:
    assert Ran("BEGIN { @ = 1; }", times=[{"pid": 5}], pid=9).maps == {"@": 1}


def test_one_program_for_places_that_see_the_same() -> None:
    work = compiled("kprobe:do_* { @[func] = count(); }")
    assert work.bundle is not None and work.lowered is not None
    assert len(work.lowered.programs) == 1 and len(work.bundle.programs) == 2
    assert work.bundle.programs[0].code is work.bundle.programs[1].code


def test_one_program_for_each_place_that_is_named() -> None:
    work = compiled("kprobe:do_* { @[probe] = count(); }")
    assert work.lowered is not None and len(work.lowered.programs) == 2


def test_a_cookie_tells_one_program_at_which_place_it_is(tmp_path: Path) -> None:
    script = "tracepoint:*:* { @[probe] = count(); }"
    with_cookies = saved.machine(tmp_path / "new", features=[*saved.FACTS["features"], "get_attach_cookie"])
    made = saved.work(script, with_cookies).bundle
    assert made is not None and "get_attach_cookie" in made.features
    assert [program.cookie for program in made.programs] == [0, 1]
    assert made.programs[0].code is made.programs[1].code
    (table,) = [each for each in made.maps if each.data]
    assert [name.rstrip(b"\0").decode() for name in _halves(table.data)] == [p.name for p in made.programs]
    made = saved.work(script, saved.machine(tmp_path / "old")).bundle
    assert made is not None and made.programs[0].code != made.programs[1].code


def _halves(data: bytes) -> tuple[bytes, bytes]:
    return data[: len(data) // 2], data[len(data) // 2 :]


def test_scratch_memory_has_one_element_for_each_program() -> None:
    work = compiled(
        "config = { max_strlen = 512 } BEGIN { $s = str(pid); @[$s] = 1; } END { $s = str(pid); @[$s] = 2; }"
    )
    assert work.bundle is not None
    scratch = work.bundle.map("scratch")
    assert scratch.map_type == "PERCPU_ARRAY" and scratch.max_entries >= 2 and scratch.value_size >= 1024


def test_spans_cover_every_instruction() -> None:
    work = compiled("BEGIN { @a = pid; print(@a); }")
    assert work.bundle is not None
    code = work.bundle.programs[0].code
    assert len(code.spans) == len(code.insns) // 8
    shown = {work.bundle.source[s.start : s.end] for s in code.spans if s.start >= 0}
    assert {"pid", "print(@a)"} <= shown


# One script a paragraph. Each does something that no other does; all have to compile for the small machine.
MANY = """
BEGIN { @x = (((pid + 1) * 2 - 3) / 4) % 5; }

BEGIN { $a = 1; $b = 2; $c = 3; $d = 4; $e = 5; $f = 6; $g = 7; $h = 8; $i = 9;
    print(($a, $b, $c, $d, $e, $f, $g, $h, $i)); print($a + $i); }

BEGIN { $a = pid; $b = tid; $c = uid; $d = gid; $e = cpu; $f = nsecs; $g = rand; $h = elapsed;
    printf("%d %d %d %d %d %d %d %d", $a, $b, $c, $d, $e, $f, $g, $h); }

BEGIN { @[kstack, ustack, comm, pid] = count(); }

BEGIN { @[kstack(3), ustack(perf, 5)] = count(); }

BEGIN { @[probe, probetype] = hist(nsecs / 1000); @h = lhist(pid, 0, 100, 10); @s[cgroup] = stats(jiffies); }

BEGIN { join(pid); system("ls %d", 5); signal("KILL"); cat("/proc/%d/status", pid); time("%H");
    printf("%s", strftime("%H", nsecs)); }

BEGIN { clear(@a); zero(@b); print(@a, 5, 10); delete(@c); @a[1] = count(); @b = 1; @c = sum(1); exit(); }

BEGIN { printf("%s %s %s", ntop(pid), ntop(AF_INET6, pton("::1")), macaddr(pid)); print(bswap((uint16)pid)); }

BEGIN { print(ksym(pid)); print(usym(pid)); print(kaddr("jiffies")); print(username);
    print(buf(pid, 10)); print(strncmp(comm, "x", 2)); }

BEGIN { if (pid) { if (tid) { if (uid) { return; } } else { @ = 1; } } while (pid < @n) { @n--;
    if (@n == 4) { break; } } }

BEGIN { unroll(20) { @a[pid] += 1; } for ($i : 0..100) { @b[$i] = $i; } for ($kv : @b) {
    delete(@b, $kv.0); } }

kprobe:do_it { @[arg0, arg1, arg5, reg("ip"), func] = count(); $t = (struct thing *)arg0;
    while ($t->next) { $t = $t->next; } }

kretprobe:do_it /@start[tid]/ { @ns = hist(nsecs - @start[tid]); delete(@start, tid);
    @r[retval] = count(); @start[tid] = 0; }

tracepoint:test:go { @[args.comm, args.prio, str(args.path), str(args.name)] = sum(args.when);
    printf("%s", macaddr(args.mac)); }

profile:hz:99 { @[pid, comm] = count(); } interval:s:5 { print(@); clear(@); }
    software:page-faults:100 { @f[comm] = count(); } hardware:cache-misses:1000000 { @c = count(); }

BEGIN { $s = ""; if (pid == 1) { $s = comm; } else if (pid == 2) { $s = "two"; }
    @[$s, str(pid, 30), buf(pid, 5)] = 1; }

BEGIN { print(sizeof(struct thing)); print(offsetof(struct thing, next)); print(RED); print(BLUE + 1); }

BEGIN { $x = (int8)pid; $y = (uint16)$x; $z = $x > 3 ? $y : -1;
    @[$z << 3, $z >> 1, ~$z, !$z, -$z] = $x / $z; }

BEGIN { $s = str(1); $t = str(2); $u = str(3); if ($s == $t || $t == $u) { printf("%s%s%s", $s, $t, $u);
    } @[$s] = ($t, $u); }
"""  # fmt: skip


@pytest.mark.parametrize("script", MANY.strip().split("\n\n"))
def test_many_scripts_compile_soundly(script: str) -> None:
    """`compiled` verifies the IR after each stage and proves the allocation."""
    work = compiled(script, unsafe=True)
    assert work.bundle is not None and work.bundle.programs


def golden() -> list[Path]:
    return sorted(Path(p) for p in glob.glob(str(ROOT / "golden" / "*" / "*.bt")))


TOOLS = sorted(Path(p) for p in glob.glob("/usr/sbin/*.bt"))


@pytest.mark.live
@pytest.mark.parametrize("path", [*golden(), *TOOLS], ids=lambda p: p.name if isinstance(p, Path) else str(p))
def test_installed_scripts_compile_soundly(path: Path, live: Target) -> None:
    from pbt.backend.proof import check as prove
    from pbt.ir.verify import verify

    try:
        work = compile_until(Source(str(path), path.read_text()), live, Options((), True, None, {}))
    except (ScriptError, ScriptErrors, UsageError) as error:
        if re.search(
            r"No matches|Failed to resolve kernel symbol|does not contain a field|No "
            r"probes|no such|No such|Cannot open|not found|does not exist|cannot "
            r"(find|read)|no file",
            str(error),
        ):
            pytest.skip("its probes do not exist here")
        raise
    assert work.lowered is not None
    for program, passed, made in zip(work.lowered.programs, work.passed, work.compiled, strict=True):
        assert verify(program) == [] and verify(passed) == []
        assert prove(made.machine, made.allocation) == []


@pytest.fixture(scope="module")
def live() -> Target:
    return Target.live()
