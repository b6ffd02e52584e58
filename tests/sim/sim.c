/*
 * sim: whole members under simulated faults.
 *
 *	tests/sim/sim [--scenario NAME] [--seeds N|A-B] [--seconds T]  N seeds; prints the first that fails and how to replay it
 *	tests/sim/sim [--scenario NAME] --seed X [--trace]             one seed
 *	tests/sim/sim --list                                           the scenarios
 */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/util.h"
#include "tests/sim/world.h"

static int remove_one(const char *path, const struct stat *st _unused_, int type _unused_, struct FTW *ftw _unused_)
{
	return remove(path);
}

static void clean(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#define DIR_PREFIX "kontiki-sim."

/* What simulators that were killed have left: each folder's name has its process in it. */
static void clean_stale(const char *base)
{
	DIR *d = opendir(base);
	struct dirent *de;

	while (d && (de = readdir(d)) != NULL) {
		char path[PATH_MAX], *end;
		long pid;

		if (strncmp(de->d_name, DIR_PREFIX, strlen(DIR_PREFIX)) != 0)
			continue;
		pid = strtol(de->d_name + strlen(DIR_PREFIX), &end, 10);
		if (*end != '.' || pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
			continue;
		snprintf(path, sizeof(path), "%s/%s", base, de->d_name);
		clean(path);
	}
	if (d)
		closedir(d);
}

/* In memory, when that is large enough for one simulator a processor: who maps a file there for which there is no room dies of it. */
static const char *scratch(void)
{
	static const char memory[] = "/dev/shm";
	struct statvfs v;

	if (access(memory, W_OK) == 0 && statvfs(memory, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize >> 26 >= (uint64_t)sysconf(_SC_NPROCESSORS_ONLN))
		return memory;
	return "/tmp";
}

static uint64_t current_seed;
static const char *current_scenario, *program;

/* An assertion is a failure like any other: say which seed it was. */
static void on_abort(int sig)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "seed %" PRIu64 ": signal %d\nreplay: %s --scenario %s --seed %" PRIu64 " --trace\n",
			 current_seed, sig, program, current_scenario, current_seed);

	if (write(STDOUT_FILENO, text, (size_t)n) < 0)
		_exit(3);
	signal(sig, SIG_DFL);
	raise(sig);
}

struct totals {
	uint64_t events, ok, crashes, elections, changes, transfers, snapshots, placed, watches, watch_events, expired, choices, halts, repairs, defrags, rots, rejoins;
};

static bool run_seed(uint64_t seed, const struct sim_cfg *base, struct totals *t)
{
	struct world *w = xcalloc(1, sizeof(*w));
	struct sim_cfg cfg = *base;
	char *dir = xasprintf("%s/" DIR_PREFIX "%d.XXXXXX", base->dir, (int)getpid());
	bool ok;

	current_seed = seed;
	if (!mkdtemp(dir)) {
		perror(dir);
		exit(2);
	}
	cfg.seed = seed;
	cfg.dir = dir;
	world_init(w, &cfg);
	ok = world_run(w);
	t->events += w->n_events;
	t->ok += w->n_ok;
	t->crashes += w->n_crashes;
	t->elections += w->n_elections;
	t->changes += w->n_changes;
	t->snapshots += w->n_snapshots;
	t->transfers += w->n_transfers;
	t->halts += w->n_disk_faults;
	t->repairs += w->n_repairs;
	t->defrags += w->n_defrags;
	t->rots += w->n_rots;
	t->rejoins += w->n_rejoins;
	t->placed += w->verdict.n_placed;
	t->choices += w->verdict.n_choices;
	t->expired += w->verdict.n_expired;
	t->watches += w->verdict.n_watches;
	t->watch_events += w->verdict.n_events;
	if (!ok)
		printf("seed %" PRIu64 ": %s\nreplay: %s --scenario %s --seed %" PRIu64 " --seconds %u --trace\n", seed,
		       w->failure, program, cfg.scenario->name, seed, cfg.seconds);
	world_fini(w);
	clean(dir);
	free(dir);
	free(w);
	return ok;
}

/* "N" (from the start that is given) or "A-B". Anything else would silently test less than was asked for. */
static bool parse_seeds(const char *text, uint64_t *start, uint64_t *n)
{
	char *end;
	uint64_t a = strtoull(text, &end, 10), b;

	if (end == text || (*end != '\0' && *end != '-'))
		return false;
	if (*end == '\0') {
		*n = a;
		return a > 0;
	}
	text = end + 1;
	b = strtoull(text, &end, 10);
	if (end == text || *end != '\0' || b < a)
		return false;
	*start = a;
	*n = b - a + 1;
	return true;
}

#ifdef KONTIKI_MUTANTS
enum mutant mutant_active;

static const struct {
	const char *name, *scenario, *text;
} mutants[] = {
	[MUTANT_NONE] = {"none", "random", "no mistake"},
#define MUTANT_ROW(name, scenario, text) [MUTANT_##name] = {#name, scenario, text},
#include "base/mutants.def"
#undef MUTANT_ROW
};

static bool choose_mutant(const char *name)
{
	for (unsigned i = 0; i < MUTANT_N; i++)
		if (strcmp(mutants[i].name, name) == 0) {
			mutant_active = (enum mutant)i;
			return true;
		}
	return false;
}

/* name, scenario, text: for tests/sim/mutants */
static void list_mutants(void)
{
	for (unsigned i = 0; i < MUTANT_N; i++)
		printf("%s\t%s\t%s\n", mutants[i].name, mutants[i].scenario, mutants[i].text);
}
#else
static bool choose_mutant(const char *name _unused_)
{
	return false;
}

static void list_mutants(void)
{
}
#endif

volatile int64_t *sim_faults;

static void open_faults(void)
{
	int fd = memfd_create("faults", MFD_CLOEXEC);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	sim_faults = fd < 0 ? NULL : fault_table_open(path);
	ASSERT(sim_faults != NULL);
	setenv("KONTIKI_FAULTS", path, 1);
	fault_init();
	close(fd);
}

static int usage(void)
{
	fprintf(stderr, "usage: sim [--scenario NAME] [--seeds N|A-B] [--start S] [--seconds T] [--keep-going] | --seed X [--trace]\n"
			"scenarios:\n");
	scenario_list(stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seeds", 1, NULL, 'n'},   {"start", 1, NULL, 's'}, {"seed", 1, NULL, 'x'},
						{"seconds", 1, NULL, 't'}, {"trace", 0, NULL, 'v'}, {"no-checkpoints", 0, NULL, 'c'}, {"keep-going", 0, NULL, 'k'},
						{"scenario", 1, NULL, 'S'}, {"list", 0, NULL, 'l'},
						{"mutant", 1, NULL, 'm'}, {"mutants", 0, NULL, 'M'},
						{NULL, 0, NULL, 0}};
	struct sim_cfg cfg = {.seconds = 12, .dir = scratch()};
	uint64_t start = 1, n = 100, failed = 0;
	struct totals t = {0};
	struct timespec a, b;
	bool keep_going = false;
	int opt;

	cfg.scenario = scenario_find("random");
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'n':
			if (!parse_seeds(optarg, &start, &n))
				return usage();
			break;
		case 's':
			start = strtoull(optarg, NULL, 10);
			break;
		case 'x':
			start = strtoull(optarg, NULL, 10);
			n = 1;
			break;
		case 't':
			cfg.seconds = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'v':
			cfg.trace = true;
			break;
		case 'c':
			cfg.no_checkpoints = true;
			break;
		case 'k':
			keep_going = true;
			break;
		case 'S':
			cfg.scenario = scenario_find(optarg);
			if (!cfg.scenario) {
				fprintf(stderr, "sim: there is no scenario \"%s\"\n", optarg);
				return usage();
			}
			break;
		case 'l':
			scenario_list(stdout);
			return 0;
		case 'm':
			if (!choose_mutant(optarg)) {
				fprintf(stderr, "sim: this program has no mutant \"%s\" (sim-mutants --mutants lists its own)\n", optarg);
				return 2;
			}
			break;
		case 'M':
			list_mutants();
			return 0;
		default:
			return usage();
		}
	}
	open_faults();
	program = argv[0];
	current_scenario = cfg.scenario->name;
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_set_level(cfg.trace ? "debug" : "error");
	signal(SIGABRT, on_abort);
	signal(SIGSEGV, on_abort);
	clock_gettime(CLOCK_MONOTONIC, &a);
	clean_stale(cfg.dir);
	for (uint64_t i = 0; i < n && (failed == 0 || keep_going); i++)
		failed += !run_seed(start + i, &cfg, &t);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%s: %" PRIu64 " seeds, %" PRIu64 " failed; %" PRIu64 " events, %" PRIu64 " operations, %" PRIu64
	       " unknown ones that happened (%" PRIu64 " places with a choice), %" PRIu64 " leases ended, %" PRIu64 " watches with %" PRIu64
	       " events, %" PRIu64 " crashes, %" PRIu64 " elections, %" PRIu64 " member changes, %" PRIu64 " transfers, %" PRIu64
	       " snapshots, %" PRIu64 " halts by disk errors, %" PRIu64 " returns, %" PRIu64 " stores copied, %" PRIu64 " files damaged, %" PRIu64 " members that joined again in %.1f s\n",
	       cfg.scenario->name, n, failed, t.events, t.ok, t.placed, t.choices, t.expired, t.watches, t.watch_events, t.crashes,
	       t.elections, t.changes, t.transfers, t.snapshots, t.halts, t.repairs, t.defrags, t.rots, t.rejoins,
	       (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9);
	return failed ? 1 : 0;
}
