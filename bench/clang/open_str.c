#include "bpf.h"
struct key { char path[64]; };
MAP(counts, PERCPU_HASH, 4096, struct key, u64);
SEC("tp") int open_str(u64 *ctx)
{
    struct key k = {};

    read_user_str(&k, 64, (void *)ctx[3]);
    bump(&counts, &k, 1);
    return 1;
}
