#include "bpf.h"
struct key { u32 pid; char comm[16]; };
MAP(sums, PERCPU_HASH, 4096, struct key, u64);
SEC("tp") int sum_pid_comm(u64 *ctx)
{
    struct key k;

    k.pid = pid_tgid() >> 32;
    get_comm(k.comm, 16);
    bump(&sums, &k, ctx[4]);
    return 1;
}
