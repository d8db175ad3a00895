// Route lookups of DPDK on a table that benches/lookups wrote: rte_fib (with AVX-512
// where the machine has it, and scalar) and rte_lpm, IPv4 or IPv6, in bulks of 32. Answers are
// compared with those that came with the table.
// usage: fib [EAL arguments] -- v4|v6 DIRECTORY ROUNDS [all]   prints one JSON object a line
// Without `all` rte_lpm is left out of large tables: it takes a minute to fill.
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_eal.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_lpm.h>
#include <rte_lpm6.h>
#include <rte_malloc.h>

#define BULK 32
#define ROUNDS_MAX 32
// What our tables say where nothing matches, and what rte_fib can hold in two bytes.
#define NO_MATCH 0xffffffffu
#define DEFAULT_HOP 0x7fffu

static uint8_t *routes, *keys;
static uint32_t *answers;
static size_t route_count, key_count;
// More routes than this are a large table.
#define LARGE 100000
static int all;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static uint8_t *read_file(const char *directory, const char *name, size_t *length)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    fseek(file, 0, SEEK_END);
    *length = ftell(file);
    rewind(file);
    // As many bytes more as a bulk may read beyond the last key.
    uint8_t *bytes = aligned_alloc(64, (*length + 2 * 64 + 63) / 64 * 64);
    if (!bytes || fread(bytes, 1, *length, file) != *length) {
        fprintf(stderr, "%s cannot be read\n", path);
        exit(1);
    }
    fclose(file);
    return bytes;
}

static size_t heap_bytes(void)
{
    struct rte_malloc_socket_stats stats;
    return rte_malloc_get_socket_stats(0, &stats) ? 0 : stats.heap_allocsz_bytes;
}

static void print(const char *who, const double *ns, int rounds, size_t wrong, size_t bytes)
{
    printf("{\"who\": \"%s\", \"wrong\": %zu, \"bytes\": %zu, \"routes\": %zu, \"ns\": [", who, wrong, bytes,
           route_count);
    for (int n = 0; n < rounds; n++)
        printf("%s%.3f", n ? ", " : "", ns[n]);
    printf("]}\n");
    fflush(stdout);
}

// Ahead of everything else on this CPU while it is measured, and not while tables are built.
static void urgent(int yes)
{
    struct sched_param priority = {.sched_priority = yes ? 50 : 0};
    static int told;
    if (sched_setscheduler(0, yes ? SCHED_FIFO : SCHED_OTHER, &priority) && !told++)
        fprintf(stderr, "measured at ordinary priority\n");
}

// Measures CALL, which looks up the bulk of keys from `at` on into `out`.
#define MEASURE(who, out, bytes, unknown, CALL)                                                  \
    do {                                                                                         \
        double ns[ROUNDS_MAX];                                                                   \
        size_t wrong = 0;                                                                        \
        for (size_t at = 0; at + BULK <= key_count; at += BULK) {                                \
            CALL;                                                                                \
            for (size_t n = 0; n < BULK; n++) {                                                  \
                uint32_t hop = (uint32_t)out[n] == (uint32_t)(unknown) ? NO_MATCH : (uint32_t)out[n]; \
                wrong += hop != answers[at + n];                                                 \
            }                                                                                    \
        }                                                                                        \
        urgent(1);                                                                               \
        for (int round = 0; round < rounds; round++) {                                           \
            double start = now_ns();                                                             \
            for (size_t at = 0; at + BULK <= key_count; at += BULK) {                            \
                CALL;                                                                            \
                __asm__ volatile("" ::"r"(out) : "memory");                                      \
            }                                                                                    \
            ns[round] = (now_ns() - start) / (key_count / BULK * BULK);                          \
        }                                                                                        \
        urgent(0);                                                                               \
        print(who, ns, rounds, wrong, bytes);                                                    \
    } while (0)

static int v4(int rounds)
{
    // Blocks of 256 for what is longer than a /24: as many as there are such /24.
    uint32_t blocks = 1, last = ~0u;
    const uint32_t *row = (const uint32_t *)routes;
    for (size_t n = 0; n < route_count; n++)
        if (row[n * 3 + 1] > 24 && row[n * 3] >> 8 != last) {
            last = row[n * 3] >> 8;
            blocks++;
        }
    const uint32_t *ip = (const uint32_t *)keys;

    struct rte_fib_conf conf = {
        .type = RTE_FIB_DIR24_8,
        .default_nh = DEFAULT_HOP,
        .max_routes = route_count + 16,
        .dir24_8 = {.nh_sz = RTE_FIB_DIR24_8_2B, .num_tbl8 = blocks + 16},
    };
    struct rte_fib *fib = rte_fib_create("fib", 0, &conf);
    if (!fib)
        return fprintf(stderr, "no memory for rte_fib\n"), 1;
    // Without the routes as they were given, which the lookup does not use.
    size_t fib_bytes = ((size_t)1 << 24) * 2 + (size_t)(blocks + 16) * 256 * 2;
    for (size_t n = 0; n < route_count; n++)
        if (rte_fib_add(fib, row[n * 3], row[n * 3 + 1], row[n * 3 + 2]))
            return fprintf(stderr, "rte_fib takes no route %zu\n", n), 1;
    uint64_t hops[BULK];
    if (!rte_fib_select_lookup(fib, RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512))
        MEASURE("rte_fib AVX-512", hops, fib_bytes, DEFAULT_HOP,
                rte_fib_lookup_bulk(fib, (uint32_t *)ip + at, hops, BULK));
    if (!rte_fib_select_lookup(fib, RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO))
        MEASURE("rte_fib scalar", hops, fib_bytes, DEFAULT_HOP,
                rte_fib_lookup_bulk(fib, (uint32_t *)ip + at, hops, BULK));
    rte_fib_free(fib);
    if (route_count > LARGE && !all)
        return 0;

    size_t before = heap_bytes();
    struct rte_lpm_config config = {.max_rules = route_count + 16, .number_tbl8s = blocks + 16};
    struct rte_lpm *lpm = rte_lpm_create("lpm", 0, &config);
    if (!lpm)
        return fprintf(stderr, "no memory for rte_lpm\n"), 1;
    size_t lpm_bytes = heap_bytes() - before;
    // It has no default route: what it does not find is the default's.
    uint32_t otherwise = DEFAULT_HOP;
    for (size_t n = 0; n < route_count; n++)
        if (row[n * 3 + 1] == 0)
            otherwise = row[n * 3 + 2];
        else if (rte_lpm_add(lpm, row[n * 3], row[n * 3 + 1], row[n * 3 + 2]))
            return fprintf(stderr, "rte_lpm takes no route %zu\n", n), 1;
    uint32_t found[BULK];
    // A found entry has a mark in its high byte, a missing one is 0 there.
    MEASURE("rte_lpm", found, lpm_bytes, DEFAULT_HOP, ({
                rte_lpm_lookup_bulk(lpm, ip + at, found, BULK);
                for (int n = 0; n < BULK; n++)
                    found[n] = found[n] & RTE_LPM_LOOKUP_SUCCESS ? found[n] & 0xffffff : otherwise;
            }));
    rte_lpm_free(lpm);
    return 0;
}

