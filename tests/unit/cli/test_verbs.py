from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from pbt.cli import main as command
from pbt.cli.options import Option
from pbt.cli.verbs import mixed
from pbt.verifier_sim.kernels import features
from tests.unit.objects.made import Part, assembled
from tests.unit.saved import machine

Capture = pytest.CaptureFixture[str]
PROGRAM = "r0 = 0\nagain: r0 += 1  // comment\nif r0 < 3 goto again\nexit\n"
HEX = "b7 00 00 00 00 00 00 00\n07 00 00 00 01 00 00 00\na5 00 fe ff 03 00 00 00\n95 00 00 00 00 00 00 00\n"


def run(capsys: Capture, *words: object) -> tuple[int, str, str]:
    status = command.main([str(word) for word in words])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture
def target(tmp_path: Path) -> Path:
    machine(tmp_path / "machine")
    return tmp_path / "machine"


# --- words and options --------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["-o F -q S a -b", "S -o F -q a -b", "-q S -o F a -b"])
def test_options_on_both_sides_of_the_first_word(line: str) -> None:
    args = mixed(line.split(), (Option("o", "out", "F", ""), Option("q", "", "", "")), 1)
    assert args.get("out") == "F" and args.has("q") and args.rest == ["S", "a", "-b"]


def test_two_dashes_end_options() -> None:
    args = mixed(["-q", "--", "S", "-q"], (Option("q", "", "", ""),), 1)
    assert args.count("q") == 1 and args.rest == ["S", "-q"]


@pytest.mark.parametrize("verb", ["build", "run", "explain", "asm", "disasm", "verify", "target"])
def test_every_verb_has_help_and_knows_its_options(capsys: Capture, verb: str) -> None:
    status, out, _ = run(capsys, verb, "--help")
    assert status == 0 and out.startswith("USAGE:\n") and f"pbt {verb}" in out and "OPTIONS:" in out
    status, out, err = run(capsys, verb, "--bogus")
    assert status == 1 and not out and "unknown option --bogus" in err and len(err.splitlines()) <= 2


@pytest.mark.parametrize("verb", ["build -o x", "run", "explain", "asm", "disasm", "verify"])
def test_files_that_are_not_there(capsys: Capture, verb: str) -> None:
    for words in (verb.split(), [*verb.split(), "/no/such/file"]):
        status, out, err = run(capsys, *words)
        assert status == 1 and not out and err.startswith("ERROR: ") and len(err.splitlines()) <= 2


# --- asm, disasm --------------------------------------------------------------------------------


def test_asm_prints_hexadecimal_lines_that_disasm_reads(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "p.s").write_text(PROGRAM)
    assert run(capsys, "asm", tmp_path / "p.s") == (0, HEX, "")
    (tmp_path / "p.hex").write_text(HEX)
    status, out, _ = run(capsys, "disasm", tmp_path / "p.hex")
    assert status == 0 and out.splitlines()[2] == "   2: if r0 < 0x3 goto pc-2"


def test_asm_writes_bytes_that_disasm_reads(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "p.s").write_text(PROGRAM)
    for order in ([], ["--big-endian"]):
        assert run(capsys, "asm", tmp_path / "p.s", "-o", tmp_path / "p", *order)[0] == 0
        status, out, _ = run(capsys, "disasm", tmp_path / "p", *order)
        assert status == 0 and [line[6:] for line in out.splitlines()][:2] == ["r0 = 0", "r0 += 1"]
    assert (tmp_path / "p").read_bytes()[2:4] == b"\0\0"


def test_disasm_shows_bytes_and_fields(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "p").write_text(HEX)
    _, out, _ = run(capsys, "disasm", "--bytes", "--fields", tmp_path / "p")
    assert "   1: 07 00 00 00 01 00 00 00" in out and "code 0000 ADD" in out


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes"),
        (b"\0" * 7, "7 bytes"),
        (b"b700", "4 hexadecimal digits"),
        (b"hello", "not hexadecimal"),
    ],
)
def test_disasm_of_something_else(capsys: Capture, tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "p").write_bytes(data)
    status, _, err = run(capsys, "disasm", tmp_path / "p")
    assert status == 1 and message in err


def test_an_error_in_assembly_points_at_the_line(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "p.s").write_text("r0 = 0\nr0 = what\n")
    status, _, err = run(capsys, "asm", tmp_path / "p.s")
    assert status == 1 and f"{tmp_path}/p.s:2:1: ERROR" in err


