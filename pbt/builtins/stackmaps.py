"""Where stacks are kept while a script runs: each different one once, under an id of 8 bytes.

Usually that is a STACK_TRACE map, whose ids are numbers of buckets: s32 bucket, u32 process (0 for kernel stacks).
The kernel keeps one stack in a bucket. One whose bucket is taken is kept, unless it is there already, in a hash
beside it: its key is u64 process and the frames, its value the id, of a form that no bucket has: u32 number, u32
`ELSEWHERE` + the program and the CPU that saw it first. So no stack is taken for another, and none is lost but for
want of room, which is counted. Buckets that are negative are errors of bpf_get_stackid().
"""

from __future__ import annotations

from functools import lru_cache

from pbt.builtins.process import remember
from pbt.bundle import Map
from pbt.data import NamedTuple
from pbt.feature import Mem
from pbt.typing import TYPE_CHECKING
from pbt.uapi.consts import (
    BPF_F_NO_PREALLOC,
    BPF_F_STACK_BUILD_ID,
    BPF_F_USER_BUILD_ID,
    BPF_F_USER_STACK,
    BPF_NOEXIST,
)

if TYPE_CHECKING:
    from pbt.views import Gen

ELSEWHERE = 1 << 31  # in the second half of an id, where no process has it: the stack is in the hash
_PROGRAM = 16  # where there the number of the program begins, above that of the CPU
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
    with gen.rarely(8 + PROCESS + form.size) as (room, program):  # its next id, and the key
        frames = room + (8 + PROCESS)
        length = b.call("get_stack", b.ctx(), gen.address(frames), form.size, form.flags)
        most = longest - PROCESS
        if most < form.size:
            with b.when("sgt", length, most):
                gen.lost("get_stack", -_E2BIG, name)
        with b.when("ult", b.sub(length, 1), most):  # neither an error nor too long
            b.store(room.base, room.offset + 8, 8, b.load(to.base, to.offset + 4, 4))
            _take_id(gen, name, room, program, to)


def _take_id(gen: Gen, name: str, room: Mem, program: int, to: Mem) -> None:
    """That of the stack in `room`, which is put into the hash if it is not there."""
    b, key = gen.b, room + 8
    low = -ELSEWHERE | program << _PROGRAM  # negative: so an instruction holds it, and 32 bits are stored
    b.store(room.base, room.offset + 4, 4, b.op("or", b.call("get_smp_processor_id"), low))
    result = b.call("map_update_elem", b.map(name), gen.address(key), gen.address(room), BPF_NOEXIST)
    with b.when("eq", result, 0):
        b.store(room.base, room.offset, 4, b.add(b.load(room.base, room.offset, 4), 1))
    known = b.call("map_lookup_elem", b.map(name), gen.address(key), kind="value")
    found, missing, after = b.block("found"), b.block("missing"), b.block("after")
    b.branch("ne", known, 0, found, missing)
    b.place(found)
    b.store(to.base, to.offset, 8, b.load(known, 0, 8))
    b.jump(after)
    b.place(missing)
    gen.lost("map_update_elem", result, name)
    b.jump(after)
    b.place(after)
