// Route lookups of DPDK on a table that benches/lookups wrote: rte_fib (with AVX-512
// where the machine has it, and scalar) and rte_lpm, IPv4 or IPv6, in bulks of 32. Answers are
// compared with those that came with the table.
// usage: fib [EAL arguments] -- v4|v6 DIRECTORY [all]
// Says "ready" when the tables stand. A line "keys" of its input has it read the keys and answers that
// lie there now, and compare its own: "ready" again. Each other line has it measure a round of each, in
// turn, and answer with one JSON object. Others have their turn between.
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
// Keys that a round counts, and those before them, which are not counted: the caches hold what another
// left there. (benches/lookups/src/rounds.rs has the same.)
#define COUNTED ((size_t)1 << 20)
#define WARM ((size_t)1 << 19)
// What our tables say where nothing matches, and what rte_fib can hold in two bytes.
#define NO_MATCH 0xffffffffu
#define DEFAULT_HOP 0x7fffu

static uint8_t *routes, *keys;
static uint32_t *answers;
static size_t route_count, key_count;
// Rounds so far with these keys: each begins where the one before ended.
static size_t nth;
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

// Ahead of everything else on this CPU while it is measured, and not while tables are built.
static void urgent(int yes)
{
    struct sched_param priority = {.sched_priority = yes ? 50 : 0};
    static int told;
    if (sched_setscheduler(0, yes ? SCHED_FIFO : SCHED_OTHER, &priority) && !told++)
        fprintf(stderr, "measured at ordinary priority\n");
}

// One of those that are measured: looks all keys up, in bulks; returns nanoseconds a lookup, or
// with `wrong` counts answers that differ instead.
struct way {
    const char *who;
    double (*all)(size_t *wrong);
    size_t bytes, wrong;
};
static struct way ways[8];
static int way_count;

static int add(const char *who, double (*all)(size_t *wrong), size_t bytes)
{
    struct way *way = &ways[way_count++];
    *way = (struct way){who, all, bytes, 0};
    return 0;
}

// A function NAME that looks up with CALL, which takes the bulk of keys from `at` on and puts its
// answers into `out`, after BEFORE, which is not measured. `unknown` is what it says of no route.
#define WAY(NAME, TYPE, unknown, BEFORE, CALL)                                                       \
    static double NAME(size_t *wrong)                                                                \
    {                                                                                                \
        TYPE out[BULK];                                                                              \
        BEFORE;                                                                                      \
        for (size_t at = 0; wrong && at + BULK <= key_count; at += BULK) {                           \
            CALL;                                                                                    \
            for (size_t n = 0; n < BULK; n++) {                                                      \
                uint32_t hop = (uint32_t)out[n] == (uint32_t)(unknown) ? NO_MATCH : (uint32_t)out[n]; \
                *wrong += hop != answers[at + n];                                                    \
            }                                                                                        \
        }                                                                                            \
        if (wrong)                                                                                   \
            return 0;                                                                                \
        size_t counted = key_count < COUNTED ? key_count / BULK * BULK : COUNTED;                    \
        size_t from = nth % (key_count / counted) * counted;                                         \
        size_t end = from ? from : key_count;                                                        \
        for (size_t at = end - (end < WARM ? end : WARM); at + BULK <= end; at += BULK) {            \
            CALL;                                                                                    \
            __asm__ volatile("" ::"r"(out) : "memory");                                              \
        }                                                                                            \
        double start = now_ns();                                                                     \
        for (size_t at = from; at < from + counted; at += BULK) {                                    \
            CALL;                                                                                    \
            __asm__ volatile("" ::"r"(out) : "memory");                                              \
        }                                                                                            \
        return (now_ns() - start) / counted;                                                         \
    }

static struct rte_fib *fib;
static struct rte_fib6 *fib6;
static struct rte_lpm *lpm;
static struct rte_lpm6 *lpm6;
// rte_lpm has no default route: what it does not find is the default's.
static uint32_t otherwise = DEFAULT_HOP;