def test_disasm_takes_object_files(capsys: Capture, tmp_path: Path) -> None:
    code = "r2 = r10; r2 += -4; *(u32 *)(r10 -4) = 0; r1 = 0 ll; call map_lookup_elem; r0 = 0; exit"
    file = tmp_path / "a.o"
    file.write_bytes(assembled(Part("socket", "f", code, [(3, "counts")])))
    status, out, _ = run(capsys, "disasm", file)
    assert status == 0 and "program f: SOCKET_FILTER\n" in out
    assert "; program.c:13: line of f\n   3: r1 = map[counts]\n" in out and out.startswith(
        "map counts: HASH, "
    )
    file.write_bytes(file.read_bytes()[:200])
    status, _, err = run(capsys, "disasm", file)
    assert status == 1 and f"ERROR: {file} is cut off" in err


def test_disasm_names_atomic_operations(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("db 21 08 00 e1 00 00 00")
    status, out, _ = run(capsys, "disasm", "--fields", tmp_path / "a")
    assert status == 0 and "r2 = atomic_xchg((u64 *)(r1 +8), r2)" in out and "imm 0xe1 (XCHG)" in out


# --- verify -------------------------------------------------------------------------------------


def test_verify_tells_good_from_bad(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "good").write_text(PROGRAM)
    (tmp_path / "bad").write_text("r0 = r5\nexit\n")
    status, out, _ = run(capsys, "verify", tmp_path / "good")
    assert status == 0 and "good: accepted" in out
    status, out, _ = run(capsys, "verify", tmp_path / "good", tmp_path / "bad", "--states")
    assert status == 1 and "bad: refused" in out and "R5 !read_ok" in out and "; R1=ctx() R10=fp0" in out


LESSONS = {  # a learner's program → what it is told: at which line, why, and what would do
    "r0 = r3\nexit": (1, "r3 is read, but nothing was put into it", "calls clear r1 to r5"),
    ".map m HASH 4 8 9\nr1 = map[m]\nr2 = r10\nr2 += -4\n*(u32 *)(r2 +0) = 0\ncall map_lookup_elem\n"
    "r0 = *(u64 *)(r0 +0)\nexit": (7, "r0 may be null here", "if r0 is null"),
    "r0 = *(u64 *)(r10 -520)\nexit": (1, "leaves the stack", "8 bytes at fp-520"),
    "r0 = 0\nagain: r0 += 1\ngoto again\nexit": (4, "no path leads to", "The loop from 1 to 2 has no end"),
    "r0 = 0\ngoto out\nr0 = 1\nout: exit": (3, "no path leads to", "Remove it, or jump to it"),
    "r0 = 0\nagain: if r0 == 5 goto out\ngoto again\nout: exit": (2, "nothing changed", "Count the rounds"),
    ".map r RINGBUF 0 0 4096\nr1 = map[r]\nr2 = 8\nr3 = 0\ncall ringbuf_reserve\nif r0 == 0 goto out\n"
    "r0 = 0\nout: exit": (8, "still holds something", "submit, discard or release it"),
    ".map m ARRAY 4 8 1\nr1 = value[m]\nr0 = *(u64 *)(r1 +8)\nexit": (
        3,
        "starts outside",
        "into 8 bytes",
    ),
}


@pytest.mark.parametrize(("text", "told"), LESSONS.items())
def test_verify_explains_a_learners_mistake(
    capsys: Capture, tmp_path: Path, text: str, told: tuple[int, str, str]
) -> None:
    file = tmp_path / "wrong.s"
    file.write_text(text)
    status, out, _ = run(capsys, "verify", file)
    line, why, mend = told
    assert status == 1 and f"{file}:{line}:1: ERROR: " in out and text.split("\n")[line - 1] in out
    assert why in out and mend in out


def test_verify_knows_types_of_maps(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "a.s").write_text(".map m HSH 4 8 1\nr0 = 0\nexit\n")
    status, _, err = run(capsys, "verify", tmp_path / "a.s")
    assert status == 1 and "a.s:1:1: ERROR: no map is of type HSH" in err and "did you mean HASH?" in err


def test_verify_judges_scripts_for_another_kernel(capsys: Capture, target: Path) -> None:
    script = "t:sched:sched_switch { @[args.prev_pid] = count(); }"
    status, out, _ = run(capsys, "verify", "--target", target, "-e", script)
    assert status == 0 and "tracepoint:sched:sched_switch: accepted" in out
    status, out, _ = run(capsys, "verify", "--target", target, "--kernel", "5.10", "-e", script)
    assert status == 1 and "refused" in out and "stdin:1:" in out


def test_a_script_for_another_machine_is_judged_here(capsys: Capture, target: Path) -> None:
    script = "t:sched:sched_switch { @[args.prev_pid] = count(); }"
    status, _, err = run(capsys, "--target", target, "--no-run", "-v", "-e", script)
    assert status == 0 and "built-in verifier: 1 program accepted" in err
    status, _, err = run(capsys, "--target", target, "-e", script)
    assert status == 1 and "a program for another machine cannot run here" in err


def test_verify_built_files_for_another_kernel(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: Path
) -> None:
    """What the running kernel's verifier answered is not held for that of a release that was asked for."""
    answered = {"features": features("6.18")}
    monkeypatch.setattr(
        "pbt.cli.verify.judging",
        lambda release: {"kernel": release} | (answered if release != "5.10" else {}),
    )
    script = "t:sched:sched_switch { @[args.prev_pid] = count(); }"
    built = tmp_path / "built"
    assert run(capsys, "build", "-q", "--target", target, "-o", built, "-e", script)[0] == 0
    assert run(capsys, "verify", built)[0] == 0
    status, out, _ = run(capsys, "verify", "--kernel", "5.10", built)
    assert status == 1 and "refused" in out


def test_verify_in_batches(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    program = {
        "id": 7,
        "insns": "".join(HEX.split()),
        "prog_type": 1,
        "maps": [],
        "relocs": [],
        "kernel": "6.1",
    }
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(program) + "\n"))
    status, out, _ = run(capsys, "verify", "--jsonl")
    answer = json.loads(out)
    assert status == 0 and answer["id"] == 7 and answer["verdict"] == "accept"
    strange = program | {"id": 8, "prog_type": 999}
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{json.dumps(strange)}\n{json.dumps(program)}\n"))
    status, out, _ = run(capsys, "verify", "--jsonl")
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [a["verdict"] for a in answers] == ["unsupported", "accept"]
    monkeypatch.setattr("sys.stdin", io.StringIO("{}\n"))
    status, _, err = run(capsys, "verify", "--jsonl")
    assert status == 1 and "describes no program" in err


