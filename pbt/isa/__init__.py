"""The BPF instruction set (RFC 9669) and nothing else."""
