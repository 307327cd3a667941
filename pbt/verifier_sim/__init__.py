"""A simulator of the kernel's BPF verifier: bytecode → Verdict, with reasons in words."""
