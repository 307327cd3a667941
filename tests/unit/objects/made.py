"""Object files for tests: assembled by our own code, or compiled by clang where the machine has it."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from pbt.isa.asm import assemble
from pbt.isa.insn import encode
from pbt.uapi import btf, elf
from pbt.uapi.helpers import HELPERS

_HELPERS = {name: helper.id for name, helper in HELPERS.items()}
_CODE = elf.SHF_ALLOC | elf.SHF_EXECINSTR
R_BPF_64_32 = 10


class Part(NamedTuple):
    """A function: its section, name, assembly (instructions separated by ";"), (slot, symbol) to relocate."""

    section: str
    name: str
    text: str
    relocations: Sequence[tuple[int, str]] = ()


def assembled(*parts: Part, license: str = "GPL", data: bytes = b"") -> bytes:
    """An object with one hash map "counts" (key 4, value 8 bytes), and `data` as the variable "limits"."""
    made, types = elf.Object("<"), btf.Types("<")
    infos = []
    proto = types.prototype(types.integer("int", 4), [("ctx", types.pointer(0))])
    for part in parts:
        code = encode(assemble(part.text.replace(";", "\n"), _HELPERS))
        made.sections.append(elf.Section(part.section, elf.SHT_PROGBITS, _CODE, code))
        made.symbols.append(elf.Symbol(part.name, part.section, 0, len(code), elf.STT_FUNC))
        for slot, symbol in part.relocations:
            kind = elf.R_BPF_64_64 if code[8 * slot] == 0x18 else R_BPF_64_32
            made.relocations.append(elf.Relocation(part.section, 8 * slot, symbol, kind))
        file, function = types.string("program.c"), types.function(part.name, proto, _linkage(part))
        lines = [
            (8 * at, file, types.string(f"line of {part.name}"), at + 10, 3) for at in range(len(code) // 8)
        ]
        infos.append(btf.Info(part.section, [(0, function)], lines))
    _maps(made, types)
    if data:
        made.sections.append(elf.Section(".rodata", elf.SHT_PROGBITS, elf.SHF_ALLOC, data))
        made.symbols.append(elf.Symbol("limits", ".rodata", 0, len(data), elf.STT_OBJECT))
    made.sections.append(
        elf.Section("license", elf.SHT_PROGBITS, elf.SHF_ALLOC, license.encode() + b"\0", align=1)
    )
    extension = btf.extension(types, infos)
    made.sections.append(elf.Section(".BTF", elf.SHT_PROGBITS, data=types.data(), align=4))
    made.sections.append(elf.Section(".BTF.ext", elf.SHT_PROGBITS, data=extension, align=4))
    return made.data()


def _linkage(part: Part) -> int:
    return btf.STATIC if part.section == ".text" else btf.GLOBAL


def _maps(made: elf.Object, types: btf.Types) -> None:
    integer, wide = types.integer("int", 4), types.integer("long", 8)
    number = {n: types.pointer(types.array(integer, integer, n)) for n in (1, 16)}
    members = [
        ("type", number[1], 0), ("max_entries", number[16], 8),
        ("key", types.pointer(integer), 16), ("value", types.pointer(wide), 24),
    ]  # fmt: skip
    variable = types.variable("counts", types.struct("", 32, members), btf.GLOBAL)
    types.section(".maps", [(variable, 0, 32)])
    made.sections.append(elf.Section(".maps", elf.SHT_PROGBITS, elf.SHF_ALLOC | elf.SHF_WRITE, bytes(32)))
    made.symbols.append(elf.Symbol("counts", ".maps", 0, 32, elf.STT_OBJECT))


def legacy(rows: Sequence[int]) -> bytes:
    """An object without types, whose map "counts" is described by numbers in section "maps"."""
    made = elf.Object("<")
    code = encode(assemble(LOOKUP.replace(";", "\n"), _HELPERS))
    made.sections.append(elf.Section("socket", elf.SHT_PROGBITS, _CODE, code))
    made.symbols.append(elf.Symbol("look", "socket", 0, len(code), elf.STT_FUNC))
    data = struct.pack(f"<{len(rows)}I", *rows)
    made.sections.append(elf.Section("maps", elf.SHT_PROGBITS, elf.SHF_ALLOC, data))
    made.symbols.append(elf.Symbol("counts", "maps", 0, len(data), elf.STT_OBJECT))
    made.relocations.append(elf.Relocation("socket", 8 * 3, "counts"))
    return made.data()


LOOKUP = (
    "*(u32 *)(r10 -4) = 1; r2 = r10; r2 += -4; r1 = 0 ll; call map_lookup_elem; "
    "if r0 == 0 goto out; r1 = *(u64 *)(r0 +0); out: r0 = 0; exit"
)
UNCHECKED = LOOKUP.replace("if r0 == 0 goto out", "r3 = 0")


def clang(folder: Path, text: str, *options: str) -> bytes:
    """C, compiled for BPF; without clang the test is skipped."""
    if shutil.which("clang") is None:
        pytest.skip("there is no clang here to make an object with")
    (folder / "program.c").write_text(text)
    command = ["clang", "-g", "-O2", "-target", "bpf", *options, "-c", "program.c", "-o", "program.o"]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    if made.returncode:
        pytest.skip(f"this clang makes no such object: {made.stderr[:300]}")
    return (folder / "program.o").read_bytes()


HEAD = """
typedef unsigned char u8; typedef unsigned int u32; typedef unsigned long long u64;
#define SEC(n) __attribute__((section(n), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]
static void *(*bpf_map_lookup_elem)(void *, const void *) = (void *)1;
static long (*bpf_tail_call)(void *, void *, u32) = (void *)12;
static long (*bpf_perf_event_output)(void *, void *, u64, void *, u64) = (void *)25;
static u64 (*bpf_get_current_task)(void) = (void *)35;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static long (*bpf_spin_lock)(void *) = (void *)93;
static long (*bpf_spin_unlock)(void *) = (void *)94;
static long (*bpf_probe_read_kernel)(void *, u32, const void *) = (void *)113;
static void *(*bpf_ringbuf_reserve)(void *, u64, u64) = (void *)131;
static void (*bpf_ringbuf_submit)(void *, u64) = (void *)132;
static long (*bpf_for_each_map_elem)(void *, void *, void *, u64) = (void *)164;
static long (*bpf_loop)(u32, void *, void *, u64) = (void *)181;
char LICENSE[] SEC("license") = "Dual BSD/GPL";
"""

GRAPH = (
    HEAD
    + """
