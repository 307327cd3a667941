"""The rows of the language: syntax, expressions and types, maps and aggregations, older spellings.

Each row of ROWS is the body of a BEGIN probe and what it prints; rows run in batches, one session each,
where every row has maps of its own. WRONG has scripts that are refused, with a piece of the message;
WARNED those that run but are warned about; WHOLE scripts that are more than one body.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import pytest

import pbt as api
from pbt.host.target import Target
from pbt.pipeline import Options, run
from pbt.source import PbtError, Source

pytestmark = pytest.mark.live

TOP = r"""
struct Pair { int a; int b; }
struct Deep { char c; struct Pair in; union { int u; unsigned char bytes[4]; }; int tail[3]; };
struct Bits { unsigned int x : 3; unsigned int y : 5; int z : 4; };
struct __attribute__((packed)) Tight { char c; long l; };
struct Tight2 { char c; long l; } __attribute__((packed));
struct Grid { int cells[2][3]; struct Pair *next; void (*call)(int, char *); char name[8]; };
struct Forward;
enum Colour { RED, GREEN = 5, BLUE };
enum { LONELY = 77 };
#define LIMIT 40 + 2
#define TWICE(x) ((x) * 2)
#define DOUBLED (LIMIT)
macro add_one(x) { x + 1 }
macro bump($v) { $v += 10; }
macro count_up(@m, k) { @m[k]++; }
macro nothing() { 5 }
fn triple($n : int64) : int64 { return $n * 3; }
fn named($n : int64) : string[8] { if ($n > 9) { return "many"; } return "few"; }
fn say($n : int64) { printf("got %d\n", $n); }
fn twin($n : int64) : typeof($n) { let $t: typeof($n) = $n + $n; return $t; }
fn larger($a : int64, $b : int64) : int64 { if ($a > $b) { return $a; } return $b; }
"""


class Row(NamedTuple):
    name: str
    body: str
    answer: str


def rows(text: str) -> list[Row]:
    """`name | body | answer` a line; a newline in the answer is written as ` / `."""
    made = []
    for line in text.strip().splitlines():
        if line.strip():
            name, body, answer = (part.strip() for part in line.split(" | ", 2))
            made.append(Row(name, body, answer))
    return made


ROWS = rows(r"""
decimal | print(10); | 10
hex | print(0x1F); print(0Xff); | 31 / 255
octal | print(017); | 15
underscores | print(1_000_000); print(0xff_ff); | 1000000 / 65535
exponent | print(1e6); print(2e3); print(1e9); | 1000000 / 2000 / 1000000000
suffixes | print(10u); print(10UL); print(3ull); print(7LL); | 10 / 10 / 3 / 7
durations | print(1ns); print(2us); print(3ms); print(1s); print(1m); print(1h); print(1d); | 1 / 2000 / 3000000 / 1000000000 / 60000000000 / 3600000000000 / 86400000000000
string escapes | print("a\tb\"c\\d\101\x42"); | a	b"c\dAB
booleans | print(true); print(false); print((true, false)); | true / false / (true, false)
bool printf | printf("%d %s %d\n", true, false, (bool)7); | 1 false 1
comparison is bool | print(1 == 1); print(2 < 1); @x = 3 > 2; print(@x); | true / false / @x: true
scratch variable | $a = 5; $b = $a * 2; print($b); | 10
probe scope | if (1) { $late = 4; } else { $late = 6; } print($late); | 4
block scope | if (1) { $s = 1; print($s); } if (1) { $s = "text"; print($s); } | 1 / text
let | let $x; $x = 3; let $y = 4; let $z: uint8 = 5; print(($x, $y, $z)); | (3, 4, 5)
let typed wraps | let $z: uint8; $z = 200; $z += 100; print($z); | 44
let typed pointer | let $p: struct Pair * = 0; print($p); | 0x0
let string | let $s: string[16] = "abc"; print($s); $s = "longer text"; print($s); | abc / longer text
let typeof | $a = 5; let $b: typeof($a) = 7; print($b); | 7
map | @ = 1; @x = 2; print(@); print(@x); | @: 1 / @x: 2
map keys | @x[1] = 2; @x[3] = 4; print(@x); | @x[1]: 2 / @x[3]: 4
map tuple key | @x[1, "a"] = 2; print(@x[(1, "a")]); print(@x); | 2 / @x[1, a]: 2
map tuple variable key | $k = (1, 2); @x[$k] = 3; print(@x[1, 2]); print(@x[$k]); print(@x); | 3 / 3 / @x[1, 2]: 3
nested tuple key | @x[(1, (2, 3))] = 4; print(@x); print(@x[1, (2, 3)]); | @x[1, (2, 3)]: 4 / 4
compound assignment | $a = 12; $a += 3; $a -= 1; $a *= 4; $a /= 5; $a %= 8; print($a); $a \|= 8; $a &= 12; $a ^= 5; $a <<= 3; $a >>= 1; print($a); | 3 / 52
compound on maps | @x = 12; @x += 3; @x -= 1; @x *= 4; @x /= 5; @x %= 8; @x \|= 8; @x &= 12; @x ^= 5; @x <<= 3; @x >>= 1; print(@x); | @x: 52
compound on keys | @x[1] += 5; @x[1] *= 3; @x[2] -= 1; print(@x); | @x[2]: -1 / @x[1]: 15
steps | $a = 5; print($a++); print(++$a); print($a--); print(--$a); | 5 / 7 / 7 / 5
steps on maps | print(@x++); print(++@x); print(@y[1]--); print(--@y[1]); | 0 / 2 / 0 / -2
step scales pointers | $p = (int32 *)100; $p++; print((uint64)$p); $p += 2; print((uint64)$p); ++$p; print((uint64)$p); $p -= 3; print((uint64)$p); | 104 / 112 / 116 / 104
step on struct pointer | $p = (struct Pair *)1000; print((uint64)($p + 1)); print((uint64)($p - 2)); print((uint64)(1 + $p)); | 1008 / 984 / 1008
void pointer arithmetic | $p = (void *)100; print((uint64)($p + 3)); | 103
pointer difference compare | $p = (int32 *)100; $q = $p + 1; print($q > $p); print($p == $q); print($p != 0); | true / false / true
semicolons | if (1) { print(1) } print(2); if (0) { } else { print(3) }; { print(4) } | 1 / 2 / 3 / 4
discard | _ = 5 + 3; _ = nsecs; print(1); | 1
if else | $a = 2; if ($a == 1) { print("one"); } else if ($a == 2) { print("two"); } else { print("more"); } | two
if without parens | $a = 2; if $a == 2 { print("yes"); } if !$a { print("no"); } else { print("not"); } | yes / not
if value | $c = 1; $a = if $c { 1 } else { 2 }; print($a); $b = if ($c > 1) { "big" } else if $c == 1 { "one" } else { "small" }; print($b); | 1 / one
ternary | $a = 2; print($a > 1 ? 10 : 20); print($a > 5 ? "x" : "yes"); print($a == 1 ? 1 : $a == 2 ? 22 : 3); | 10 / yes / 22
elvis | $a = 0; print($a ?: 7); $a = 3; print($a ?: 7); | 7 / 3
elvis once | print(@x++ ?: 9); print(@x++ ?: 9); print(@x); | 9 / 1 / @x: 2
ternary statements | $a = 1; $a ? print("then") : print("else"); | then
unroll | unroll(3) { @x += 2; } print(@x); | @x: 6
unroll expression | unroll(1 + 2) { @x++; } unroll(sizeof(uint32)) { @x++; } print(@x); | @x: 7
while | $i = 0; while ($i < 3) { print($i); $i++; } | 0 / 1 / 2
while break | $i = 0; while (1) { $i++; if ($i == 2) { continue; } if ($i > 3) { break; } print($i); } | 1 / 3
for range | for ($i : 1..4) { print($i); } for $i : 0..2 { print($i); } | 1 / 2 / 3 / 0 / 1
for range ends | $n = 2; for ($i : 0..$n) { $n = 5; print($i); } for ($i : 3..1) { print($i); } | 0 / 1
for range jumps | for ($i : 0..10) { if ($i == 1) { continue; } if ($i > 2) { break; } print($i); } | 0 / 2
for range nested | for ($i : 0..2) { for ($j : 0..2) { print(($i, $j)); } } | (0, 0) / (0, 1) / (1, 0) / (1, 1)
for map | @x[1] = 10; for ($kv : @x) { print($kv); print($kv.0); print($kv.1); print($kv[1]); } | (1, 10) / 1 / 10 / 10
for map tuple key | @x[1, 2] = 10; for ($kv : @x) { print($kv.0); print($kv.0.1); } | (1, 2) / 2
for map strings | @x["k"] = "v"; for $kv : @x { print($kv.0); print($kv.1); } | k / v
for map outer variables | $sum = 0; @x[1] = 2; @x[2] = 3; for ($kv : @x) { $sum += $kv.1; } print($sum); | 5
for map return | @x[1] = 2; for ($kv : @x) { print("in"); return; } print("not here"); | in
for map break | @x[1] = 2; @x[2] = 2; for ($kv : @x) { @n++; break; } print(@n); | @n: 1
return | print(1); if (1) { return; } print(2); | 1
block expression | $a = { let $t = 4; $t * 2 }; print($a); | 8
tuple | $t = (1, "two", (3, 4)); print($t); print($t.1); print($t.2.0); print($t[0]); print($t[2][1]); | (1, two, (3, 4)) / two / 3 / 1 / 4
tuple one and none | print((5,)); $t = (7,); print($t.0); print(()); | (5) / 7 / ()
tuple equality | $t = (1, "a"); print($t == (1, "a")); print($t == (1, "b")); print($t != (2, "a")); print(((1, 2), 3) == ((1, 2), 3)); | true / false / true / true
tuple widths | $t = ((uint8)1, (uint32)2); print($t); @x = $t; print(@x.1); | (1, 2) / 2
tuple in a map | @x = (1, "abc"); print(@x.1); @y[1] = (2, 3); print(@y[1].0); print(@y); | abc / 2 / @y[1]: (2, 3)
record | $r = (a=1, b="x"); print($r); print($r.b); @r = $r; print(@r); print((b=1, a=2) == (a=2, b=1)); | { .a = 1, .b = x } / x / @r: { .a = 1, .b = x } / true
array literal | int32 a[] = {1, 2, 3}; print(a[1]); $i = 2; print(a[$i]); print(a); | 2 / 3 / [1,2,3]
array in a map | int32 a[] = {4, 5}; @x = a; print(@x); $a = @x; print($a[1]); | @x: [4,5] / 5
array cast | $a = (uint8[8])0x0807060504030201; print($a); print($a[3]); $i = 1; print($a[$i]); | [1,2,3,4,5,6,7,8] / 4 / 2
array equality | $a = (uint8[4])(uint32)1; $b = (uint8[4])(uint32)1; $c = (uint8[4])(uint32)2; print($a == $b); print($a == $c); print($a != $c); | true / false / true
array from string | $a = (int8[4])"abc"; print($a[1]); $b = (uint8[])"xy"; print($b); | 98 / [120,121,0]
int from array | $a = (uint8[8])0x0102; print((uint64)$a); print((uint16)(uint8[2])(uint16)513); | 258 / 513
array as key | int32 a[] = {1, 2}; @x[a] = 3; print(@x); | @x[[1,2]]: 3
struct sizes | print(sizeof(struct Pair)); print(sizeof(struct Deep)); print(sizeof(struct Tight)); print(sizeof(struct Tight2)); print(sizeof(struct Bits)); | 8 / 28 / 9 / 9 / 4
struct offsets | print(offsetof(struct Deep, in)); print(offsetof(struct Deep, in.b)); print(offsetof(struct Deep, u)); print(offsetof(struct Tight, l)); | 4 / 8 / 12 / 1
struct array sizes | print(sizeof(struct Grid)); print(offsetof(struct Grid, call)); print(offsetof(struct Grid, name)); | 48 / 32 / 40
enum constants | print(GREEN + 1); print(BLUE); print(LONELY); printf("%d %s\n", RED, BLUE); | 6 / BLUE / LONELY / 0 BLUE
enum cast | print((enum Colour)5); $i = 6; print((enum Colour)$i); printf("%s %d\n", (enum Colour)$i, (enum Colour)$i); @x = GREEN; print(@x); | GREEN / BLUE / BLUE 6 / @x: GREEN
enum key | @x[GREEN] = 1; print(@x); | @x[GREEN]: 1
enum unknown | print((enum Colour)42); | 42
define | print(LIMIT); print(LIMIT * 2); print(DOUBLED * 2); | 42 / 84 / 84
macro | print(add_one(4)); $v = 1; bump($v); print($v); count_up(@m, 3); count_up(@m, 3); print(@m); print(nothing); print(nothing()); | 5 / 11 / @m[3]: 2 / 5 / 5
fn | print(triple(4)); print(larger(3, 9)); $a = triple(larger(1, 2)); print($a); | 12 / 9 / 6
comptime | print(comptime (1 + 2)); if comptime (sizeof(uint64) == 8) { print("eight"); } else { print("other"); } | 3 / eight
casts | print((uint8)300); print((int8)200); $v = 70000; print((uint16)$v); print((int16)40000); print((bool)5); print((int32)-1); | 44 / -56 / 4464 / -25536 / true / -1
cast typeof | $a = (uint8)1; print((typeof($a))257); $s = (typeof(3))5; print($s); | 1 / 5
cast to string | $s = (string[3])"abcdef"; print($s); $a = (int8[4])"abc"; print((string[4])$a); | ab / abc
cast unsigned words | print((unsigned int)5); print((unsigned long)7); print((char)65); | 5 / 7 / 65
sizeof | print(sizeof(uint64)); print(sizeof(1 == 1)); $x = (uint16)1; print(sizeof($x)); print(sizeof("abc")); print(sizeof(int)); print(sizeof(int32[4])); | 8 / 1 / 2 / 4 / 4 / 16
address of variable | $v = 5; $p = &$v; print(*$p); $t = (1, 2); $q = &$t; print(*$q); | 5 / (1, 2)
precedence | print(1 + 2 * 3); print((1 + 2) * 3); print(1 \| 2 ^ 3 & 4); print(1 << 2 + 1); print(10 - 4 - 3); print(-2 * 3); print(2 + 3 == 5 && 1 < 2); print(~0); print(!0); print(7 & 3 == 3); | 7 / 9 / 3 / 8 / 3 / -6 / true / -1 / true / 1
signed division | $a = -7; print($a / 2); print($a % 3); print(-7 / 2); $b = (uint64)7; print($b / 2); | -3 / -1 / -3 / 3
promotion | $a = (int8)-1; $b = (uint32)5; print($a + $b); print((uint8)200 + (uint8)100); print((int32)2147483647 + 1); print((uint32)1 - (uint32)2); | 4 / 300 / 2147483648 / -1
big literal | print(0xffffffffffffffff); print(18446744073709551615); print(-9223372036854775808); | 18446744073709551615 / 18446744073709551615 / -9223372036854775808
shifts | $a = 1; print($a << 40); $b = -8; print($b >> 1); $c = (uint64)-8; print($c >> 60); | 1099511627776 / -4 / 15
short circuit | if (0 && @x++) { } if (1 \|\| @x++) { } if (1 && ++@x) { } print(@x); | @x: 1
string comparison | $s = "abc"; print($s == "abc"); print($s != "abd"); print("abc" == $s); @x = "abc"; print(@x == $s); | true / true / true / true
string indexing | $s = "abc"; print($s[0]); print("abc"[1]); $i = 2; print($s[$i]); print("/"[0]); | 97 / 98 / 99 / 47
string truth | $s = ""; if ($s) { print("full"); } else { print("empty"); } | empty
dereference of an integer | print(*(uint64)0); | 0
dereference null | $p = (struct Pair *)0; print($p->a); print(*(int32 *)0); | 0 / 0
absent keys | @x[1] = 5; print(@x[2]); @s[1] = "a"; printf("[%s]\n", @s[2]); @t[1] = (1, 2); print(@t[3]); | 0 / [] / (0, 0)
map copies | @a = "abc"; @b = @a; print(@b); @c[1] = (1, "x"); @d = @c[1]; print(@d); @e[5] = @a; print(@e); | @b: abc / @d: (1, x) / @e[5]: abc
strings widen | $s = "a"; $s = "longer"; print($s); @x = "b"; @x = "wider text"; print(@x); | longer / @x: wider text
has_key | @x[1] = 0; print(has_key(@x, 1)); print(has_key(@x, 2)); | true / false
step creates, reading does not | $v = @x[7]; @x[8]++; print(@x); print(len(@x)); | @x[8]: 1 / 1
count | @x = count(); @x = count(); print(@x); @y["a"] = count(); print(@y); print(@y["a"]); | @x: 2 / @y[a]: 1 / 1
sum | @x = sum(5); @x = sum(-7); print(@x); @y[1] = sum((uint64)3); print(@y); | @x: -2 / @y[1]: 3
min max | @n = min(5); @n = min(-3); @n = min(9); @m = max(-5); @m = max(-9); print(@n); print(@m); | @n: -3 / @m: -5
min max keys | @n[1] = min(-2); @n[2] = min(3); @n[3] = min(7); print(@n); | @n[1]: -2 / @n[2]: 3 / @n[3]: 7
avg | @x = avg(1); @x = avg(4); print(@x); @y = avg(-1); @y = avg(-4); print(@y); | @x: 2 / @y: -2
stats | @x = stats(2); @x = stats(4); print(@x); @y[1] = stats(-3); print(@y); print(@y[1]); | @x: { .count = 2, .average = 3, .total = 6 } / @y[1]: { .count = 1, .average = -3, .total = -3 } / { .count = 1, .average = -3, .total = -3 }
aggregations as numbers | @c = count(); @s = sum(4); @a = avg(6); @m = max(8); print(@c + @s + @a + @m); if (@c > 0) { print("some"); } $c = @c; print($c); print((int64)@s); | 19 / some / 1 / 4
unsigned max | @x = max((uint64)-1); @x = max((uint64)1); print(@x); | @x: 18446744073709551615
value order | @x[1] = 30; @x[2] = -10; @x[3] = 20; print(@x); | @x[2]: -10 / @x[3]: 20 / @x[1]: 30
top and div | @x["a"] = 30; @x["b"] = 10; @x["c"] = 20; print(@x, 2); print(@x, 1, 7); print(@x, 0, 10); | @x[c]: 20 / @x[a]: 30 / @x[a]: 4 / @x[b]: 1 / @x[c]: 2 / @x[a]: 3
stats order | @x[1] = stats(30); @x[2] = stats(-10); @x[3] = stats(20); print(@x); | @x[2]: { .count = 1, .average = -10, .total = -10 } / @x[3]: { .count = 1, .average = 20, .total = 20 } / @x[1]: { .count = 1, .average = 30, .total = 30 }
string order | @x[2] = "b"; @x[1] = "c"; @x[-1] = "a"; print(@x); @y["b"] = "1"; @y["a"] = "2"; print(@y); | @x[-1]: a / @x[1]: c / @x[2]: b / @y[a]: 2 / @y[b]: 1
empty maps | @x[1] = 1; clear(@x); print(@x); @y = 5; zero(@y); print(@y); print("end"); | @y: 0 / end
delete | @x[1] = 1; @x[2] = 2; delete(@x[1]); print(len(@x)); delete(@x, 2); print(len(@x)); | 1 / 0
delete scalar | @x = 5; delete(@x); print(@x); | @x: 0
hist negative | @x = hist(-1); @x = hist(0); @x = hist(1); print(@x); | @x: / (..., 0)               1 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@| / [0]                    1 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@| / [1]                    1 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@| / 
hist bits | @x = hist(10, 2); print(@x); | @x: / [10, 12)               1 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@| / 
lhist | @x = lhist(5, 0, 10, 5); @x = lhist(10, 0, 10, 5); @x = lhist(-1, 0, 10, 5); print(@x); | @x: / (..., 0)               1 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@| / [0, 5)                 0 |                                                    | / [5, 10)                1 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@| / [10, ...)              1 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@| / 
lhist negative bounds | @x = lhist(-5, -10, 10, 10); print(@x); | @x: / [-10, 0)               1 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@| / 
quantize | @x = quantize(1); print(@x); | @x: / [1]                    1 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@| / 
hist elements | @x["a"] = hist(1); print(@x["a"]); | [1]                    1 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@| / 
inet equality | $a = ntop(0x0100007f); print($a == ntop(0x0100007f)); print($a != ntop(1)); @x = $a; print(@x == $a); | true / true / true
inet | print(ntop(2, 0x0100007f)); print(ntop(0x0100007f)); | 127.0.0.1 / 127.0.0.1
probe | print(probe); | BEGIN
older time division | $t = nsecs / 1000; $u = 3 * 1e6; print($u); if ($t > 0) { print("yes"); } | 3000000 / yes
hist of a division | @["x"] = hist(1000 / 1000); print(@); | @[x]: / [1]                    1 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@| / 
postfix types | let $p: int32[2]; print($p); let $s: string[8]; printf("[%s]\n", $s); | [0,0] / []
pid width | print(sizeof(pid)); @x[pid] = 1; print(len(@x)); | 4 / 1
typeof names | $x = (uint32)5; let $y: typeof($x); $y = 9; print(sizeof($y)); print(sizeof(typeof($x))); | 4 / 4
comments | /* one */ print(1); /* two / lines */ print(2); // rest | 1 / 2
unary on parens | print(-(3)); print(- -3); print(!(1 == 2)); print(~5); | -3 / 3 / true / -6
not of strings and pointers | $p = (int32 *)0; if (!$p) { print("null"); } | null
names that start with keywords | $iffy = 1; $returned = 2; @forest = 3; print($iffy + $returned); print(@forest); | 3 / @forest: 3
struct value | $v = (uint64)0x200000001; $p = (struct Pair *)&$v; print(*$p); $s = *$p; print($s.a); print($p->b); print($p.b); print($s); | { .a = 1, .b = 2 } / 1 / 2 / 2 / { .a = 1, .b = 2 }
struct in maps | $v = (uint64)0x200000001; $p = (struct Pair *)&$v; @x = *$p; print(@x); print(@x.b); @y[1] = *$p; print(@y[1].a); print(@y); @z = @x; print(@z); @k[*$p] = 3; print(@k); | @x: { .a = 1, .b = 2 } / 2 / 1 / @y[1]: { .a = 1, .b = 2 } / @z: { .a = 1, .b = 2 } / @k[{ .a = 1, .b = 2 }]: 3
struct in a tuple | $v = (uint64)0x200000001; $t = (1, *(struct Pair *)&$v); print($t); print($t.1.b); | (1, { .a = 1, .b = 2 }) / 2
bitfields | $v = (uint64)0x7d; $p = (struct Bits *)&$v; print($p->x); print($p->y); print($p->z); print(*$p); $s = *$p; print($s.y); | 5 / 15 / 0 / { .x = 5, .y = 15, .z = 0 } / 15
signed bitfield | $v = (uint64)0xf00; $p = (struct Bits *)&$v; print($p->z); print(*$p); | -1 / { .x = 0, .y = 0, .z = -1 }
nested struct | int32 a[] = {65, 2, 3, 0x04030201, 5, 6, 7}; @m = a; $p = (struct Deep *)&@m; print($p->c); print($p->in); print($p->in.b); print($p->u); print($p->bytes[1]); print($p->bytes); print($p->tail[2]); print(*$p); | 65 / { .a = 2, .b = 3 } / 3 / 67305985 / 2 / [1,2,3,4] / 7 / { .c = 65, .in = { .a = 2, .b = 3 }, .u = 67305985, .bytes = [1,2,3,4], .tail = [5,6,7] }
two dimensions | int32 a[] = {1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0x6362, 0}; @m = a; $p = (struct Grid *)&@m; print($p->cells[1][2]); $i = 1; print($p->cells[$i][0]); print($p->cells); print($p->next); print($p->call); print($p->name); print($p->name == "bc"); | 6 / 4 / [[1,2,3],[4,5,6]] / 0x0 / 0x0 / bc / true
array member in a variable | int32 a[] = {1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0}; @m = a; $p = (struct Grid *)&@m; $row = $p->cells[1]; print($row[0]); $all = $p->cells; print($all[0][1]); @c = $p->cells; print(@c); | 4 / 2 / @c: [[1,2,3],[4,5,6]]
pointer indexing | int32 a[] = {10, 20, 30}; @m = a; $p = (int32 *)&@m; print($p[0]); print($p[2]); $i = 1; print($p[$i]); print(*($p + 1)); $p++; print(*$p); | 10 / 30 / 20 / 20 / 20
pointer to pointer | $v = 5; $p = &$v; $pp = &$p; print(**$pp); | 5
string in memory | $s = "hello"; $p = &$s; print(str((uint64)$p)); print(*$p); | hello / hello
packed struct | int32 a[] = {0x0201, 0, 0}; @m = a; $p = (struct Tight *)&@m; print($p->c); print($p->l); | 1 / 2
kernel structs | $t = (struct task_struct *)curtask; print($t->pid == tid); print($t.tgid == pid); print(curtask->pid == tid); print($t->mm->mm_users.counter > 0); | true / true / true / true
kernel offsets | print(offsetof(struct task_struct, comm) > 0); print(sizeof(struct list_head)); print(sizeof(struct task_struct *)); | true / 16 / 8
kernel struct value | $l = curtask->tasks; print($l.next != 0); @l = curtask->tasks; print(@l.next == $l.next); | true / true
kernel enum | print(TCP_ESTABLISHED); print(sizeof(enum pid_type)); print((enum pid_type)1); | TCP_ESTABLISHED / 4 / PIDTYPE_TGID
kernel typedefs | print(sizeof(u32)); print(sizeof(size_t)); print((u8)300); print((__be16)70000); | 4 / 8 / 44 / 4464
string comparison of arrays | print(curtask->comm == comm); print(comm != "nobody"); | true / true
typeinfo | $x = (uint32)1; print(typeinfo($x).full_type); print(typeinfo("a").base_type); print(typeinfo(struct Pair).full_type); | uint32 / str / struct Pair
comparison of tuples with strings | @x[1, "a"] = 1; for ($kv : @x) { print($kv.0 == (1, "a")); } | true
nested records | $r = (a=1, b=(c="x", d=2)); print($r); print($r.b.d); | { .a = 1, .b = { .c = x, .d = 2 } } / 2
maps of tuples add | @x[1] = (1, 2); @x[1] = (3, 4); print(@x[1]); $y = @x[1].0 + @x[1].1; print($y); | (3, 4) / 7
print of elements | @c[1] = count(); @s["k"] = sum(5); @t[1] = stats(4); print(@c[1]); print(@s["k"]); print(@t[1]); @k[1, 2] = hist(1); $k = (1, 2); print(@k[$k]); | 1 / 5 / { .count = 1, .average = 4, .total = 4 } / [1]                    1 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|
array assignment | int32 a[] = {1, 2}; $b = a; print($b); print($b[1]); $c = $b; print($c == $b); | [1,2] / 2 / true
return in unroll | unroll(3) { @x++; if (@x == 2) { print(@x); return; } } print("no"); | @x: 2
block as an argument | print({ $a = 2; $a + 1 }); | 3
block in a condition | if ({ $q = 1; $q == 1 }) { print("yes"); } | yes
fn with strings | print(named(3)); print(named(30)); $s = named(1) == "few"; print($s); | few / many / true
fn without a value | say(4); if (1) { say(5); } | got 4 / got 5
fn in a loop | for ($i : 0..3) { $sum = triple($i); print($sum); } @m[1] = 4; for ($kv : @m) { print(triple($kv.1)); } | 0 / 3 / 6 / 12
fn typeof | print(twin(7)); | 14
let in branches | if (1) { let $q = 1; print($q); } else { let $q = "x"; print($q); } | 1
shifts of narrow types | $a = (uint8)1; print($a << 9); print((int8)-1 >> 1); | 512 / -1
comparison of mixed signs | $a = (uint64)5; print($a > -1); $b = -1; print($b < $a); | true / true
deep field of maps | @m["x"] = (1, (2, "three")); print(@m["x"].1.1); print(@m["x"].1.0 + 1); | three / 3
casts of casts | print((uint8)(int16)-1); print((int64)(uint32)-1); print((uint64)(int8)-1); | 255 / 4294967295 / 18446744073709551615
negative modulo | print(-7 % 3); print(7 % -3); $a = -7; print($a % 3); | -1 / 1 / -1
boolean arithmetic | print(true + true); print((uint64)true); $b = true; print($b == 1); $c = 3 > 2; print($c); | 2 / 1 / true / true
conversion of bool | $b = (bool)256; print($b); print((bool)0); let $c: bool = 7; print($c); | true / false / true
nested ternaries in arguments | printf("%s %d\n", 1 ? "a" : "b", 0 ? 1 : 2); | a 2
""".replace("\\|", "\x00").replace(" / ", "\x01"))


def _plain(text: str) -> str:
    return text.replace("\x00", "|")


def _answer(row: Row) -> str:
    return _plain(row.answer).replace("\x01", "\n")


def _body(row: Row) -> str:
    return _plain(row.body).replace("\x01", " / ")


def _own_maps(number: int, text: str) -> str:
    """Maps of one row are not those of another."""
    return re.sub(r"@(\w*)", rf"@r{number}_\1", text)


def _script(numbered: Iterable[tuple[int, Row]]) -> str:
    probes = (
        f'BEGIN {{ printf("#{number}\\n"); {_own_maps(number, _body(row))}\n }}' for number, row in numbered
    )
    return "config = { print_maps_on_exit = false }\n" + TOP + "\n".join(probes) + "\nBEGIN { exit(); }"


def _run(numbered: Iterable[tuple[int, Row]]) -> dict[int, str]:
    """What each row prints."""
    with api.trace(_script(numbered)) as trace:
        text = "".join(message.text for message in trace)
    parts = re.split(r"^#(\d+)\n", text, flags=re.M)
    return {
        int(number): re.sub(r"@r\d+_(\w*)", r"@\1", said).strip()
        for number, said in zip(parts[1::2], parts[2::2], strict=True)
    }


WRONG = rows(r"""
config after probes | BEGIN { } config = { max_strlen = 64 } | config must stand before the first probe
config twice | config = { } config = { max_strlen = 64 } config = { max_strlen = 64 } BEGIN { } | config stands twice
config unknown name | config = { max_strlem = 64 } BEGIN { } | Unrecognized config variable: max_strlem
config value | config = { missing_probes = never } BEGIN { } | Invalid value for missing_probes: never
config environment | config = { vmlinux = "x" } BEGIN { } | can only be set in the environment
config renamed | config = { strlen = 64 } BEGIN { } | was renamed to max_strlen
number exponent | BEGIN { print(12e3); } | invalid number: 12e3
number zero exponent | BEGIN { print(0e3); } | invalid number: 0e3
number underscore | BEGIN { print(1_); } | invalid number: 1_
number octal | BEGIN { print(08); } | invalid number: 08
number range | BEGIN { print(18446744073709551616); } | does not fit 64 bits
number exponent range | BEGIN { print(1e20); } | does not fit 64 bits
escape | BEGIN { print("\q"); } | invalid escape sequence
string end | BEGIN { print("abc); } | this string has no end
reading before any value | BEGIN { print($x); } | Undefined or undeclared variable: $x
declared twice | BEGIN { let $x = 1; let $x = 2; } | Variable $x was already declared
declared type | BEGIN { let $x: uint8 = "text"; } | Type mismatch for $x
assigned another type | BEGIN { $x = 1; $x = "text"; } | Type mismatch for $x
map of two types | BEGIN { @x = 1; @x = "text"; } | Type mismatch for @x
map with and without keys | BEGIN { @x = 1; @x[1] = 2; } | used as a map with an explicit key
map keys | BEGIN { @x[1] = 1; @x["a"] = 1; } | Argument mismatch for @x
map key count | BEGIN { @x[1] = 1; @x[1, 2] = 1; } | Argument mismatch for @x
undefined map | BEGIN { print(@y[1]); } | Undefined map: @y
aggregation mismatch | BEGIN { @x = count(); @x = 5; } | Type mismatch for @x
aggregation kinds | BEGIN { @x = count(); @x = sum(5); } | Type mismatch for @x
aggregation to a variable | BEGIN { $x = count(); } | must be assigned directly to a map
aggregation compound | BEGIN { @x += count(); } | must be assigned directly to a map
aggregation nested | BEGIN { @x = 1 + sum(4); } | must be assigned directly to a map
aggregation as key | BEGIN { @h = hist(1); @x[@h] = 1; } | can only be printed
hist read | BEGIN { @h = hist(1); $x = @h; } | can only be printed
stats read | BEGIN { @h = stats(1); $x = @h + 1; } | can only be printed
hist bits | BEGIN { @h = hist(1, 6); } | hist() bits must be between 0 and 5
hist bits differ | BEGIN { @h = hist(1, 2); @h = hist(1, 3); } | Different bits in a single map
lhist bounds | BEGIN { @h = lhist(1, 10, 5, 1); } | min must be less than max
lhist step | BEGIN { @h = lhist(1, 0, 5, 0); } | step must be >= 1
lhist buckets | BEGIN { @h = lhist(1, 0, 5000, 1); } | too many buckets
lhist literal | BEGIN { $a = 5; @h = lhist(1, 0, $a, 1); } | must be an integer literal
lhist differ | BEGIN { @h = lhist(1, 0, 5, 1); @h = lhist(1, 0, 6, 1); } | Different bounds in a single map
map copies of aggregations | BEGIN { @a = hist(1); @b = @a; } | can only be printed
two maps in one delete | BEGIN { @a[1] = 1; @b[2] = 1; delete(@a[1], @b[2]); } | one map and one key
unroll range | BEGIN { unroll(101) { } } | unroll() count must be between 1 and 100
unroll constant | BEGIN { $x = 5; unroll($x) { } } | must be an integer literal
break outside | BEGIN { break; } | break statement outside of a loop
continue outside | BEGIN { if (1) { continue; } } | continue statement outside of a loop
tuple index | BEGIN { $t = (1, 2); print($t.2); } | Invalid tuple index: 2
record field | BEGIN { $t = (a=1); print($t.b); } | does not contain field 'b'
tuples of two lengths | BEGIN { print((1, 2) == (1, 2, 3)); } | Type mismatch for '=='
arrays of two sizes | BEGIN { $a = (uint8[4])(uint32)1; $b = (uint8[2])(uint16)1; print($a == $b); } | Type mismatch for '=='
array index | BEGIN { $a = (uint8[4])(uint32)1; print($a[4]); } | out of bounds
string order | BEGIN { print("a" < "b"); } | strings can only be compared by == and !=
string with number | BEGIN { print("a" == 1); } | Type mismatch for '=='
division by zero | BEGIN { print(1 / 0); } | division by zero
unknown type | BEGIN { $x = (struct nowhere_found *)0; print($x->a); } | unknown type
unknown member | struct A { int b; } BEGIN { print(((struct A *)0)->c); } | does not contain a field named 'c'
struct to number | struct A { int b; } BEGIN { $a = *(struct A *)0; print((uint64)$a); } | Cannot cast from
number to struct | struct A { int b; } BEGIN { $a = (struct A)5; } | Cannot cast to
void pointer | BEGIN { $p = (void *)0; print(*$p); } | cannot dereference a void pointer
void pointer index | BEGIN { $p = (void *)0; print($p[1]); } | cannot index a pointer to void
pointers added | BEGIN { $p = (int32 *)0; print($p + $p); } | can not be used on expressions of types
address of a number | BEGIN { print(&5); } | the address of this cannot be taken
macro arguments | macro m(a) { a } BEGIN { print(m(1, 2)); } | wrong number arguments
macro variable | macro m($a) { $a = 1; } BEGIN { m(5); } | Macro expects a variable
macro recursion | macro m(a) { m(a) } BEGIN { print(m(1)); } | Recursive macro call detected
fn arguments | fn f($a : int64) : int64 { return $a; } BEGIN { print(f(1, 2)); } | wrong number arguments
fn type | fn f($a : int64) : int64 { return "x"; } BEGIN { print(f(1)); } | this function returns 'int64'
fn argument type | fn f($a : int64) : int64 { return $a; } BEGIN { print(f("x")); } | Type mismatch for $a
fn recursion | fn f($a : int64) : int64 { return f($a); } BEGIN { print(f(1)); } | functions cannot call themselves
fn loop | fn f() { for ($kv : @m) { return; } } BEGIN { @m[1] = 1; f(); } | cannot return from inside a loop over a map
define recursion | #define A A + 1\nBEGIN { print(A); } | contains itself
assignment to a number | BEGIN { 5 = 3; } | cannot be assigned to
assignment to a builtin | BEGIN { pid = 3; } | cannot be assigned to
enum redefinition is no number | enum E { AA } BEGIN { print(AB); } | Unknown identifier: 'AB'
map declaration kind | let @m = tree(10); BEGIN { @m[1] = 1; } | Invalid bpf map type: tree
map declaration without keys | let @m = hash(10); BEGIN { @m = 1; } | needs keys
comptime | BEGIN { $x = 1; print(comptime ($x + 1)); } | not known while compiling
no probe | struct A { int b; }; | a program has at least one probe
part count | kprobe { } | requires
""")


@pytest.mark.parametrize("row", WRONG, ids=lambda row: row.name)
def test_what_is_refused(row: Row) -> None:
    text = _body(row).replace("\\n", "\n") if row.body.startswith("#define") else _body(row)
    with pytest.raises(PbtError) as raised:
        run(Source("script", text), Target.live(), Options(environment={}))
    assert _answer(row) in str(raised.value)


WARNED = rows("""
value discarded | 5 + 3; | Return value discarded.
mixed signs | $a = (uint64)5; $b = -1; print($a > $b); | integers of different signs
parameter missing | print($1); | positional parameter $1 was not given
older comments | # a comment / print(1); | starts with # and is taken for a comment
""".replace(" / ", "\x01"))


@pytest.mark.parametrize("row", WARNED, ids=lambda row: row.name)
def test_what_is_warned_about(row: Row) -> None:
    text = "BEGIN {\n" + _plain(row.body).replace("\x01", "\n") + "\n}"
    work = run(Source("script", text), Target.live(), Options(environment={}))
    assert any(_answer(row) in str(warning) for warning in work.warnings)


@pytest.mark.parametrize("text", ["_ = 5 + 3;", "$a = nsecs; print($a > 5);", "@x[1]++; $i = 0; $i++;"])
def test_what_is_not_warned_about(text: str) -> None:
    work = run(Source("script", f"BEGIN {{ {text} }}"), Target.live(), Options(environment={}))
    assert not work.warnings


BATCH = 60


@pytest.mark.parametrize("first", range(0, len(ROWS), BATCH))
def test_rows(first: int) -> None:
    numbered = list(enumerate(ROWS))[first : first + BATCH]
    said = _run(numbered)
    wrong = {
        row.name: (_body(row), _answer(row), said.get(number))
        for number, row in numbered
        if said.get(number) != _answer(row).strip()
    }
    assert not wrong
