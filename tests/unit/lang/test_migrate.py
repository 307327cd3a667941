"""Old forms and what becomes of them (tests/property/test_migrate.py: it is done once, and programs stay the same)."""

import pytest

from pbt.cli.main import main
from pbt.lang.migrate import deprecated, migrate
from pbt.source import Source


def modern(text: str) -> str:
    return migrate(Source("script", text)).text


def body(text: str) -> str:
    """A statement in a probe that is modern already, migrated."""
    made = modern("begin { " + text + " }")
    assert made.startswith("begin { ") and made.endswith(" }")
    return made[8:-2]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("@ = args->pid;", "@ = args.pid;"),
        ("@ = $p->pid;", "@ = $p->pid;"),
        ("delete(@m[1]);", "delete(@m, 1);"),
        ("delete(@m[1, comm]);", "delete(@m, (1, comm));"),
        ("delete(@m[ /* why */ args->pid ]);", "delete(@m,  /* why */ args.pid );"),
        ("delete(@m);", "delete(@m);"),
        ("delete(@a[1], @b[2, 3]);", "delete(@a, 1); delete(@b, (2, 3));"),
        ("print(stack); print(name); print(sym(1));", "print(kstack); print(probe); print(ksym(1));"),
        ("@ = sarg1;", '@ = *(reg("sp") + 16);'),
        ("unroll(3) { @++; }", "for ($i : 0..3) { @++; }"),
        ("$i = 1; unroll($1) { @++; }", "$i = 1; for ($j : 0..$1) { @++; }"),
        ("unroll(3) { @ = args.pid; }", "unroll(3) { @ = args.pid; }"),
        ("$i = 0; while ($i < 5) { @[$i] = 1; $i++; }", "for ($i : 0..5) { @[$i] = 1; }"),
        ("$i = 0; while ($i < 5) { @ = $i; $i += 1 }", "for ($i : 0..5) { @ = $i; }"),
        ("$i = 0; while ($i < 5) { $i++; } print($i);", "$i = 0; while ($i < 5) { $i++; } print($i);"),
        ("$i = 0; while ($i < 5) { $i = 3; $i++; }", "$i = 0; while ($i < 5) { $i = 3; $i++; }"),
        ("$i = 0; while ($i < @n) { $i++; }", "$i = 0; while ($i < @n) { $i++; }"),
        ("if (1) { $x = 1; } print($x);", "let $x; if (1) { $x = 1; } print($x);"),
    ],
)
def test_statements(old, new):
    assert body(old) == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("BEGIN { } END { }", "begin { } end { }"),
        ("kfunc:vfs_read { } kretfunc:f { }", "fentry:vfs_read { } fexit:f { }"),
        ("interval:s:5 { } p:ms:10 { } profile:hz:99 { }", "interval:5s { } p:10ms { } profile:hz:99 { }"),
        ("interval:s:5 { print(probe); }", "interval:s:5 { print(probe); }"),
        ("config = { strlen = 9; } begin { }", "config = { max_strlen = 9; } begin { }"),
        ("config = { BPFTRACE_MAX_STRLEN = 9 } begin { }", "config = { max_strlen = 9 } begin { }"),
        ("config = { no_cpp_demangle = 1 } begin { }", "config = { cpp_demangle = false } begin { }"),
        ("config = { unstable_macro = 1; log_size = 9 } begin { }", "config = { log_size = 9 } begin { }"),
        ("#!/usr/bin/env -S BPFTRACE_STRLEN=9 bpftrace\nbegin { }", "#!/usr/bin/env -S BPFTRACE_MAX_STRLEN=9 bpftrace\nbegin { }"),
        ("#include <linux/sched.h>\nbegin { }", "begin { }"),
        ("#include <linux/sched.h>\nbegin { print(SOME_NAME); }", "#include <linux/sched.h>\nbegin { print(SOME_NAME); }"),
        ("#ifndef BPFTRACE_HAVE_BTF\n#include <a.h>\n#endif\nbegin { }", "begin { }"),
        ("#ifdef BPFTRACE_HAVE_BTF\nbegin { }\n#else\nstruct x\n#endif\n", "begin { }\n"),
        ("kprobe:a, kprobe:b { }", 'config = {\n  missing_probes = "warn";\n}\n\nkprobe:a, kprobe:b { }'),
        ("config = { missing_probes = \"error\" } kprobe:a, kprobe:b { }",
         "config = { missing_probes = \"error\" } kprobe:a, kprobe:b { }"),
    ],
)  # fmt: skip
def test_scripts(old, new):
    assert modern(old) == new


def test_a_declaration_has_a_line_of_its_own_outside_of_loops():
    old = "begin {\n  for ($i : 0..3) {\n    if ($i == 1) { $x = $i; }\n    print($x);\n  }\n}\n"
    assert modern(old) == old.replace("  for", "  let $x;\n  for")


def test_warnings_name_both_forms():
    found = deprecated(Source("script", "kfunc:f { print(args->a); delete(@[1]); @[1] = 1; }"))
    assert [(each.rewrite.old, each.span.text) for each in found] == [
        ("kfunc:, kretfunc:", "kfunc"), ("args->field", "->"), ("delete(@m[key])", "["),
    ]  # fmt: skip


def test_nothing_old_nothing_said():
    assert deprecated(Source("script", "BEGIN { exit(); }")) == []


def test_in_place(tmp_path, capsys):
    script = tmp_path / "a.bt"
    script.write_text("BEGIN { @[1] = 1; delete(@[1]); } // why\n")
    assert main(["--migrate", str(script)]) == 0
    assert capsys.readouterr().out == "begin { @[1] = 1; delete(@, 1); } // why\n"
    assert main(["--migrate", "-i", str(script)]) == 0
    assert script.read_text() == "begin { @[1] = 1; delete(@, 1); } // why\n"


def test_check_says_it_and_is_content(capsys):
    assert main(["--check", "-e", "BEGIN { @[1] = 1; delete(@[1]); exit(); }"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("stdin:1:27: WARNING: older form: delete(@m[key])\n")
    assert main(["--no-warnings", "--check", "-e", "BEGIN { @[1] = 1; delete(@[1]); exit(); }"]) == 0
    assert capsys.readouterr() == ("", "")
