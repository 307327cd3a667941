#include "bpf.h"
MAP(counts, PERCPU_HASH, 4096, s64, u64);
SEC("tp") int task_walk(u64 *ctx)
{
    u64 parent;
    s32 pid;
    s64 key;

    read_kernel(&parent, 8, (void *)(current_task() + 1280));
    read_kernel(&pid, 4, (void *)(parent + 1264));
    key = pid;
    bump(&counts, &key, 1);
    return 1;
}
