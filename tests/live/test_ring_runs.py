"""RingBuffer.runs: what `drain` gives, in pieces of equal records."""

import os
import random

import pytest

from pbt.isa.asm import assemble
from pbt.isa.insn import encode
from pbt.sys import bpf
from pbt.sys.ring import RingBuffer

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

SEND = """
    *(u64 *)(r10 -8) = 0
    *(u64 *)(r10 -16) = 0
    *(u64 *)(r10 -24) = 0
    r6 = *(u64 *)(r1 +8)
    r1 = *(u64 *)(r1 +0)
    *(u64 *)(r10 -24) = r1
    r1 = map_fd[{fd}]
    r2 = r10
    r2 += -24
    r3 = 24
    if r6 == 0 goto send
    r3 = 9
    send:
    r4 = 0
    call 130
    exit
"""


@pytest.mark.parametrize("short", [0.0, 0.01, 0.5])
def test_runs_are_the_records_in_order_across_the_wrap(short):
    dice = random.Random(5)
    with bpf.map_create("RINGBUF", 0, 0, 1 << 14) as buffer:
        insns = encode(assemble(SEND.format(fd=buffer.fileno())))
        with bpf.prog_load("RAW_TRACEPOINT", insns) as prog:
            reader, sent, got, lengths = RingBuffer(buffer.fileno(), 1 << 14), [], [], []
            for n in range(3000):
                cut = dice.random() < short
                context = n.to_bytes(8, "little") + cut.to_bytes(8, "little")
                assert bpf.prog_test_run(prog.fileno(), ctx=context).retval == 0
                sent.append((context[:8] + bytes(16))[: 9 if cut else 24])
                if dice.random() < 0.01 or n % 400 == 399:
                    runs = reader.runs()
                    got += [record for run in runs for record in run.records()]
                    lengths += [run.length for run in runs]
            got += [record for run in reader.runs() for record in run.records()]
            assert got == sent and reader.runs() == [] and reader.drain() == []
            assert short or len(lengths) < 100
            reader.close()
