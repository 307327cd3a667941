#include "bpf.h"
struct key { char comm[16]; u32 bucket; };
MAP(start, HASH, 4096, u64, u64);
MAP(ns, PERCPU_HASH, 4096, struct key, u64);
SEC("tp") int begin(u64 *ctx)
{
    u64 now = ktime(), tid = (u32)pid_tgid();

    insert(&start, &tid, &now);
    return 1;
}
SEC("tp") int end(u64 *ctx)
{
    u64 tid = (u32)pid_tgid(), *then = lookup(&start, &tid);
    struct key k;

    if (!then || !*then)
        return 1;
    k.bucket = log2_bucket(ktime() - *then);
    get_comm(k.comm, 16);
    bump(&ns, &k, 1);
    drop(&start, &tid);
    return 1;
}
