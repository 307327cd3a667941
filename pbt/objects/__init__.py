"""Object files as clang makes them: what programs they hold, linked as libbpf links them."""
