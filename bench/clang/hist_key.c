#include "bpf.h"
struct key { u32 pid, bucket; };
MAP(sizes, PERCPU_HASH, 4096, struct key, u64);
SEC("tp") int hist_key(u64 *ctx)
{
    struct key k = { .bucket = log2_bucket(ctx[2]), .pid = pid_tgid() >> 32 };

    bump(&sizes, &k, 1);
    return 1;
}
