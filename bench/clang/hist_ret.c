#include "bpf.h"
MAP(bytes, PERCPU_ARRAY, 66, u32, u64);
SEC("tp") int hist_ret(u64 *ctx)
{
    u32 bucket = log2_bucket(ctx[2]);
    u64 *cell = lookup(&bytes, &bucket);

    if (cell)
        *cell += 1;
    return 1;
}
