/*
 * gcs-bench: one program, one row of bench/main.c's table for each thing it measures.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

/* A subcommand: parses its own arguments (argv[0] is its name) and returns the exit code. */
typedef int bench_run_fn(int argc, char **argv);

bench_run_fn bench_latency; /* requests to the sidecar beside what the transport alone costs */
bench_run_fn bench_mounts;  /* mount directories beside plainer ways of making them */
bench_run_fn bench_peer;    /* serves the floors of bench_latency (bench/peers/peers.h) */
bench_run_fn bench_policy;  /* decisions of the policy engine, and loading */
bench_run_fn bench_slowfs;  /* serves the slow file system that bench_mounts measures on */

#endif
