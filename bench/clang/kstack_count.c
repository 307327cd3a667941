#include "bpf.h"
#define DEPTH 5
#define TAKEN -17 /* EEXIST: the bucket holds another stack */
#define ELSEWHERE (1u << 31) /* beside the CPU: no process has such a number */
struct id { s32 bucket; u32 process; };
struct other { u32 number, cpu; };
struct frames { u64 process, ips[DEPTH]; };
struct scratch { struct other next; struct frames key; };
struct trace { u64 ips[DEPTH]; };
MAP(counts, PERCPU_HASH, 4096, struct id, u64);
MAP(stacks, STACK_TRACE, 16384, u32, struct trace);
MAP(more, HASH, 131072, struct frames, u64);
MAP(scratch, PERCPU_ARRAY, 1, u32, struct scratch);

/* The id of a stack whose bucket is taken. */
INLINE s64 kept_elsewhere(void *ctx, u32 process)
{
    u32 zero = 0;
    struct scratch *s = lookup(&scratch, &zero);
    long error;
    u64 *id;

    if (!s || (u64)get_stack(ctx, s->key.ips, sizeof(s->key.ips), 0) - 1 >= sizeof(s->key.ips))
        return TAKEN;
    s->key.process = process;
    s->next.cpu = this_cpu() | ELSEWHERE;
    error = update(&more, &s->key, &s->next, 1);
    if (!error)
        s->next.number++;
    id = lookup(&more, &s->key);
    if (id)
        return *id;
#ifndef UNCOUNTED
    __sync_fetch_and_add(&failures.count, 1);
    failures.error = error;
#endif
    return TAKEN;
}

SEC("tp") int kstack_count(u64 *ctx)
{
    union { struct id id; s64 all; } k = { .id = { stackid(ctx, &stacks, 0), 0 } };

    if (k.id.bucket == TAKEN)
        k.all = kept_elsewhere(ctx, k.id.process);
    bump(&counts, &k, 1);
    return 1;
}
