#include "raft/repair.h"

#include <errno.h>
#include <raft.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/util.h"
#include "raft/bytes.h"
#include "raft/member-priv.h"
#include "raft/stable.h"
#include "raft/wal.h"
#include "store/store.h"

#define REJOIN "rejoin"

unsigned repair_other_voters(const void *conf, size_t size, uint64_t self)
{
	struct raft_buffer raw = {(void *)(uintptr_t)conf, size};
	struct raft_configuration c;
	unsigned n = 0;

	/* The core would read past the end of what is malformed. */
	if (!msg_conf_ok(str_of(conf, size)) || raft_configuration_decode(&raw, &c) != 0)
		return 0;
	for (unsigned i = 0; i < c.n; i++)
		n += c.servers[i].role == RAFT_VOTER && c.servers[i].id != self;
	raft_configuration_close(&c);
	return n;
}

/* An empty file whose name is durable. */
static int make_mark(struct disk *d, const char *name, struct err *e)
{
	int fd = d->ops->open(d, name, true), rc = fd < 0 ? fd : d->ops->sync(d, fd);

	if (fd >= 0)
		d->ops->close(d, fd);
	if (rc == 0)
		rc = d->ops->sync_dir(d);
	return rc < 0 ? err_set_errno(e, -rc, "cannot write raft/%s", name) : 0;
}

static bool there(struct disk *d, const char *name)
{
	int fd = d->ops->open(d, name, false);

	if (fd >= 0)
		d->ops->close(d, fd);
	/* When in doubt it is. */
	return fd != -ENOENT;
}

/* The file: crc u32 of what follows | id u64. Anything else, as an older program writes it, stands for nobody. */
static int write_promise(struct disk *d, uint64_t pair, struct err *e)
{
	int fd = d->ops->open(d, REPAIR_FORGETFUL ".tmp", true), rc = fd < 0 ? fd : d->ops->truncate(d, fd, 0);
	uint8_t b[12];

	put_u64(b + 4, pair);
	put_u32(b, crc32c(0, b + 4, 8));
	if (rc == 0)
		rc = d->ops->pwrite(d, fd, b, sizeof(b), 0);
	if (rc == 0)
		rc = d->ops->sync(d, fd);
	if (fd >= 0)
		d->ops->close(d, fd);
	if (rc == 0)
		rc = d->ops->rename(d, REPAIR_FORGETFUL ".tmp", REPAIR_FORGETFUL);
	if (rc == 0)
		rc = d->ops->sync_dir(d);
	return rc < 0 ? err_set_errno(e, -rc, "cannot write raft/" REPAIR_FORGETFUL) : 0;
}

bool repair_forgetful(struct disk *d, uint64_t *ret_pair)
{
	int fd = d->ops->open(d, REPAIR_FORGETFUL, false);
	uint8_t b[12];

	*ret_pair = 0;
	if (fd < 0)
		return fd != -ENOENT;
	if (d->ops->pread(d, fd, b, sizeof(b), 0) == sizeof(b) && get_u32(b) == crc32c(0, b + 4, 8))
		*ret_pair = get_u64(b + 4);
	d->ops->close(d, fd);
	return true;
}

int repair_promise(struct disk *d, uint64_t pair, struct err *e)
{
	uint64_t before;

	return repair_forgetful(d, &before) && (before == 0 || pair != 0) ? 0 : write_promise(d, pair, e);
}

/* --- Two voters ----------------------------------------------------------------------------------------------------- */

int repair_settle(struct disk *d, struct err *e)
{
	return make_mark(d, REPAIR_SETTLED, e);
}

int repair_unsettle(struct disk *d, struct err *e)
{
	int rc = d->ops->unlink(d, REPAIR_SETTLED);

	if (rc == 0 || rc == -ENOENT)
		rc = d->ops->sync_dir(d);
	return rc < 0 ? err_set_errno(e, -rc, "cannot remove raft/" REPAIR_SETTLED) : 0;
}

/* When in doubt it is not. */
bool repair_is_settled(struct disk *d)
{
	int fd = d->ops->open(d, REPAIR_SETTLED, false);

	if (fd >= 0)
		d->ops->close(d, fd);
	return fd >= 0;
}

uint64_t repair_other_of_two(const void *conf, size_t size, uint64_t self)
{
	struct raft_buffer raw = {(void *)(uintptr_t)conf, size};
	struct raft_configuration c;
	unsigned voters = 0;
	uint64_t other = 0;
	bool votes = false;

	if (!msg_conf_ok(str_of(conf, size)) || raft_configuration_decode(&raw, &c) != 0)
		return 0;
	for (unsigned i = 0; i < c.n; i++) {
		if (c.servers[i].role != RAFT_VOTER)
			continue;
		voters++;
		votes = votes || c.servers[i].id == self;
		other = c.servers[i].id == self ? other : c.servers[i].id;
	}
	raft_configuration_close(&c);
	return votes && voters == 2 ? other : 0;
}

uint64_t repair_pair(struct disk *d, uint64_t self)
{
	struct buf conf = BUF_INIT;
	uint64_t other = 0;

	/* While it catches up `peers` may tell of older members, but the promise is kept up to date. */
	if (repair_forgetful(d, &other))
		return other;
	if ((repair_is_settled(d) || MUTANT(pair_guessed)) && stable_load_peers(d, &conf))
		other = repair_other_of_two(conf.p, conf.n, self);
	buf_fini(&conf);
	return other;
}

#define UNKNOWN "raft/peers, which tells who could give back what is lost, is missing or damaged, too"

