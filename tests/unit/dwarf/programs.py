"""A small C program, built as tests need it: with functions inlined twice, a static one, structs for arguments."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = """\
#include <unistd.h>
#include "twice.h"

struct point { int x, y; };
struct item { struct point at; const char *name; unsigned flag : 3; int spin : 5; struct item *next; union { long l; char c[4]; }; };
enum color { RED, GREEN = 5 };
typedef unsigned long word;

__attribute__((noinline)) int work(int n, struct item *it, enum color c, word w, char s, struct point p) {
	int r = 0;

	r += twice(n);
	r += twice(r); total += it->at.x + c + (int)w + s + p.y;
	return r;
}

__attribute__((noinline)) static int first(const char *text, _Bool yes, double odd, unsigned short last)
{
	return total += text[0] + yes + (int)odd + last;
}

int main(int argc, char **argv)
{
	struct item one = {{3, 4}, "one", 5, -2, 0, {7}};
	int rounds = argc;

	for (int k = 0; k < rounds; k++) {
		work(3, &one, GREEN, 77, 'q', one.at);
		first("hello", 1, 2.5, 65535);
	}
	return 0;
}
"""
HEADER = """\
static volatile int total;

static inline __attribute__((always_inline)) int once(int n)
{
	total += n;
	return getpid() > 0 ? n : 0;
}

static inline __attribute__((always_inline)) int twice(int n)
{
	int r = n * 2;
	total += r;
	return once(r);
}
"""
LINES = {  # what is on which line of prog.c and twice.h
    name: text.split("\n").index(line) + 1
    for name, text, line in (
        ("first call", SOURCE, "	r += twice(n);"),
        ("second call", SOURCE, "	r += twice(r); total += it->at.x + c + (int)w + s + p.y;"),
        (
            "open",
            SOURCE,
            "__attribute__((noinline)) int work(int n, struct item *it, enum color c, word w, char s, struct point p) {",
        ),
        ("loop", SOURCE, "	for (int k = 0; k < rounds; k++) {"),
        ("product", HEADER, "	int r = n * 2;"),
        ("sum", HEADER, "	total += n;"),
    )
}


def build(folder: Path, *options: str, compiler: str = "gcc", name: str = "prog") -> Path:
    """The program, compiled with the options; skips the test where there is no compiler."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} on this machine")
    (folder / "src").mkdir(exist_ok=True)
    (folder / "src" / "prog.c").write_text(SOURCE)
    (folder / "src" / "twice.h").write_text(HEADER)
    command = [compiler, *options, "-o", name, "src/prog.c"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.skip(f"{' '.join(command)}: {done.stderr[:200]}")
    return folder / name
