#include "bpf.h"
struct cell { u64 value, written; };
MAP(counts, PERCPU_ARRAY, 1, u32, struct cell);
SEC("tp") int filter_false(u64 *ctx)
{
    u32 zero = 0;
    struct cell *c;

    if (pid_tgid() >> 32 != 1)
        return 1;
    c = lookup(&counts, &zero);
    if (c) {
        c->value += 1;
        c->written = 1;
    }
    return 1;
}
