import errno
from threading import Event
from types import SimpleNamespace

import pytest

from pbt.bundle import Bundle, Code, Place, Program
from pbt.feature import Iteration, Lingering
from pbt.runtime import attach as module
from pbt.runtime.attach import AttachError, attach, order
from pbt.runtime.load import Refused
from pbt.source import KernelError, UsageError
from pbt.sys import perf


class Link:
    def __init__(self, name, log):
        self.name, self.log = name, log

    def close(self):
        self.log.append(f"-{self.name}")


def provider(log, fails=(), **more):
    def attach_(host, fd, program):
        if program.name in fails:
            raise KernelError(f"cannot attach {program.name}", errno.ENOENT)
        log.append(f"+{program.name}")
        return [Link(program.name, log)]

    common = {"auto": False, "mode": "", "reverse": False, "attach": attach_, "attach_many": None}
    return SimpleNamespace(**{**common, **more})


def script(*names: tuple[str, str], **config) -> Bundle:
    programs = tuple(Program(n, p, "KPROBE", Code(b""), {}, span=Place(0, 3)) for n, p in names)
    return Bundle("a.bt", "foo", programs, (), (), "x86_64", "", config=config)


def loaded(bundle: Bundle):
    return SimpleNamespace(
        bundle=bundle, programs=[SimpleNamespace(fileno=lambda: 3) for _ in bundle.programs]
    )


HOST = SimpleNamespace(pid=None, cpus=(0,), target=None)


@pytest.fixture
def known(monkeypatch):
    log: list[str] = []
    found = {
        "k": provider(log, fails=("bad",)),
        "u": provider(log, reverse=True),
        "BEGIN": provider(log, auto=True),
    }
    monkeypatch.setattr(module, "providers", lambda: found)
    return log, found


def test_reverse_providers_attach_last_first_and_auto_ones_never(known):
    bundle = script(("a", "u"), ("x", "BEGIN"), ("b", "k"), ("c", "u"))
    assert order(bundle.programs, known[1]) == [2, 3, 0]


def test_links_close_side_by_side(known):
    links = attach(loaded(script(("a", "k"), ("b", "k"))), HOST, print)
    assert links.count == 2
    links.close()
    assert known[0][:2] == ["+a", "+b"] and sorted(known[0][2:]) == ["-a", "-b"]


def test_one_that_does_not_close_keeps_no_other_open(known, monkeypatch):
    log, found = known

    def refuse():
        raise KernelError("cannot remove it", errno.EBUSY)

    found["bad"] = provider(log, attach=lambda *_: [SimpleNamespace(close=refuse)])
    monkeypatch.setattr(module, "_THREADS", 1)
    said = []
    host = SimpleNamespace(pid=None, cpus=(0,), target=None, say=said.append)
    links = attach(loaded(script(("a", "k"), ("x", "bad"), ("b", "k"))), host, print)
    links.close()
    assert log == ["+a", "+b", "-b", "-a"] and len(said) == 1 and "cannot remove it: EBUSY" in said[0]


def test_without_threads_links_are_closed_one_by_one(known, monkeypatch):
    def no_more(work, arguments):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module, "start_new_thread", no_more)
    attach(loaded(script(("a", "k"), ("b", "k"))), HOST, print).close()
    assert sorted(known[0]) == ["+a", "+b", "-a", "-b"]


def test_a_failure_detaches_what_was_attached_and_points(known):
    with pytest.raises(AttachError) as caught:
        attach(loaded(script(("a", "k"), ("bad", "k"))), HOST, print)
    assert known[0] == ["+a", "-a"]
    assert str(caught.value).startswith("a.bt:1:1: ERROR: cannot attach bad: ENOENT")
    assert "missing_probes" in str(caught.value)


def test_missing_probes_may_be_warnings_or_nothing(known):
    warned: list[str] = []
    links = attach(loaded(script(("a", "k"), ("bad", "k"), missing_probes="warn")), HOST, warned.append)
    assert links.count == 1 and len(warned) == 1 and "bad" in warned[0]
    warned.clear()
    attach(loaded(script(("bad", "k"), ("a", "k"), missing_probes="ignore")), HOST, warned.append)
    assert not warned


def test_no_probe_at_all_is_an_error(known):
    with pytest.raises(UsageError, match="no probe"):
        attach(loaded(script(("bad", "k"), missing_probes="ignore")), HOST, print)


