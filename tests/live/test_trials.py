"""Probes of type test and bench: what passes, what is reported, and that they run only when asked."""

from __future__ import annotations

import json

import pytest

from pbt.cli.main import main

pytestmark = pytest.mark.live

SCRIPT = """
test:zero { print(1); return 0; }
test:nothing { $sum = 0; for ($i : 0..5) { $sum += $i; } assert($sum == 10, "sum"); }
test:one { print("shown"); return 1; }
test:asserts { assert(1 == 2, "wrong"); print("never"); }
test:exits { exit(3); }
test:exits_well { exit(); }
test:in_a_loop { @m[1] = 2; for ($kv : @m) { if ($kv.1 == 2) { return 5; } } return 0; }
test:filtered /1 == 2/ { return 1; }
bench:count { @n = count(); }
bench:print { print(1); }
begin { print("begin"); }
end { clear(@m); clear(@n); print("end"); }
interval:ms:1 { exit(); }
"""


def run(capfd, *words: str) -> tuple[int, str, str]:
    status = main([*words, "-e", SCRIPT])
    out, err = capfd.readouterr()
    return status, out, err


def test_report(capfd):
    status, out, _ = run(capfd, "--test")
    lines = [line.rpartition(" (")[0] if "μs" in line else line for line in out.splitlines()]
    assert status == 1 and lines[:2] == ["begin", "[==========] Running 8 tests."]
    assert lines[2:8] == [
        "[ RUN      ] zero", "[       OK ] zero", "[ RUN      ] nothing", "[       OK ] nothing",
        "[ RUN      ] one", "shown",
    ]  # fmt: skip
    assert "stdin:5:16: ERROR: wrong" in lines and "never" not in lines
    assert lines[-8:] == [
        "[==========] 8 tests ran.", "[  PASSED  ] 4 tests.", "[  FAILED  ] 4 tests, listed below:",
        "[  FAILED  ] one", "[  FAILED  ] asserts", "[  FAILED  ] exits", "[  FAILED  ] in_a_loop", "end",
    ]  # fmt: skip


def test_json(capfd):
    status, out, _ = run(capfd, "--test", "-f", "json")
    found = [json.loads(line) for line in out.splitlines()]
    results = {name: row for m in found if m["type"] == "test_result" for name, row in m["data"].items()}
    assert status == 1 and [n for n, row in results.items() if not row["passed"]] == [
        "one", "asserts", "exits", "in_a_loop",
    ]  # fmt: skip
    assert results["zero"]["output"] == "1\n" and results["zero"]["duration"] > 0


def test_all_pass(capfd):
    assert main(["--test", "-e", "test:a { return 0; }"]) == 0
    assert "[  PASSED  ] 1 test.\n" in capfd.readouterr().out


def test_benchmarks(capfd):
    status, out, err = run(capfd, "--bench")
    rows = [line.split() for line in out.splitlines()]
    assert status == 0 and rows[1] == ["Benchmark", "Time(ns)", "Iterations"]
    assert [row[0] for row in rows[3:5]] == ["count", "print"] and all(int(r[1]) > 0 for r in rows[3:5])
    assert "ost" not in err  # nobody reads what benchmarks print
    status, out, _ = run(capfd, "--bench", "-f", "json")
    found = [json.loads(line) for line in out.splitlines()]
    assert [list(m["data"]) for m in found if m["type"] == "benchmark_result"] == [["count"], ["print"]]


def test_not_run_otherwise(capfd):
    status, out, err = run(capfd)
    assert status == 0 and out == "begin\nend\n" and err == "Attached 3 probes\n"


def test_nothing_else(capfd):
    assert main(["-e", "test:a { }"]) == 1
    assert "HINT: --test runs test probes" in capfd.readouterr().err
