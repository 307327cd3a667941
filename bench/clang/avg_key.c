#include "bpf.h"
struct key { char comm[16]; };
struct sum { u64 total, count; };
MAP(sums, PERCPU_HASH, 4096, struct key, struct sum);
SEC("tp") int avg_key(u64 *ctx)
{
    struct key k;
    struct sum *s, first = { ctx[4], 1 };

    get_comm(k.comm, 16);
    s = lookup(&sums, &k);
    if (s) {
        s->total += first.total;
        s->count += 1;
    } else {
        insert(&sums, &k, &first);
    }
    return 1;
}