#define V4 ((uint32_t *)keys + at)
#define V6 ((uint8_t(*)[16])keys + at)
WAY(fib_avx512, uint64_t, DEFAULT_HOP, rte_fib_select_lookup(fib, RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512),
    rte_fib_lookup_bulk(fib, V4, out, BULK))
WAY(fib_scalar, uint64_t, DEFAULT_HOP, rte_fib_select_lookup(fib, RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO),
    rte_fib_lookup_bulk(fib, V4, out, BULK))
WAY(fib6_avx512, uint64_t, DEFAULT_HOP, rte_fib6_select_lookup(fib6, RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512),
    rte_fib6_lookup_bulk(fib6, V6, out, BULK))
WAY(fib6_scalar, uint64_t, DEFAULT_HOP, rte_fib6_select_lookup(fib6, RTE_FIB6_LOOKUP_TRIE_SCALAR),
    rte_fib6_lookup_bulk(fib6, V6, out, BULK))
// A found entry has a mark in its high byte, a missing one is 0 there.
WAY(lpm_bulk, uint32_t, DEFAULT_HOP, , ({
        rte_lpm_lookup_bulk(lpm, V4, out, BULK);
        for (int n = 0; n < BULK; n++)
            out[n] = out[n] & RTE_LPM_LOOKUP_SUCCESS ? out[n] & 0xffffff : otherwise;
    }))
WAY(lpm6_bulk, int32_t, -1, , rte_lpm6_lookup_bulk_func(lpm6, V6, out, BULK))

static int v4(void)
{
    // Blocks of 256 for what is longer than a /24: as many as there are such /24.
    uint32_t blocks = 1, last = ~0u;
    const uint32_t *row = (const uint32_t *)routes;
    for (size_t n = 0; n < route_count; n++)
        if (row[n * 3 + 1] > 24 && row[n * 3] >> 8 != last) {
            last = row[n * 3] >> 8;
            blocks++;
        }

    struct rte_fib_conf conf = {
        .type = RTE_FIB_DIR24_8,
        .default_nh = DEFAULT_HOP,
        .max_routes = route_count + 16,
        .dir24_8 = {.nh_sz = RTE_FIB_DIR24_8_2B, .num_tbl8 = blocks + 16},
    };
    fib = rte_fib_create("fib", 0, &conf);
    if (!fib)
        return fprintf(stderr, "no memory for rte_fib\n"), 1;
    // Without the routes as they were given, which the lookup does not use.
    size_t fib_bytes = ((size_t)1 << 24) * 2 + (size_t)(blocks + 16) * 256 * 2;
    for (size_t n = 0; n < route_count; n++)
        if (rte_fib_add(fib, row[n * 3], row[n * 3 + 1], row[n * 3 + 2]))
            return fprintf(stderr, "rte_fib takes no route %zu\n", n), 1;
    if (!rte_fib_select_lookup(fib, RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512))
        add("rte_fib AVX-512", fib_avx512, fib_bytes);
    if (!rte_fib_select_lookup(fib, RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO))
        add("rte_fib scalar", fib_scalar, fib_bytes);
    if (route_count > LARGE && !all)
        return 0;

    size_t before = heap_bytes();
    struct rte_lpm_config config = {.max_rules = route_count + 16, .number_tbl8s = blocks + 16};
    lpm = rte_lpm_create("lpm", 0, &config);
    if (!lpm)
        return fprintf(stderr, "no memory for rte_lpm\n"), 1;
    size_t lpm_bytes = heap_bytes() - before;
    for (size_t n = 0; n < route_count; n++)
        if (row[n * 3 + 1] == 0)
            otherwise = row[n * 3 + 2];
        else if (rte_lpm_add(lpm, row[n * 3], row[n * 3 + 1], row[n * 3 + 2]))
            return fprintf(stderr, "rte_lpm takes no route %zu\n", n), 1;
    return add("rte_lpm", lpm_bulk, lpm_bytes);
}

