// rte_hash: what a bare flow lookup costs with 16-byte keys, in bulks of 32 and one by one.
// usage: hash [EAL arguments] -- FLOWS...   prints one JSON object a line
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
#define ROUNDS 7

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

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(const char *how, long flows, double *ns)
{
    qsort(ns, ROUNDS, sizeof *ns, by_value);
    printf("{\"peer\": \"rte_hash\", \"how\": \"%s\", \"flows\": %ld, \"min\": %.2f, \"median\": %.2f, \"max\": %.2f}\n",
           how, flows, ns[0], ns[ROUNDS / 2], ns[ROUNDS - 1]);
}

static int measure(long flows)
{
    struct rte_hash_parameters parameters = {
        .name = "flows",
        .entries = flows < 8 ? 16 : flows * 5 / 4,
        .key_len = sizeof(struct key),
        .hash_func = rte_hash_crc,
    };
    struct rte_hash *table = rte_hash_create(&parameters);
    struct key *keys = malloc(sizeof *keys * flows);
    uint32_t *order = malloc(sizeof *order * LOOKUPS);
    if (!table || !keys || !order)
        return fprintf(stderr, "no memory for %ld flows\n", flows), 1;
    for (long n = 0; n < flows; n++) {
        keys[n] = (struct key){0x0a000000 + next_random() % 65536, 0x0b000000 + next_random() % 16777216,
                               1024 + n % 60000, 443, 6};
        if (rte_hash_add_key_data(table, &keys[n], (void *)(uintptr_t)n) < 0)
            return fprintf(stderr, "flow %ld of %ld does not fit\n", n, flows), 1;
    }
    for (uint32_t n = 0; n < LOOKUPS; n++)
        order[n] = next_random() % flows;

    double bulk[ROUNDS], single[ROUNDS];
    uint64_t hits = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (uint32_t n = 0; n < LOOKUPS; n += BULK) {
            const void *wanted[BULK];
            void *found[BULK];
            uint64_t mask;
            for (int i = 0; i < BULK; i++)
                wanted[i] = &keys[order[n + i]];
            hits += rte_hash_lookup_bulk_data(table, wanted, BULK, &mask, found);
        }
        bulk[round] = (now_ns() - start) / LOOKUPS;
        start = now_ns();
        for (uint32_t n = 0; n < LOOKUPS; n++) {
            void *found;
            hits += rte_hash_lookup_data(table, &keys[order[n]], &found) >= 0;
        }
        single[round] = (now_ns() - start) / LOOKUPS;
    }
    if (hits != (uint64_t)LOOKUPS * ROUNDS * 2)
        return fprintf(stderr, "only %lu lookups hit\n", (unsigned long)hits), 1;
    print("bulk of 32", flows, bulk);
    print("one by one", flows, single);
    rte_hash_free(table);
    free(keys);
    free(order);
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
    for (int n = used + 1; n < argc; n++)
        if (measure(atol(argv[n])))
            return 1;
    return 0;
}
