/* What the C versions need: helpers by their numbers in <linux/bpf.h>, and maps as libbpf declares them. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;
typedef int s32;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, kind) kind *name
#define MAP(name, kind, entries, K, V) \
    struct { __uint(type, kind); __uint(max_entries, entries); __type(key, K); __type(value, V); } name SEC(".maps")
#define HASH 1
#define ARRAY 2
#define PERCPU_HASH 5
#define PERCPU_ARRAY 6
#define STACK_TRACE 7
#define RINGBUF 27

static void *(*lookup)(void *map, const void *key) = (void *)1;
static long (*update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*drop)(void *map, const void *key) = (void *)3;
static u64 (*ktime)(void) = (void *)5;
static u64 (*pid_tgid)(void) = (void *)14;
static u32 (*this_cpu)(void) = (void *)8;
static long (*get_comm)(void *to, u32 size) = (void *)16;
static long (*stackid)(void *ctx, void *map, u64 flags) = (void *)27;
static u64 (*current_task)(void) = (void *)35;
static long (*get_stack)(void *ctx, void *to, u32 size, u64 flags) = (void *)67;
static long (*read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*read_user_str)(void *to, u32 size, const void *from) = (void *)114;
static void *(*reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*submit)(void *data, u64 flags) = (void *)132;

/* Insertions that failed, and the last error: a map that is full must not go unnoticed. */
struct { u64 count; s64 error; } failures;

#define INLINE static inline __attribute__((always_inline))

INLINE void insert(void *map, const void *key, const void *value)
{
    long error = update(map, key, value, 0);

#ifndef UNCOUNTED
    if (error < 0) {
        __sync_fetch_and_add(&failures.count, 1);
        failures.error = error;
    }
#endif
}

INLINE void bump(void *map, const void *key, u64 by)
{
    u64 *cell = lookup(map, key);

    if (cell)
        *cell += by;
    else
        insert(map, key, &by);
}

INLINE u32 log2_bucket(s64 n)
{
    u64 v = n;
    u32 r = 0;

    if (n < 0)
        return 0;
    if (n == 0)
        return 1;
    if (v >> 32) { v >>= 32; r += 32; }
    if (v >> 16) { v >>= 16; r += 16; }
    if (v >> 8) { v >>= 8; r += 8; }
    if (v >> 4) { v >>= 4; r += 4; }
    if (v >> 2) { v >>= 2; r += 2; }
    if (v >> 1) r += 1;
    return r + 2;
}

char _license[] SEC("license") = "GPL";
