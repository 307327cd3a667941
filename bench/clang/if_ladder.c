#include "bpf.h"
struct { u64 value, written; } small, medium, large;
SEC("tp") int if_ladder(u64 *ctx)
{
    u64 count = ctx[4];

    if (count < 16) {
        __sync_fetch_and_add(&small.value, 1);
        small.written = 1;
    } else if (count < 32) {
        __sync_fetch_and_add(&medium.value, 1);
        medium.written = 1;
    } else {
        __sync_fetch_and_add(&large.value, 1);
        large.written = 1;
    }
    return 1;
}
