"""The canonical form, by example (tests/property/test_fmt.py has its laws)."""

import pytest

from pbt.cli.main import main
from pbt.lang.fmt import format_script
from pbt.source import Source


def formatted(text: str) -> str:
    return format_script(Source("script", text))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("BEGIN{@=1}", "BEGIN\n{\n  @ = 1;\n}\n"),
        ("END { }", "END\n{}\n"),
        ("k:a,k:b,/pid>1/{@++;}", "k:a,\nk:b\n/pid > 1/\n{\n  @++;\n}\n"),
        ("BEGIN{$x=-(-1)- -1;}", "BEGIN\n{\n  $x = -(-1) - -1;\n}\n"),
        ("BEGIN{$x=- -1}", "BEGIN\n{\n  $x = - -1;\n}\n"),
        ("BEGIN{if(1){@++}else{@--};}", "BEGIN\n{\n  if (1) {\n    @++;\n  } else {\n    @--;\n  }\n}\n"),
        ("struct A{int x,y[2];}BEGIN{}", "struct A {\n  int x, y[2];\n};\n\nBEGIN\n{}\n"),
        ("config={a=1 b=2}BEGIN{}", "config = {\n  a = 1;\n  b = 2;\n}\n\nBEGIN\n{}\n"),
        ("BEGIN{@x[1]=(1,);}", "BEGIN\n{\n  @x[1] = (1,);\n}\n"),
        ("BEGIN{$p=( struct  a* )0;}", "BEGIN\n{\n  $p = (struct a *)0;\n}\n"),
        ("BEGIN { for($i:0..3){break} }", "BEGIN\n{\n  for ($i : 0..3) {\n    break;\n  }\n}\n"),
        ("BEGIN{$a=1?2:3; $b=$a?:4;}", "BEGIN\n{\n  $a = 1 ? 2 : 3;\n  $b = $a ?: 4;\n}\n"),
        ("macro m($a,b){$a+b} BEGIN{}", "macro m($a, b)\n{\n  $a + b\n}\n\nBEGIN\n{}\n"),
    ],
)  # fmt: skip
def test_canonical_form(text, canonical):
    assert formatted(text) == canonical


def test_comments_stay_where_they_are():
    text = """#!/usr/bin/env pbt
/* first
\t * second */
#include <linux/fs.h>
BEGIN{ // opening


// own line
@++ // trailing
/* last */ }// after
// end"""
    assert (
        formatted(text)
        == """#!/usr/bin/env pbt
/* first
 * second */
#include <linux/fs.h>
BEGIN
{ // opening
  // own line
  @++; // trailing
  /* last */
} // after
// end
"""
    )


def test_a_comment_before_else():
    text = "BEGIN { if (1) { } // why\n else { @++ } }"
    assert "  if (1) {} // why\n  else {\n    @++;" in formatted(text)


def test_long_calls_are_aligned():
    text = 'BEGIN { printf("%-16s %-16s %-16s %-16s\\n", "A LONG HEADING", "ANOTHER LONG ONE", "AND ONE MORE"); }'
    assert formatted(text).splitlines()[2:] == [
        '  printf("%-16s %-16s %-16s %-16s\\n", "A LONG HEADING", "ANOTHER LONG ONE",',
        '         "AND ONE MORE");',
        "}",
    ]


def test_text_left_out_by_conditionals_stays():
    text = "#ifdef NOWHERE\n\tstruct   {odd\n#endif\nBEGIN{}"
    assert formatted(text) == "#ifdef NOWHERE\n\tstruct   {odd\n#endif\nBEGIN\n{}\n"


def test_in_place(tmp_path, capsys):
    script = tmp_path / "a.bt"
    script.write_text("BEGIN{}")
    assert main(["--fmt", "--check", str(script)]) == 1
    assert main(["--fmt", "-i", str(script)]) == 0
    assert script.read_text() == "BEGIN\n{}\n"
    assert main(["--fmt", "--check", str(script)]) == 0
    assert main(["--mode", "format", str(script)]) == 0
    out, err = capsys.readouterr()
    assert out == "BEGIN\n{}\n" and err == f"{script} would be formatted anew\n"


def test_a_script_with_errors_is_left_alone(tmp_path, capsys):
    script = tmp_path / "a.bt"
    script.write_text("BEGIN{")
    assert main(["--fmt", "-i", str(script)]) == 1
    assert script.read_text() == "BEGIN{" and "syntax error" in capsys.readouterr().err
