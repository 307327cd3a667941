"""Where stacks are kept while a script runs: each different one once, under an id of 8 bytes.

Usually that is a STACK_TRACE map, whose ids are numbers of buckets: s32 bucket, u32 process (0 for kernel stacks).
The kernel keeps one stack in a bucket. One whose bucket is taken is looked for, all its frames compared, in a hash
beside it: its key is u64 process and the frames, its value the id, of a form that no bucket has: s32 `ELSEWHERE` +
a number, u16 CPU, u16 program that saw it first. So no stack is taken for another, and none is lost but for want of
room, which is counted. Ids that are negative are errors of bpf_get_stackid().
"""

from __future__ import annotations

from functools import lru_cache

from pbt.builtins.process import remember
from pbt.bundle import Map
from pbt.data import NamedTuple
from pbt.feature import Gen, Mem
from pbt.typing import TYPE_CHECKING
from pbt.uapi.consts import (
    BPF_F_NO_PREALLOC,
    BPF_F_STACK_BUILD_ID,
    BPF_F_USER_BUILD_ID,
    BPF_F_USER_STACK,
    BPF_NOEXIST,
)

if TYPE_CHECKING:
    from pbt.ir.core import Value

ELSEWHERE = 1 << 30  # in the s32 of an id: the stack is in the hash
PROCESS = 8  # bytes of the hash's keys before the frames
BUILD_ID = 32  # bytes of struct bpf_stack_build_id: s32 status, 20 bytes of id, u64 offset in the file
_BUCKETS, _MORE = 1 << 14, 1 << 17  # stacks that the maps have room for
_BUCKETS_EARLY, _MORE_EARLY = 1 << 16, 1 << 13  # where all of that memory is taken at the start
_LONGEST_KEY = 512  # MAX_BPF_STACK, which bounded keys before v5.11
_E2BIG, _EEXIST = 7, 17


class Form(NamedTuple):
    """What stacks of a kind look like: bytes of a frame, how many there are at most, flags of bpf_get_stack()."""

    name: str
    frame: int
    depth: int
    flags: int

    @staticmethod
    @lru_cache(maxsize=64)  # asked for each stack that is drawn
    def of(detail: str, user: bool) -> Form:
        """From the detail of the type, "mode,depth"."""
        mode, _, depth = detail.partition(",")
        flags = BPF_F_USER_STACK if user else 0
        if mode == "build_id":
            return Form(f"stack_{depth}_id", BUILD_ID, int(depth), flags | BPF_F_USER_BUILD_ID)
        return Form(f"stack_{depth}", 8, int(depth), flags)

    @property
    def size(self) -> int:
        return self.frame * self.depth

    @property
    def user(self) -> bool:
        return bool(self.flags & BPF_F_USER_STACK)


def more(name: str) -> str:
    """The name of the hash beside a STACK_TRACE map."""
    return f"{name}_more"


def keep(gen: Gen, form: Form, to: Mem) -> None:
    """Write the id of the stack that runs."""
    b = gen.b
    if form.user:
        b.store(to.base, to.offset + 4, 4, remember(gen))
    buckets = _BUCKETS if gen.has("alloc_on_demand") else _BUCKETS_EARLY
    flags = BPF_F_STACK_BUILD_ID if form.frame == BUILD_ID else 0
    name = gen.declare(Map(form.name, "STACK_TRACE", 4, form.size, buckets, flags))
    found = b.call("get_stackid", b.ctx(), b.map(name), form.flags & BPF_F_USER_STACK)
    b.store(to.base, to.offset, 4, found)
    if not form.user:
        b.store(to.base, to.offset + 4, 4, 0)
    with b.when("eq", found, -_EEXIST):
        _keep_elsewhere(gen, form, to)


def _keep_elsewhere(gen: Gen, form: Form, to: Mem) -> None:
    """The same for a stack whose bucket another one has; the id stays an error where there is no room."""
    b, longest = gen.b, PROCESS + form.size
    if not gen.has("long_keys"):
        longest = min(longest, _LONGEST_KEY)
    on_demand = gen.has("alloc_on_demand")
    entries, flags = (_MORE, BPF_F_NO_PREALLOC) if on_demand else (_MORE_EARLY, 0)
    name = gen.declare(Map(more(form.name), "HASH", longest, 8, entries, flags))
    with gen.rarely(8 + PROCESS + form.size) as (room, program):  # how many it has made ids for, and the key
        frames = room + (8 + PROCESS)
        length = b.call("get_stack", b.ctx(), gen.address(frames), form.size, form.flags)
        most = longest - PROCESS
        if most < form.size:
            with b.when("sgt", length, most):
                gen.lost("get_stack", -_E2BIG, name)
        with b.when("ult", b.sub(length, 1), most):  # neither an error nor too long
            b.store(room.base, room.offset + 8, 8, b.load(to.base, to.offset + 4, 4))
            b.store(to.base, to.offset, 8, _id(gen, name, room, program))


def _id(gen: Gen, name: str, room: Mem, program: int) -> Value:
    """That of the stack in `room`, which is put into the hash if it is not there."""
    b = gen.b

    def lookup() -> Value:
        return b.call("map_lookup_elem", b.map(name), gen.address(room + 8), kind="value")

    def insert() -> Value:
        made = b.slot(8, "id of a stack")
        number = b.add(b.load(room.base, room.offset, 8), 1)
        b.store(room.base, room.offset, 8, number)
        b.store(made, 0, 4, b.op("or", b.op("and", number, ELSEWHERE - 1), ELSEWHERE))
        b.store(made, 4, 2, b.call("get_smp_processor_id"))
        b.store(made, 6, 2, program)
        result = b.call("map_update_elem", b.map(name), gen.address(room + 8), made, BPF_NOEXIST)
        now = lookup()  # another CPU may have been quicker
        return b.choose("ne", now, 0, lambda: b.load(now, 0, 8), lambda: lost(result))

    def lost(result: Value) -> int:
        gen.lost("map_update_elem", result, name)
        return -_EEXIST

    found = lookup()
    return b.choose("ne", found, 0, lambda: b.load(found, 0, 8), insert)
