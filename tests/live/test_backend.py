"""The running kernel takes the backend's code and comes to the results that the IR means."""

from __future__ import annotations

import importlib.util
import os
import random
import struct
import threading
from pathlib import Path

import pytest

from pbt.backend.pipeline import compile_program
from pbt.ir import passes
from pbt.ir.build import Builder
from pbt.ir.core import Op, Program
from pbt.isa.insn import decode, encode, wide
from pbt.isa.interp import Machine
from pbt.sys import bpf

pytestmark = pytest.mark.live
_PATH = Path(__file__).parents[1] / "property" / "test_backend.py"
_SPEC = importlib.util.spec_from_file_location("backend_model", _PATH)
assert _SPEC and _SPEC.loader
model = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(model)
_SLEEPABLE = 1 << 4  # BPF_F_SLEEPABLE, which programs of type SYSCALL must have
HELPERS = {"get_current_pid_tgid": 14, "map_lookup_elem": 1}


class Maker(model.Maker):
    """Programs of type SYSCALL: a context that is plain memory, and two helpers of the kernel's own."""

    def call(self, pool):
        pool.append(self.b.call("get_current_pid_tgid"))

    def lookup(self, depth, pool):
        b = self.b
        key = b.slot(4, "key")
        b.store(key, 0, 4, b.op("and", self.pick(pool), 1))
        element = b.call("map_lookup_elem", b.map("m"), key, kind="value")
        with b.when("ne", element, 0):
            self.body(depth + 1, pool)
            if not b.ended:
                b.atomic_add(element, 0, 8, self.pick(pool))


class Reading(model.Reading):
    """The same, with the kernel's two helpers."""

    def op(self, o: Op) -> int:
        if o.code == "map":
            return 0
        if o.code == "call" and o.name == "get_current_pid_tgid":
            return os.getpid() << 32 | threading.get_native_id()
        if o.code == "call":
            return 0 if self.m.load(self.v[o.args[1]], 4) else self.map
        return super().op(o)


def expected(program, ctx, value):
    machine = Machine()
    at, map_ = machine.allocate(bytearray(ctx)), machine.allocate(bytearray(value))
    result = Reading(program.functions[0], machine, at, map_, {}).run()
    return result & 0xFFFFFFFF, machine.read(at, len(ctx)), machine.read(map_, len(value))


def linked(code, fd):
    insns = decode(code.insns)
    for reloc in code.relocs:
        low, high = wide(insns[reloc.insn].dst_reg, 0, reloc.kind)
        insns[reloc.insn : reloc.insn + 2] = low._replace(imm=fd), high._replace(imm=reloc.offset)
    return encode(insns)


@pytest.fixture(scope="module")
def array():
    with bpf.map_create("ARRAY", 4, model.MAP, 1) as fd:
        yield fd.fileno()


@pytest.mark.parametrize("features", [frozenset(), frozenset({"cpu_v4"})], ids=["v3", "v4"])
@pytest.mark.parametrize("optimise", [False, True], ids=["plain", "passes"])
@pytest.mark.parametrize("seed", range(25))
def test_the_kernel_agrees(seed, optimise, features, array):
    r = random.Random(seed)
    program = Maker(seed, r.randrange(1, 60)).program()
    ctx, value = r.randbytes(model.CTX), r.randbytes(model.MAP)
    wanted = expected(program, ctx, value)
    final = passes.run(program) if optimise else program
    code = compile_program(Program("random", final.functions), features, HELPERS).code
    with bpf.prog_load("SYSCALL", linked(code, array), flags=_SLEEPABLE) as fd:
        bpf.map_update(array, bytes(4), value)
        run = bpf.prog_test_run(fd.fileno(), ctx=ctx)
    assert (run.retval, run.ctx, bpf.map_lookup(array, bytes(4), model.MAP)) == wanted


@pytest.mark.parametrize("code", ["sdiv", "smod", "udiv", "umod", "shl", "lshr", "ashr", "mul"])
def test_arithmetic_at_its_edges(code, array):
    for right in (0, 1, -1, 3, -3, 64, -(1 << 63), 1 << 40):
        b = Builder("main")
        for at, divisor in ((16, b.load(b.ctx(), 8, 8)), (24, right)):
            b.store(b.ctx(), at, 8, b.op(code, b.load(b.ctx(), 0, 8), divisor))
        b.ret()
        program = passes.run(Program("p", (b.finish(),)))
        for features in (frozenset(), frozenset({"cpu_v4"})):
            compiled = compile_program(program, features, {})
            with bpf.prog_load("SYSCALL", compiled.code.insns, flags=_SLEEPABLE) as fd:
                for left in (0, 7, -7, -(1 << 63), (1 << 63) - 1):
                    ctx = struct.pack("<qq16x", left, right)
                    answer = model.binary(code, left & model.M64, right & model.M64) & model.M64
                    after = bpf.prog_test_run(fd.fileno(), ctx=ctx).ctx
                    assert struct.unpack("<16xQQ", after) == (answer, answer)
