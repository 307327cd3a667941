"""What the kernel's headers say: data, no system calls."""
