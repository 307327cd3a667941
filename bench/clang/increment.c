#include "bpf.h"
struct { u64 value, written; } n;
SEC("tp") int increment(u64 *ctx) { __sync_fetch_and_add(&n.value, 1); n.written = 1; return 1; }
