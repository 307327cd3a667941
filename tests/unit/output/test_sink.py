import os
import threading

import pytest

from pbt.output.native import converter
from pbt.output.sink import Collector, JsonSink, Message, TextSink
from pbt.source import UsageError
from pbt.types import CHAR, U8, Array, Buffer, Opaque, Str, Tuple


@pytest.mark.parametrize(
    "buffering, before, settled", [("none", b"ab", b"ab"), ("line", b"", b"ab"), ("full", b"", b"")]
)
def test_buffering(tmp_path, buffering, before, settled):
    path = tmp_path / "out"
    sink = TextSink(str(path), buffering)
    for text in (b"a", b"b"):
        sink.emit("printf", text, text)
    assert path.read_bytes() == before
    sink.settle()
    assert path.read_bytes() == settled
    sink.close()
    assert path.read_bytes() == b"ab"


def test_a_reader_that_is_gone_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    sink = TextSink(fd=writing)
    sink.write(b"x")
    sink.flush()
    assert sink.broken
    os.close(writing)


def test_a_full_disk_is_a_usage_error():
    sink = TextSink("/dev/full")
    sink.write(b"x")
    with pytest.raises(UsageError, match="cannot write the output"):
        sink.flush()
    sink.close()


def test_a_non_blocking_pipe_gets_everything():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    sink, got = TextSink(fd=writing, buffering="full"), []
    thread = threading.Thread(target=lambda: got.append(os.fdopen(reading, "rb").read()))
    sink.write(bytes(60_000))
    thread.start()
    for _ in range(5):
        sink.write(bytes(60_000))
    sink.flush()
    os.close(writing)
    thread.join()
    assert len(got[0]) == 360_000


def test_a_file_that_cannot_be_made_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot write"):
        TextSink(str(tmp_path / "no" / "such"))


def test_json_leaves_out_what_has_no_data(tmp_path):
    sink = JsonSink(str(tmp_path / "out"))
    sink.emit("map", b"text", None)
    sink.emit("printf", b"x", b"x")
    sink.close()
    assert (tmp_path / "out").read_bytes() == b'{"type": "printf", "data": "x"}\n'


def test_a_collector_gives_each_message_once():
    sink = Collector()
    sink.values = lambda: (1, "a")
    sink.emit("printf", b"1 a", b"1 a")
    assert sink.take() == [Message("printf", "1 a", b"1 a", (1, "a"))] and sink.take() == []


def test_native_values():
    def opaque(type_, raw):
        return type_.name

    for type_, value, native in (
        (Str(4), b"ab", "ab"), (Array(CHAR, 4), b"ab", "ab"), (Buffer(4), b"\xff", b"\xff"),
        (Tuple((U8, Str(2))), (1, b"x"), (1, "x")), (Array(U8, 2), [1, 2], [1, 2]),
        (Opaque("kstack", 8), b"", "kstack"), (Tuple((Str(2),), ("n",)), {"n": b"x"}, {"n": "x"}),
    ):  # fmt: skip
        assert converter(type_, opaque)(value) == native
