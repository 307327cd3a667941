"""pbt: the bpftrace language as a pure-Python BPF toolchain."""

__version__ = "0.1.0"
