"""The kernel lab: Debian's kernels in QEMU, for what this machine's own kernel cannot show."""