def test_places_that_share_a_program_are_attached_together(known):
    log, found = known

    def many(host, fd, programs):
        log.append("+" + ",".join(program.name for program in programs))
        return [Link("all", log)], len(programs) - 1  # one could not be traced

    found["m"] = provider(log, attach_many=many)
    made = loaded(script(("a", "m"), ("b", "m"), ("c", "m"), ("x", "k"), ("d", "m")))
    shared = made.programs[0]
    made.programs[1] = shared
    links = attach(made, HOST, print)
    assert log == ["+a,b", "+c", "+x", "+d"] and links.count == 4


def test_one_that_cannot_be_does_not_keep_the_others_of_its_program_off(known):
    log, found = known

    def many(host, fd, programs):
        raise KernelError("cannot attach one of them", errno.EILSEQ)

    found["m"] = provider(log, attach_many=many, fails=("b",))
    made = loaded(script(("a", "m"), ("b", "m"), ("c", "m"), missing_probes="warn"))
    made.programs[1] = made.programs[2] = made.programs[0]
    said = []
    links = attach(made, HOST, said.append)
    assert log == ["+a", "+c"] and links.count == 2
    assert len(said) == 1 and "could not attach probe b, skipping" in said[0]


def test_the_halves_of_one_program_are_attached_together(known):
    log, found = known

    def many(host, fd, programs):
        log.append("+" + ",".join(program.name for program in programs))
        return [Link("both", log)], len(programs)

    found["entry"], found["return"] = (
        provider(log, attach_many=many, reverse=True),
        provider(log, attach_many=many),
    )
    made = loaded(script(("a", "entry"), ("b", "entry"), ("x", "k"), ("a", "return"), ("b", "return")))
    made.programs[1] = made.programs[3] = made.programs[4] = made.programs[0]
    links = attach(made, HOST, print)
    assert log == ["+x", "+a,b,b,a"] and links.count == 5
    links.drop(lambda program: program.name == "a")
    assert links.count == 5  # the other half is still wanted
    links.drop(lambda program: program.name != "x")
    assert links.count == 1 and log[-1] == "-both"


class Objects(Link, Iteration):
    def __init__(self, rounds, log):
        super().__init__("iter", log)
        self.rounds = rounds

    def read(self):
        self.rounds -= 1
        return self.rounds > 0


def test_iterators_are_read_to_their_end(known):
    log, found = known
    found["i"] = provider(log)
    found["i"].attach = lambda host, fd, program: [Objects(3, log)]
    links = attach(loaded(script(("a", "i"), ("x", "k"))), HOST, print)
    rounds = 0
    while links.iterating:
        links.iterate()
        rounds += 1
    assert rounds == 3 and links.count == 1


@pytest.mark.parametrize(("policy", "said"), [("warn", 1), ("ignore", 0)])
def test_programs_that_were_refused_when_loaded_are_missing_probes(known, policy, said):
    made = loaded(script(("a", "k"), ("b", "k"), missing_probes=policy))
    made.programs[0] = Refused(KernelError("cannot load a program of type TRACING (a)", errno.EPERM))
    warned: list[str] = []
    assert attach(made, HOST, warned.append).count == 1 and len(warned) == said
    assert not warned or warned[0].endswith("skipping: cannot load a program of type TRACING (a) (EPERM)")


@pytest.mark.parametrize("patience", [0.02, 600])
def test_slow_detaching_is_said_once(monkeypatch, patience):
    monkeypatch.setattr(module, "_PATIENCE", patience)
    said: list[str] = []
    closed: list[int] = []
    gate = Event()  # what holds up the kernel
    if patience > 1:
        gate.set()

    def say(text):
        said.append(text)
        gate.set()

    links = module.Links(say)
    for n in range(8):
        close = lambda n=n: (gate.wait(30), closed.append(n))  # noqa: E731
        links.add(module.Held((), (SimpleNamespace(close=close),), 1))
    links.close()
    assert sorted(closed) == list(range(8))
    words = "Detaching 8 probes: the kernel waits for every CPU at each"
    assert said == ([] if patience > 1 else [words])


def test_lingering_events_end_together_when_every_program_is_detached(monkeypatch):
    log: list[str] = []
    monkeypatch.setattr(perf, "let_go", lambda events: [event.close() for event in events])
    links = module.Links()
    for name in "abc":
        held = Lingering(Link(f"link {name}", log), Link(f"event {name}", log))
        links.add(module.Held((), (held, Link("other", log)), 1))
    links.close()
    assert sorted(log[:6]) == ["-link a", "-link b", "-link c", *["-other"] * 3]
    assert log[6:] == ["-event c", "-event b", "-event a"]
