/* What must hold after each event of a simulated member: one vote and one leader a term, one history, no way back. */
#include "tests/sim/node-priv.h"

#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "raft/member-priv.h"
#include "tests/sim/world.h"

/*
 * One vote a term under one id, whatever happens to the member in between: a candidate's own, of which its request tells, or one that is
 * granted. One that gets lost on its way counts, too.
 */
void node__note_vote(struct node *n, uint64_t to_id, struct str frame)
{
	struct world *w = n->w;
	struct sim_vote v = {.voter = n->id};
	struct msg msg;

	if ((frame.p[4] != MSG_VOTE && frame.p[4] != MSG_VOTE_RESULT) || msg_decode(frame, &msg, NULL) != 0)
		return;
	if (msg.kind == MSG_VOTE ? msg.vote.pre_vote : msg.vote_result.pre_vote || !msg.vote_result.vote_granted)
		return;
	v.term = msg.kind == MSG_VOTE ? msg.vote.term : msg.vote_result.term;
	v.candidate = msg.kind == MSG_VOTE ? n->id : to_id;
	for (size_t i = w->n_votes; i-- > 0;)
		if (w->votes[i].voter == v.voter && w->votes[i].term == v.term) {
			if (w->votes[i].candidate != v.candidate)
				sim_fail(w, "%s votes twice in term %" PRIu64 ": for %016" PRIx64 " and for %016" PRIx64, n->name, v.term,
					 w->votes[i].candidate, v.candidate);
			return;
		}
	if (w->n_votes == w->cap_votes) {
		w->cap_votes = w->cap_votes ? w->cap_votes * 2 : 256;
		w->votes = xrealloc(w->votes, w->cap_votes * sizeof(*w->votes));
	}
	w->votes[w->n_votes++] = v;
}

/* Remember value for key; false when another value is known. */
#define REMEMBER(w, table, k, v)                                                                   \
	({                                                                                         \
		bool same_ = true, found_ = false;                                                 \
		for (size_t i_ = (w)->n_##table; i_-- > 0 && !found_;)                             \
			if ((w)->table[i_].key == (k)) {                                           \
				found_ = true;                                                     \
				same_ = (w)->table[i_].value == (v);                               \
			}                                                                          \
		if (!found_) {                                                                     \
			if ((w)->n_##table == (w)->cap_##table) {                                  \
				(w)->cap_##table = (w)->cap_##table ? (w)->cap_##table * 2 : 256;  \
				(w)->table = xrealloc((w)->table, (w)->cap_##table * sizeof(*(w)->table)); \
			}                                                                          \
			(w)->table[(w)->n_##table].key = (k);                                      \
			(w)->table[(w)->n_##table++].value = (v);                                  \
		}                                                                                  \
		same_;                                                                             \
	})

static void check_hash(struct node *n)
{
	struct store_hash h = store_rolling_hash(n->store);
	struct world *w = n->w;

	if (h.index == n->last_index)
		return;
	/* What lingered is undone when it cannot be committed, but then the member takes no part any more. */
	if (h.index < n->last_index && member__runs(n->member))
		sim_fail(w, "%s: the applied index went back from %" PRIu64 " to %" PRIu64, n->name, n->last_index, h.index);
	n->last_index = h.index;
	/* By index modulo the table: a power of two large enough for any run. */
	if (h.index >= w->cap_hashes) {
		size_t cap = MAX(w->cap_hashes * 2, 4096);

		while (cap <= h.index)
			cap *= 2;
		w->hashes = xrealloc(w->hashes, cap * sizeof(*w->hashes));
		memset(w->hashes + w->cap_hashes, 0, (cap - w->cap_hashes) * sizeof(*w->hashes));
		w->cap_hashes = cap;
	}
	if (w->hashes[h.index].key == 0) {
		w->hashes[h.index].key = h.index;
		w->hashes[h.index].value = h.hash;
	} else if (w->hashes[h.index].value != h.hash) {
		sim_fail(w, "%s: state differs from another member's at index %" PRIu64, n->name, h.index);
	}
}

static void check_revision(struct node *n)
{
	int64_t revision = store_revision(n->store);
	struct world *w = n->w;

	if (revision < n->last_revision && member__runs(n->member))
		sim_fail(w, "%s: the revision went back from %" PRId64 " to %" PRId64, n->name, n->last_revision, revision);
	if (n->hub && watch_hub_revision(n->hub) < revision && !store_is_sealed(n->store))
		node_hub_soon(n);
	n->last_revision = revision;
	if (revision > w->max_revision) {
		w->max_revision = revision;
		history_seen(w->history, revision, w->now);
	}
}

static void note_admission(struct node *n, const struct raft *r)
{
	for (unsigned i = 0; i < r->configuration.n && r->configuration_uncommitted_index == 0 && !n->admitted; i++)
		n->admitted = r->configuration.servers[i].id == n->id;
}

void node_check(struct node *n)
{
	struct raft *r = member_raft(n->member);
	struct world *w = n->w;

	if (w->failure[0])
		return;
	note_admission(n, r);
	check_hash(n);
	check_revision(n);
	if (member_is_leader(n->member)) {
		size_t before = w->n_leaders;

		if (!REMEMBER(w, leaders, raft_current_term(r), (uint64_t)n->index + 1))
			sim_fail(w, "two leaders in term %llu, one is %s", raft_current_term(r), n->name);
		w->n_elections += w->n_leaders - before;
		if (w->n_leaders > before)
			w->elected_at = w->now;
		if (w->n_leaders > before)
			sim_trace(w, "%s leads term %llu", n->name, raft_current_term(r));
	}
}