static int v6(void)
{
    struct rte_fib6_conf conf = {
        .type = RTE_FIB6_TRIE,
        .default_nh = DEFAULT_HOP,
        .max_routes = route_count + 16,
        .trie = {.nh_sz = RTE_FIB6_TRIE_2B, .num_tbl8 = 32000},
    };
    if (route_count > 20000)
        conf.trie.nh_sz = RTE_FIB6_TRIE_4B, conf.trie.num_tbl8 = 450000;
    fib6 = rte_fib6_create("fib6", 0, &conf);
    if (!fib6)
        return fprintf(stderr, "no memory for rte_fib6\n"), 1;
    size_t size = conf.trie.nh_sz == RTE_FIB6_TRIE_2B ? 2 : 4;
    // The first stage; how many blocks follow it does not tell.
    size_t bytes = ((size_t)1 << 24) * size;
    for (size_t n = 0; n < route_count; n++) {
        const uint8_t *row = routes + n * 24;
        uint32_t len, hop;
        memcpy(&len, row + 16, 4);
        memcpy(&hop, row + 20, 4);
        if (rte_fib6_add(fib6, row, len, hop))
            return fprintf(stderr, "rte_fib6 takes no route %zu\n", n), 1;
    }
    if (!rte_fib6_select_lookup(fib6, RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512))
        add("rte_fib AVX-512", fib6_avx512, bytes);
    if (!rte_fib6_select_lookup(fib6, RTE_FIB6_LOOKUP_TRIE_SCALAR))
        add("rte_fib scalar", fib6_scalar, bytes);
    if (route_count > LARGE && !all)
        return 0;

    struct rte_lpm6_config config = {.max_rules = route_count + 16, .number_tbl8s = 200000};
    size_t before = heap_bytes();
    lpm6 = rte_lpm6_create("lpm6", 0, &config);
    if (!lpm6)
        return fprintf(stderr, "no memory for rte_lpm6\n"), 1;
    size_t lpm_bytes = heap_bytes() - before;
    for (size_t n = 0; n < route_count; n++) {
        uint8_t *row = routes + n * 24;
        uint32_t len, hop;
        memcpy(&len, row + 16, 4);
        memcpy(&hop, row + 20, 4);
        if (rte_lpm6_add(lpm6, row, len, hop))
            return fprintf(stderr, "rte_lpm6 takes no route %zu\n", n), 1;
    }
    return add("rte_lpm", lpm6_bulk, lpm_bytes);
}

// Measures a round of each, in turn.
static void measure(void)
{
    for (int n = 0; n < way_count; n++) {
        urgent(1);
        double ns = ways[n].all(NULL);
        urgent(0);
        printf("%s\"%s\": {\"ns\": %.4f, \"wrong\": %zu, \"bytes\": %zu, \"routes\": %zu}", n ? ", " : "{", ways[n].who,
               ns, ways[n].wrong, ways[n].bytes, route_count);
    }
    nth++;
    printf("}\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int used = rte_eal_init(argc, argv);
    if (used < 0)
        return 1;
    if (argc - used < 3)
        return fprintf(stderr, "usage: fib [EAL arguments] -- v4|v6 DIRECTORY [all]\n"), 2;
    int is_v4 = !strcmp(argv[used + 1], "v4");
    const char *directory = argv[used + 2];
    all = argc - used > 3 && !strcmp(argv[used + 3], "all");
    size_t length;
    routes = read_file(directory, "routes", &length);
    route_count = length / (is_v4 ? 12 : 24);
    if (is_v4 ? v4() : v6())
        return 1;
    printf("ready\n");
    fflush(stdout);
    char line[32];
    while (fgets(line, sizeof line, stdin)) {
        if (strcmp(line, "keys\n")) {
            if (!key_count)
                return fprintf(stderr, "no keys to look up yet\n"), 2;
            measure();
            continue;
        }
        free(keys);
        free(answers);
        keys = read_file(directory, "keys", &length);
        key_count = length / (is_v4 ? 4 : 16);
        answers = (uint32_t *)read_file(directory, "answers", &length);
        nth = 0;
        for (int n = 0; n < way_count; n++) {
            ways[n].wrong = 0;
            ways[n].all(&ways[n].wrong);
        }
        printf("ready\n");
        fflush(stdout);
    }
    return 0;
}