static int v6(int rounds)
{
    struct rte_fib6_conf conf = {
        .type = RTE_FIB6_TRIE,
        .default_nh = DEFAULT_HOP,
        .max_routes = route_count + 16,
        .trie = {.nh_sz = RTE_FIB6_TRIE_2B, .num_tbl8 = 32000},
    };
    if (route_count > 20000)
        conf.trie.nh_sz = RTE_FIB6_TRIE_4B, conf.trie.num_tbl8 = 300000;
    struct rte_fib6 *fib = rte_fib6_create("fib6", 0, &conf);
    if (!fib)
        return fprintf(stderr, "no memory for rte_fib6\n"), 1;
    size_t size = conf.trie.nh_sz == RTE_FIB6_TRIE_2B ? 2 : 4;
    // The first stage; how many blocks follow it does not tell.
    size_t bytes = ((size_t)1 << 24) * size;
    for (size_t n = 0; n < route_count; n++) {
        const uint8_t *row = routes + n * 24;
        uint32_t len, hop;
        memcpy(&len, row + 16, 4);
        memcpy(&hop, row + 20, 4);
        if (rte_fib6_add(fib, row, len, hop))
            return fprintf(stderr, "rte_fib6 takes no route %zu\n", n), 1;
    }
    uint64_t hops[BULK];
    uint8_t(*ip)[16] = (uint8_t(*)[16])keys;
    if (!rte_fib6_select_lookup(fib, RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512))
        MEASURE("rte_fib AVX-512", hops, bytes, DEFAULT_HOP, rte_fib6_lookup_bulk(fib, ip + at, hops, BULK));
    if (!rte_fib6_select_lookup(fib, RTE_FIB6_LOOKUP_TRIE_SCALAR))
        MEASURE("rte_fib scalar", hops, bytes, DEFAULT_HOP, rte_fib6_lookup_bulk(fib, ip + at, hops, BULK));
    rte_fib6_free(fib);
    if (route_count > LARGE && !all)
        return 0;

    struct rte_lpm6_config config = {.max_rules = route_count + 16, .number_tbl8s = 200000};
    size_t before = heap_bytes();
    struct rte_lpm6 *lpm = rte_lpm6_create("lpm6", 0, &config);
    if (!lpm)
        return fprintf(stderr, "no memory for rte_lpm6\n"), 1;
    size_t lpm_bytes = heap_bytes() - before;
    for (size_t n = 0; n < route_count; n++) {
        uint8_t *row = routes + n * 24;
        uint32_t len, hop;
        memcpy(&len, row + 16, 4);
        memcpy(&hop, row + 20, 4);
        if (rte_lpm6_add(lpm, row, len, hop))
            return fprintf(stderr, "rte_lpm6 takes no route %zu\n", n), 1;
    }
    int32_t found[BULK];
    MEASURE("rte_lpm", found, lpm_bytes, -1, rte_lpm6_lookup_bulk_func(lpm, ip + at, found, BULK));
    rte_lpm6_free(lpm);
    return 0;
}

int main(int argc, char **argv)
{
    int used = rte_eal_init(argc, argv);
    if (used < 0)
        return 1;
    if (argc - used < 4)
        return fprintf(stderr, "usage: fib [EAL arguments] -- v4|v6 DIRECTORY ROUNDS\n"), 2;
    int is_v4 = !strcmp(argv[used + 1], "v4");
    const char *directory = argv[used + 2];
    int rounds = atoi(argv[used + 3]);
    if (rounds < 1 || rounds > ROUNDS_MAX)
        return fprintf(stderr, "1 to %d rounds\n", ROUNDS_MAX), 2;
    all = argc - used > 4 && !strcmp(argv[used + 4], "all");
    size_t length;
    routes = read_file(directory, "routes", &length);
    route_count = length / (is_v4 ? 12 : 24);
    keys = read_file(directory, "keys", &length);
    key_count = length / (is_v4 ? 4 : 16);
    answers = (uint32_t *)read_file(directory, "answers", &length);
    return is_v4 ? v4(rounds) : v6(rounds);
}