def test_verify_tells_the_walk_and_reads_it_back(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("r0 = r5\nexit\n")
    status, out, _ = run(capsys, "verify", "--log", "2", tmp_path / "bad")
    assert status == 1 and "0: (bf) r0 = r5" in out and "R5 !read_ok\nprocessed 1 insns" in out
    script = "BEGIN { @ = 1; }"
    status, out, _ = run(capsys, "verify", "--log", "2", "-e", script)
    assert status == 0
    (tmp_path / "log").write_text(out.partition("processed")[0] + "R1 !read_ok\n")
    status, out, _ = run(capsys, "verify", "--kernel-log", tmp_path / "log", "-e", script)
    assert status == 1 and f"stdin:1: {script}" in out and "[PBT-V021]" in out and "HINT: " in out
    assert "unknown level of the log" in run(capsys, "verify", "--log", "9", tmp_path / "bad")[2]


def test_verify_for_a_release_as_target(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("r0 = 0\nr0 = (s8)r0\nexit\n")
    assert run(capsys, "verify", "--target", "6.18", tmp_path / "p")[0] == 0
    assert run(capsys, "verify", "--target", "6.1", tmp_path / "p")[0] == 1


@pytest.mark.parametrize("release", ["5.10", "6.1", "7.3"])
def test_verify_compiles_scripts_for_the_release(capsys: Capture, release: str) -> None:
    """Without bpf_loop, ring buffers and what else came later."""
    script = 'BEGIN { for ($i : 0..1000) { @[$i] = 1; } printf("%d", curtask != 0); }'
    status, out, err = run(capsys, "verify", "--target", release, "-e", script)
    assert status == 0 and "begin: accepted" in out, out + err


def test_verify_refuses_unknown_words(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "p").write_text(PROGRAM)
    assert "unknown program type X" in run(capsys, "verify", "--type", "x", tmp_path / "p")[2]
    assert "did you mean KPROBE?" in run(capsys, "verify", "--type", "kprob", tmp_path / "p")[2]
    assert "did you mean TRACE_FENTRY?" in run(capsys, "verify", "--attach", "trace_entry", tmp_path / "p")[2]
    assert "invalid kernel release" in run(capsys, "verify", "--kernel", "new", tmp_path / "p")[2]


# --- build, explain -----------------------------------------------------------------------------


def test_build_makes_a_file_that_other_verbs_read(capsys: Capture, tmp_path: Path, target: Path) -> None:
    script, tool = tmp_path / "s.bt", tmp_path / "tool.pbt"
    script.write_text("t:sched:sched_switch { @[args.prev_comm] = $1; }")
    status, _, err = run(capsys, "build", script, "-o", tool, "--target", target, "17")
    assert status == 0 and "1 program, " in err
    first = tool.read_bytes()
    run(capsys, "build", "-o", tool, "--target", target, "-q", script, "17")
    assert tool.read_bytes() == first
    assert "program tracepoint:sched:sched_switch: TRACEPOINT" in run(capsys, "disasm", tool)[1]
    assert "accepted" in run(capsys, "verify", tool)[1]
    assert run(capsys, "-l", "--target", target, tool)[1] == "tracepoint:sched:sched_switch\n"
    assert "run takes one file" in run(capsys, "run", tool, "18")[2]


def test_build_reports_the_scripts_mistakes(capsys: Capture, tmp_path: Path, target: Path) -> None:
    status, _, err = run(capsys, "build", "-e", "BEGIN { nope }", "-o", tmp_path / "t", "--target", target)
    assert status == 1 and "stdin:1:9: ERROR" in err and not (tmp_path / "t").exists()


def test_explain(capsys: Capture, target: Path) -> None:
    status, out, _ = run(capsys, "explain", "--target", target, "-e", "BEGIN { @ = $1 }", "7")
    assert status == 0 and "line 1: BEGIN { @ = $1 }" in out and "= 7" in out


# --- listing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "lines"),
    [
        ("tracepoint:*", ["tracepoint:sched:sched_switch", "tracepoint:skb:kfree_skb"]),
        ("t:skb:*", ["tracepoint:skb:kfree_skb"]),
        ("t:skb:kfree_sk?", ["tracepoint:skb:kfree_skb"]),
        ("*free_s*", ["rawtracepoint:vmlinux:kfree_skb", "tracepoint:skb:kfree_skb"]),
        ("k:vfs_w*,tracepoint:sched:*", ["kprobe:vfs_write", "tracepoint:sched:sched_switch"]),
        ("kretprobe:vfs_read", ["kretprobe:vfs_read"]),
        ("interval", ["interval:hz:", "interval:ms:", "interval:s:", "interval:us:"]),
        ("tracepoint:none:*", []),
    ],
)
def test_listing_by_pattern(capsys: Capture, target: Path, pattern: str, lines: list[str]) -> None:
    status, out, _ = run(capsys, "--target", target, "-l", pattern)
    assert status == 0 and out.splitlines() == lines


def test_listing_tells_what_may_have_been_meant(capsys: Capture, target: Path) -> None:
    for pattern, meant in (
        ("kprobe:vfs_raed", "kprobe:vfs_read"),
        ("t:sched:sched_swich", "tracepoint:sched:sched_switch"),
    ):
        status, out, err = run(capsys, "--target", target, "-l", pattern)
        assert (status, out) == (0, "") and f"HINT: did you mean {meant}?\nNo probes or types match" in err
    assert "HINT" not in run(capsys, "--target", target, "-l", "kprobe:nothing_like_it")[2]


def test_listing_everything_is_sorted_by_provider(capsys: Capture, target: Path) -> None:
    lines = run(capsys, "--target", target, "-l")[1].splitlines()
    kinds = [line.partition(":")[0] for line in lines]
    assert kinds == sorted(kinds) and {"kprobe", "tracepoint", "software", "hardware"} <= set(kinds)
    assert not {"kretprobe", "uprobe", "interval", "BEGIN"} & set(kinds)


def test_listing_with_arguments(capsys: Capture, target: Path) -> None:
    out = run(capsys, "--target", target, "-lv", "tracepoint:skb:kfree_skb")[1]
    assert out == "tracepoint:skb:kfree_skb\n    void * skbaddr\n    unsigned short protocol\n"


def test_listing_the_probes_of_a_program(capsys: Capture, tmp_path: Path, target: Path) -> None:
    text = "BEGIN { } tracepoint:*:* { } kprobe:vfs_r* { } BEGIN { }"
    wanted = ["begin", "tracepoint:sched:sched_switch", "tracepoint:skb:kfree_skb", "kprobe:vfs_read"]
    assert run(capsys, "--target", target, "-l", "-e", text)[1].splitlines() == wanted
    (tmp_path / "s.bt").write_text(text)
    assert run(capsys, "--target", target, "-l", tmp_path / "s.bt")[1].splitlines() == wanted


def test_listing_what_does_not_exist(capsys: Capture, target: Path) -> None:
    assert "unknown probe type tracepont" in run(capsys, "--target", target, "-l", "tracepont:*")[2]
    assert "has no type information" in run(capsys, "--target", target, "-l", "struct *")[2]
    assert "one pattern" in run(capsys, "--target", target, "-l", "t:a:b", "t:c:d")[2]
    assert "is not a file" in run(capsys, "--target", target, "-l", "./nothing.bt")[2]
