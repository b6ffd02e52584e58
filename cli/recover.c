/* kontiki recover: when a majority is lost for good. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/util.h"
#include "cli/cmd.h"
#include "raft/recover.h"

struct recover_opts {
	const char *data_dir;
	bool yes;
	int64_t bump;
};

static const struct opt recover_rows[] = {
	{"data-dir", 0, OPT_STR, offsetof(struct recover_opts, data_dir), "DIR", "the survivor's data directory (default /var/lib/kontiki)", "KONTIKI_DATA_DIR", NULL},
	{"bump-revision", 0, OPT_INT, offsetof(struct recover_opts, bump), "N",
	 "raise the revision by so much, beyond what clients may have seen; what is older counts as compacted (default 1000000000; 0: as it was)", NULL, NULL},
	{"yes", 0, OPT_BOOL, offsetof(struct recover_opts, yes), "", "do it; without it, only say what would be done", NULL, NULL},
	OPT_END,
};

static const char recover_usage[] =
	"usage: kontiki recover [--data-dir DIR] [--yes]\n\n"
	"For when most servers of a cluster are lost for good, with their data. On a survivor whose server is stopped: makes it the only\n"
	"member of a new cluster that holds what the survivor holds. Say it without --yes first: it then only looks.\n";

static void print_plan(const struct kv_recover_report *r, const char *dir)
{
	printf("%s is member \"%s\" (%016" PRIx64 ") of cluster %016" PRIx64 ", which has %zu members:\n", dir, r->name, r->old_member_id,
	       r->old_cluster_id, r->n_members);
	for (size_t i = 0; i < r->n_members; i++)
		printf("    %-20s %-24s %s%s\n", r->members[i].name[0] ? r->members[i].name : "(not started)", r->members[i].addr,
		       r->members[i].role == KV_VOTER ? "votes" : "no vote", r->members[i].self ? ", this one" : "");
	if (r->resumed)
		printf("An earlier 'kontiki recover' was cut off here; this one ends it.\n");
	printf("What it has: everything up to entry %" PRIu64 " of the log (%" PRIu64 " entries beyond its store's checkpoint, term %" PRIu64 ").\n",
	       r->last_index, r->last_index - r->checkpoint_index, r->term);
	if (r->damage[0])
		printf("Its log is damaged: %s. What is behind that place is lost.\n", r->damage);
	printf("What may be lost: writes that were acknowledged, if only the lost members had them. If another member survived, look at it as\n"
	       "well and recover the one with the larger entry. What may appear: writes that nobody was told to have succeeded.\n"
	       "What will be done: the cluster becomes a new one with this member alone, under new ids; the old log is kept as raft/*.wal.old.\n"
	       "Other members of the old cluster are refused by it and cannot be used any more: move their data directories away and start\n"
	       "them with --join. Make sure that they are not running: a majority of them would go on as the old cluster.\n");
}

static int run(const struct recover_opts *o, struct err *e)
{
	struct kv_recover_cfg cfg = {.data_dir = o->data_dir, .dry_run = true, .bump = o->bump};
	struct kv_recover_report r;
	int rv = kv_recover(&cfg, &r, e);

	if (rv < 0)
		return rv;
	print_plan(&r, o->data_dir);
	if (o->bump > 0 && !r.resumed)
		printf("The store's revision is raised by %" PRId64 " and what is older counts as compacted, so that clients that saw what is lost read\n"
		       "everything anew (--bump-revision 0: as it was).\n", o->bump);
	if (!o->yes) {
		printf("\nNothing has been changed. To do it: kontiki recover --data-dir %s --yes\n", o->data_dir);
		return 0;
	}
	cfg.dry_run = false;
	rv = kv_recover(&cfg, &r, e);
	if (rv < 0)
		return rv;
	printf("\nDone: cluster %016" PRIx64 " with member \"%s\", at revision %" PRId64 ". Start the server again, then let others --join it.\n",
	       r.new_cluster_id, r.name, r.revision);
	return 0;
}

int cmd_recover(int argc, char **argv)
{
	struct recover_opts o = {.data_dir = "/var/lib/kontiki", .bump = KV_BUMP_DEFAULT};
	struct opt_args args;
	struct err e = ERR_INIT;
	int rv;

	if (cmd_wants_help(argc, argv, recover_usage, recover_rows))
		return CMD_OK;
	if (opts_parse(recover_rows, &o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("recover", &e);
	rv = args.n ? err_set(&e, ERR_BAD_REQUEST, "\"%s\": recover takes no arguments", args.v[0]) : run(&o, &e);
	opt_args_fini(&args);
	return rv < 0 ? cmd_fail(&e) : CMD_OK;
}