int repair_refuse(struct err *e, bool known, unsigned others)
{
	struct err was = *e;

	if (known && others == 1)
		return err_set(e, ERR_CORRUPT,
			       "%s; of two voting members neither can lead without the other: make the other one a cluster of its own with "
			       "'kontiki recover' there, then move this member's data directory away and start it with --join",
			       was.text);
	if (known)
		return err_set(e, ERR_CORRUPT, "%s; nobody else has what it has: restore a snapshot, or see what is left with 'kontiki recover'", was.text);
	return err_set(e, ERR_CORRUPT,
		       "%s; " UNKNOWN ": if the others still work, remove this member, move its data directory away and start it with --join; "
		       "else restore a snapshot, or go on with what one member has: 'kontiki recover'",
		       was.text);
}

int repair_state(struct disk *d, const char *store_dir, uint64_t self, struct err *e)
{
	struct buf conf = BUF_INIT;
	bool known = stable_load_peers(d, &conf);
	unsigned others = repair_other_voters(conf.p, conf.n, self);
	struct err why = *e;
	int rc;

	uint64_t pair = repair_pair(d, self);

	buf_fini(&conf);
	if (others < 2 && !pair)
		return repair_refuse(e, known, others);
	err_clear(e);
	/* First the promise not to vote, then the loss. */
	rc = repair_promise(d, pair, e);
	if (rc == 0)
		rc = wal_set_aside(d, e);
	if (rc == 0)
		rc = store_set_aside(store_dir, e);
	if (rc != 0)
		return rc;
	log_error("raft", "%s", why.text);
	log_warn("raft", "log and store are put aside (raft/*.bad, store.bad); this member takes the whole state from the others, and %s until it has it",
		 pair ? "votes only for the other voter" : "does not vote");
	return 0;
}

/* --- Vote and identity ---------------------------------------------------------------------------------------------- */

/* Servers of `peers` with another name than ours: their voters are counted, their addresses told. */
static unsigned others_named(struct disk *d, const char *name, char addrs[KV_MAX_MEMBERS][KV_ADDR_MAX], size_t *ret_n, bool *ret_known)
{
	struct buf bytes = BUF_INIT;
	struct raft_configuration c;
	struct raft_buffer raw;
	unsigned voters = 0;
	size_t n = 0;

	*ret_known = stable_load_peers(d, &bytes);
	raw = (struct raft_buffer){bytes.p, bytes.n};
	if (*ret_known && msg_conf_ok(buf_str(&bytes)) && raft_configuration_decode(&raw, &c) == 0) {
		for (unsigned i = 0; i < c.n; i++) {
			struct kv_member o = {0};

			member__parse_address(c.servers[i].address, &o);
			if (strcmp(o.name, name) == 0 || n == KV_MAX_MEMBERS)
				continue;
			voters += c.servers[i].role == RAFT_VOTER;
			snprintf(addrs[n++], KV_ADDR_MAX, "%s", o.addr);
		}
		raft_configuration_close(&c);
	}
	buf_fini(&bytes);
	*ret_n = n;
	return voters;
}

size_t repair_addresses(struct disk *d, const char *name, char ret[KV_MAX_MEMBERS][KV_ADDR_MAX])
{
	bool known;
	size_t n;

	others_named(d, name, ret, &n, &known);
	return n;
}

static int put_aside(struct disk *d, const char *name, struct err *e)
{
	char bad[32];
	int rc;

	snprintf(bad, sizeof(bad), "%s.bad", name);
	rc = d->ops->rename(d, name, bad);
	return rc < 0 && rc != -ENOENT ? err_set_errno(e, -rc, "cannot put raft/%s aside", name) : 0;
}

int repair_identity(struct disk *d, const char *store_dir, const char *name, struct err *e)
{
	char addrs[KV_MAX_MEMBERS][KV_ADDR_MAX];
	struct err why = *e;
	unsigned others;
	bool known;
	size_t n;
	int rc;

	others = others_named(d, name, addrs, &n, &known);
	if (others < 2)
		return repair_refuse(e, known, others);
	err_clear(e);
	/* From here on it only ever joins: with neither files nor mark it would begin the cluster again. */
	rc = make_mark(d, REJOIN, e);
	if (rc == 0)
		rc = wal_set_aside(d, e);
	if (rc == 0)
		rc = store_set_aside(store_dir, e);
	if (rc == 0)
		rc = put_aside(d, "vote", e);
	if (rc == 0)
		rc = put_aside(d, "member", e);
	if (rc == 0 && (rc = d->ops->unlink(d, REPAIR_FORGETFUL)) < 0)
		rc = rc == -ENOENT ? 0 : err_set_errno(e, -rc, "cannot remove raft/" REPAIR_FORGETFUL);
	if (rc == 0 && (rc = d->ops->sync_dir(d)) < 0)
		rc = err_set_errno(e, -rc, "cannot sync the directory raft");
	if (rc != 0)
		return rc;
	if (why.code)
		log_error("raft", "%s", why.text);
	log_warn("raft", "nobody can tell any more for whom this member voted, so it joins again in its own place, under a new id; its files are put "
			 "aside (raft/*.bad, store.bad)");
	return 0;
}

bool repair_rejoins(struct disk *d)
{
	return there(d, REJOIN);
}

int repair_rejoined(struct disk *d, struct err *e)
{
	int rc = d->ops->unlink(d, REJOIN);

	if (rc == 0 || rc == -ENOENT)
		rc = d->ops->sync_dir(d);
	return rc < 0 ? err_set_errno(e, -rc, "cannot remove raft/" REJOIN) : 0;
}
