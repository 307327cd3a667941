#include "bpf.h"
struct key { char comm[16]; };
MAP(counts, PERCPU_HASH, 4096, struct key, u64);
SEC("tp") int count_comm(u64 *ctx) { struct key k = {}; get_comm(&k, 16); bump(&counts, &k, 1); return 1; }