#define __ksym SEC(".ksyms")
#define private(n) SEC(".data." #n) __attribute__((visibility("hidden"))) __attribute__((aligned(8)))
struct bpf_spin_lock { u32 val; };
struct bpf_list_head { u64 opaque[2]; }; struct bpf_list_node { u64 opaque[3]; };
struct bpf_rb_root { u64 opaque[2]; }; struct bpf_rb_node { u64 opaque[4]; };
struct bpf_refcount { u32 opaque[1]; };
extern void *bpf_obj_new_impl(u64 id, void *meta) __ksym;
extern void bpf_obj_drop_impl(void *p, void *meta) __ksym;
extern void *bpf_refcount_acquire_impl(void *p, void *meta) __ksym;
extern int bpf_list_push_back_impl(void *head, struct bpf_list_node *node, void *meta, u64 off) __ksym;
extern struct bpf_list_node *bpf_list_pop_front(void *head) __ksym;
extern int bpf_rbtree_add_impl(void *root, struct bpf_rb_node *node, void *less, void *meta, u64 off) __ksym;
extern struct bpf_rb_node *bpf_rbtree_first(void *root) __ksym;
struct item { u64 key; struct bpf_list_node l; struct bpf_rb_node r; struct bpf_refcount refs; };
#define ITEM(p, m) ((struct item *)((void *)(p) - __builtin_offsetof(struct item, m)))
private(A) struct bpf_spin_lock lock;
private(A) struct bpf_list_head head __attribute__((btf_decl_tag("contains:item:l")));
private(A) struct bpf_rb_root root __attribute__((btf_decl_tag("contains:item:r")));
static _Bool less(struct bpf_rb_node *a, const struct bpf_rb_node *b) { return ITEM(a, r)->key < ITEM(b, r)->key; }
SEC("tc") int add_good(struct __sk_buff *skb) {
  struct item *n = bpf_obj_new_impl(__builtin_btf_type_id(*(struct item *)0, 0), 0), *m;
  if (!n) return 0;
  n->key = bpf_ktime_get_ns();
  m = bpf_refcount_acquire_impl(n, 0);
  bpf_spin_lock(&lock);
  bpf_rbtree_add_impl(&root, &n->r, less, 0, 0);
  bpf_list_push_back_impl(&head, &m->l, 0, 0);
  bpf_spin_unlock(&lock);
  return 0;
}
SEC("tc") int take_good(struct __sk_buff *skb) {
  bpf_spin_lock(&lock);
  struct bpf_list_node *l = bpf_list_pop_front(&head);
  bpf_spin_unlock(&lock);
  if (l) bpf_obj_drop_impl(ITEM(l, l), 0);
  return 0;
}
SEC("tc") int lost_bad(struct __sk_buff *skb) {
  bpf_spin_lock(&lock);
  struct bpf_list_node *l = bpf_list_pop_front(&head);
  bpf_spin_unlock(&lock);
  return l != 0;
}
SEC("tc") int late_bad(struct __sk_buff *skb) {
  bpf_spin_lock(&lock);
  struct bpf_rb_node *r = bpf_rbtree_first(&root);
  bpf_spin_unlock(&lock);
  return r ? ITEM(r, r)->key : 0;
}
"""
)
"""Lists and trees of objects; the names end in what their programs are."""

MIXED = HEAD + """
struct bpf_spin_lock { u32 val; };
struct locked { struct bpf_spin_lock lock; int n; };
struct inner { __uint(type, 2); __uint(max_entries, 4); __type(key, u32); __type(value, u64); };
struct { __uint(type, 12); __uint(max_entries, 2); __type(key, u32); __array(values, struct inner); } outer SEC(".maps");
struct { __uint(type, 3); __uint(max_entries, 2); __uint(key_size, 4); __uint(value_size, 4); } progs SEC(".maps");
struct { __uint(type, 4); __uint(key_size, 4); __uint(value_size, 4); } events SEC(".maps");
struct { __uint(type, 27); __uint(max_entries, 4096); } ring SEC(".maps");
struct { __uint(type, 2); __uint(max_entries, 1); __type(key, u32); __type(value, struct locked); } locks SEC(".maps");
struct { __uint(type, 1); __uint(max_entries, 8); __type(key, u32); __type(value, u64); } hash SEC(".maps");
struct xdp_md { u32 data, data_end, data_meta; };
struct __sk_buff { u32 len; };
const volatile int limit = 5; int seen; u64 total[4] = {1};
static long each(void *map, u32 *key, u64 *value, void *ctx) { *value += 1; return 0; }
static long round(u32 i, void *ctx) { *(u64 *)ctx += i; return 0; }
static __attribute__((noinline)) int triple(int x) { return x * 3 + limit; }
__attribute__((noinline)) int anybody(int x) { return x + seen; }
SEC("xdp") int xdp_good(struct xdp_md *ctx) {
  u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
  if (data + 14 > end) return 1;
  return data[12] == 8 ? 2 : 1;
}
SEC("xdp") int xdp_bad(struct xdp_md *ctx) {
  u8 *data = (void *)(long)ctx->data;
  return data[12] == 8 ? 2 : 1;
}
SEC("tc") int lock_good(struct __sk_buff *ctx) {
  u32 key = 0; struct locked *v = bpf_map_lookup_elem(&locks, &key);
  if (!v) return 0;
  bpf_spin_lock(&v->lock); v->n++; bpf_spin_unlock(&v->lock);
  return 0;
}
SEC("tc") int lock_bad(struct __sk_buff *ctx) {
  u32 key = 0; struct locked *v = bpf_map_lookup_elem(&locks, &key);
  if (!v) return 0;
  bpf_spin_lock(&v->lock); v->n++;
  return 0;
}
SEC("tc") int inside_good(struct __sk_buff *ctx) {
  u32 key = 0; void *m = bpf_map_lookup_elem(&outer, &key);
  if (!m) return 0;
  u64 *v = bpf_map_lookup_elem(m, &key);
  if (v) *v += ctx->len;
  bpf_tail_call(ctx, &progs, 1);
  bpf_perf_event_output(ctx, &events, 0xffffffff, &key, sizeof key);
  return 0;
}
SEC("tracepoint/sched/sched_switch") int leak_bad(void *ctx) {
  u64 *r = bpf_ringbuf_reserve(&ring, 8, 0);
  if (!r) return 0;
  *r = bpf_ktime_get_ns();
  if (*r == 7) return 0;
  bpf_ringbuf_submit(r, 0);
  return 0;
}
SEC("raw_tp/sys_enter") int called_good(void *ctx) {
  u64 sum = 0;
  bpf_for_each_map_elem(&hash, each, 0, 0);
  bpf_loop(10, round, &sum, 0);
  return sum > 3;
}
SEC("kprobe/vfs_read") int shared_good(void *ctx) {
  seen++;
  total[seen & 3] += triple(limit) + anybody(2);
  return 0;
}
SEC("kprobe/vfs_write") int shared_bad(void *ctx) { total[seen] += 1; return 0; }
SEC("cgroup/connect4") int value_bad(void *ctx) { return bpf_ktime_get_ns() > 5 ? 7 : 0; }
"""  # fmt: skip
"""Programs whose names end in what they are."""
