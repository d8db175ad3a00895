// rte_hash: what a bare flow lookup costs with 16-byte keys, in bulks of 32 and one by one.
// usage: hash [EAL arguments] -- FLOWS...
// Says "ready" when the tables stand; each line of its input is then one of the FLOWS, of whose
// table a round is measured, and answered with one JSON object. Others have their turn between.
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <rte_eal.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>

#define LOOKUPS (1u << 20)
#define BULK 32
#define TABLES_MAX 8

struct key {
    uint32_t src, dst;
    uint16_t sport, dport;
    uint32_t protocol;
};

static uint64_t state = 88172645463325252ull;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static struct table {
    long flows;
    struct rte_hash *hash;
    struct key *keys;
    uint32_t *order;
} tables[TABLES_MAX];

static int prepare(struct table *table, long flows)
{
    char name[32];
    snprintf(name, sizeof name, "flows%ld", flows);
    struct rte_hash_parameters parameters = {
        .name = name,
        .entries = flows < 8 ? 16 : flows * 5 / 4,
        .key_len = sizeof(struct key),
        .hash_func = rte_hash_crc,
    };
    table->flows = flows;
    table->hash = rte_hash_create(&parameters);
    table->keys = malloc(sizeof *table->keys * flows);
    table->order = malloc(sizeof *table->order * LOOKUPS);
    if (!table->hash || !table->keys || !table->order)
        return fprintf(stderr, "no memory for %ld flows\n", flows), 1;
    for (long n = 0; n < flows; n++) {
        table->keys[n] = (struct key){0x0a000000 + next_random() % 65536, 0x0b000000 + next_random() % 16777216,
                                      1024 + n % 60000, 443, 6};
        if (rte_hash_add_key_data(table->hash, &table->keys[n], (void *)(uintptr_t)n) < 0)
            return fprintf(stderr, "flow %ld of %ld does not fit\n", n, flows), 1;
    }
    for (uint32_t n = 0; n < LOOKUPS; n++)
        table->order[n] = next_random() % flows;
    return 0;
}

static uint64_t in_bulks(const struct table *table)
{
    uint64_t hits = 0;
    for (uint32_t n = 0; n < LOOKUPS; n += BULK) {
        const void *wanted[BULK];
        void *found[BULK];
        uint64_t mask;
        for (int i = 0; i < BULK; i++)
            wanted[i] = &table->keys[table->order[n + i]];
        hits += rte_hash_lookup_bulk_data(table->hash, wanted, BULK, &mask, found);
    }
    return hits;
}

static uint64_t one_by_one(const struct table *table)
{
    uint64_t hits = 0;
    for (uint32_t n = 0; n < LOOKUPS; n++) {
        void *found;
        hits += rte_hash_lookup_data(table->hash, &table->keys[table->order[n]], &found) >= 0;
    }
    return hits;
}

// A round: somebody else had the CPU before, so all is looked up once before the clock starts.
static int measure(const struct table *table)
{
    uint64_t hits = in_bulks(table);
    double start = now_ns();
    hits += in_bulks(table);
    double bulk = (now_ns() - start) / LOOKUPS;
    start = now_ns();
    hits += one_by_one(table);
    double single = (now_ns() - start) / LOOKUPS;
    if (hits != (uint64_t)LOOKUPS * 3)
        return fprintf(stderr, "only %lu lookups hit\n", (unsigned long)hits), 1;
    printf("{\"flows\": %ld, \"bulk\": %.3f, \"single\": %.3f}\n", table->flows, bulk, single);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    int used = rte_eal_init(argc, argv);
    if (used < 0)
        return 1;
    // Ahead of everything else on this CPU, as all that is measured. Only now: while it starts, EAL
    // waits for threads that would never run beside an urgent one.
    struct sched_param urgent = {.sched_priority = 50};
    if (sched_setscheduler(0, SCHED_FIFO, &urgent))
        fprintf(stderr, "measured at ordinary priority\n");
    int count = 0;
    for (int n = used + 1; n < argc && count < TABLES_MAX; n++, count++)
        if (prepare(&tables[count], atol(argv[n])))
            return 1;
    printf("ready\n");
    fflush(stdout);
    char asked[32];
    while (fgets(asked, sizeof asked, stdin)) {
        int found = 0;
        for (int n = 0; n < count; n++)
            if (tables[n].flows == atol(asked)) {
                found = 1;
                if (measure(&tables[n]))
                    return 1;
            }
        if (!found)
            return fprintf(stderr, "no table of %s", asked), 1;
    }
    return 0;
}
