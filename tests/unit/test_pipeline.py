"""The compiler as a function: the same input gives the same bundle, on any machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pbt.bundle import Bundle
from pbt.host.target import Target
from pbt.pipeline import STAGES, Options, compile, run
from pbt.source import ScriptError, ScriptErrors, Source
from pbt.types import Struct
from pbt.verifier_sim.bundles import verify_program
from tests.unit.lower.machine import MODERN, machine

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
#define LIMIT 5
struct mine { int a; struct mine *next; };
BEGIN { @start = nsecs; printf("%s %d\\n", comm, LIMIT); }
kprobe:do_* /pid > LIMIT/ { @[kstack(3), comm, func] = count(); @h = hist(arg1, 2);
    $m = (struct mine *)arg0; @a[$m->next->a] = str(arg1); }
tracepoint:test:go { @t[args.comm] = (args.prio, probe); print(@t); }
interval:s:1 { for ($kv : @a) { print($kv); } exit(); }
"""


def flat(value: Any) -> Any:
    """All fields of nested data classes, structs' members included."""
    if isinstance(value, Struct):
        return value.name, value.size, value.align, [flat(m.name) for m in value.members]
    if hasattr(value, "_fields_") and not isinstance(value, type):
        return type(value).__name__, [(f.name, flat(getattr(value, f.name))) for f in value._fields_]
    if isinstance(value, (tuple, list)):
        return [flat(v) for v in value]
    if isinstance(value, dict):
        return [(k, flat(v)) for k, v in value.items()]
    return value


def made(script: str = SCRIPT, target: Target | None = None, **options: Any) -> Bundle:
    return compile(Source("test.bt", script), target or machine(), Options(environment={}, **options))


def test_the_same_source_gives_the_same_bundle() -> None:
    first, second = made(), made()
    assert first == second and flat(first) == flat(second)


OTHERS = "kprobe:do_* { @[probe, kstack] = avg(arg0); @[probe, kstack] = avg(arg1); } kretprobe:do_* { @r[probe] = retval; }"
ALIKE = (
    "interval:s:1 { @[1, comm] = count(); } interval:s:2 { @[2, comm] = count(); } interval:s:3 { @[300, comm] = count(); }",
    'interval:s:1 { @a["one", 1, 1 << 40] = 7; } interval:s:2 { @a["two", 2, 3 << 50] = 7; }',
    "interval:s:1 { $n = 5; @[$n, probe]++; @b[@[$n, probe]] = -1; } interval:s:2 { $n = 6; @[$n, probe]++; "
    "@b[@[$n, probe]] = -1; } interval:s:3 { $n = 6; @[$n, probe]++; @b[@[$n, probe]] = 3000000000; }",
)


@pytest.mark.parametrize("script", [SCRIPT, OTHERS, *ALIKE])
def test_programs_of_one_shape_are_what_each_is_by_itself(script: str) -> None:
    source, options = Source("test.bt", script), Options(environment={})
    work = run(source, machine(), options, each=False)
    assert any(work.forms) == (script in ALIKE)
    assert work.bundle == run(source, machine(), options).bundle


def test_the_same_bundle_in_another_process() -> None:
    """Nothing depends on the order of sets or on addresses of objects."""
    text = (
        "import hashlib\nfrom tests.unit.test_pipeline import flat, made\n"
        "print(hashlib.sha256(repr(flat(made())).encode()).hexdigest())"
    )
    found = set()
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True, env=env, check=True
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_each_stage_adds_its_product() -> None:
    source, target = Source("test.bt", SCRIPT), machine()
    products = ("parsed", "expanded", "typed", "lowered", "passed", "compiled", "bundle")
    for number, (name, _) in enumerate(STAGES):
        work = run(source, target, Options(environment={}), name)
        assert [bool(getattr(work, product)) for product in products] == [
            i <= number for i in range(len(products))
        ]


def test_the_bundle_tells_what_it_was_made_of() -> None:
    bundle = made()
    assert (bundle.name, bundle.source, bundle.arch, bundle.release) == ("test.bt", SCRIPT, "x86_64", "6.1.0")
    assert [p.name for p in bundle.programs] == [
        "begin",
        "kprobe:do_it",
        "kprobe:do_more",
        "tracepoint:test:go",
        "interval:s:1",
    ]
    assert (
        set(bundle.features) <= set(MODERN)
        and bundle.license == "GPL"
        and bundle.config["max_strlen"] == 1024
    )


def test_options() -> None:
    bundle = made('BEGIN { @ = $1; printf("%s", str($2)); }', params=("7", "x"))
    assert bundle.map("@").value_size == 16
    with pytest.raises((ScriptError, ScriptErrors), match="unsafe"):
        made('BEGIN { system("ls"); }')
    assert made('BEGIN { system("ls"); }', unsafe=True).events[0].action == "system"
    with_pid, without = made("kprobe:do_it { @ = 1; }", pid=5), made("kprobe:do_it { @ = 1; }")
    assert len(with_pid.programs[0].code.insns) > len(without.programs[0].code.insns)


def test_the_environment_sets_config_variables() -> None:
    options = Options(environment={"BPFTRACE_MAX_STRLEN": "30"})
    bundle = compile(Source("test", "BEGIN { @ = str(pid); }"), machine(), options)
    assert bundle.config["max_strlen"] == 30 and bundle.map("@").value_size == 40


def test_warnings_travel_with_the_bundle() -> None:
    bundle = made("# a comment\nBEGIN { @ = $1; }")
    assert len(bundle.warnings) == 2 and "taken for a comment" in bundle.warnings[0]


def on(arch: str) -> Target:
    """The tests' machine, with another processor."""

    class Other(type(machine())):  # type: ignore[misc]
        @property
        def arch(self) -> Any:
            from pbt.arch import get

            return get(arch)

    return Other(machine().folder)  # type: ignore[no-any-return,attr-defined]


@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "s390x", "riscv64"])
def test_any_machine(arch: str) -> None:
    """Code for other processors differs in their registers and in their byte order alone."""

    bundle = made("kprobe:do_it { @[arg0] = 1; }", on(arch))
    assert bundle.arch == arch and bundle.programs


@pytest.mark.parametrize("arch, register", [("x86_64", "ip"), ("aarch64", "pc"), ("s390x", "r15")])
def test_registers_are_read_wherever_the_machine_has_them(arch: str, register: str) -> None:
    bundle = made(f'kprobe:do_it {{ @ = reg("{register}"); }}', on(arch))
    verdict = verify_program(bundle, bundle.programs[0], None)
    assert verdict.ok, verdict.error


@pytest.mark.live
def test_a_saved_target_compiles_as_the_live_one(tmp_path: Path) -> None:
    live = Target.live()
    live.save(str(tmp_path), ["sched:sched_switch", "syscalls:sys_enter_open*"])
    saved = Target.load(str(tmp_path))
    script = (
        "tracepoint:sched:sched_switch { @[args.prev_comm, cpu] = hist(nsecs); "
        "} kprobe:vfs_read { @f[func] = count(); $f = (struct file *)arg0; "
        "@s = str($f->f_path.dentry->d_name.name); }"
    )
    first, second = (made(script, target, fallback=False) for target in (live, saved))
    assert flat(first) == flat(second)
