/*
 * Files that are damaged when a member starts, and what may be done about it by itself, without ever taking back a vote or
 * an acknowledgement that was given.
 *
 *	the end of the log           put aside; the member is forgetful (member_disk.c) until a leader has given it back
 *	the store, or log and store  both put aside; identity and vote are whole, so it is the same member with an empty log,
 *	  that do not fit            and forgetful: it neither votes nor stands for election, and gets the whole state anew
 *	vote or identity             nobody can say any more for whom it voted, so it must not be this member again: all is put
 *	                             aside, and it joins under a new id in the place of its dead self, as a learner at first
 *
 * Two other voters at least have what is lost, and can go on without this one. Who they are is read from the file `peers`. Of two voters
 * nobody leads without the other's vote, and yet the first two rows are possible: a majority of two is both, so whatever was committed, the
 * other one has. The forgetful member gives its vote to that one, whatever is left of its own log, and to nobody else, until it has caught
 * up. It must be certain who the two are: a third one, of whom only the lost part told, may have something that the other one lacks. So the
 * file `settled` is there only while no change of members is under way (repair_pair). A vote that is lost is another matter: to vote twice in
 * a term would make two leaders; then, and for a lone member, the start fails with the reason, for a person to decide.
 *
 * Nothing is thrown away: log segments become raft/NNNNNNNN.bad, the store's directory store.bad, small files NAME.bad (of one
 * repair; the next one replaces them). Every step may be cut off by a crash and is taken again at the next start.
 */
#ifndef RAFT_REPAIR_H
#define RAFT_REPAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "raft/disk.h"
#include "raft/kv.h"

/* There while a member does not vote because of what it has forgotten. */
#define REPAIR_FORGETFUL "forgetful"
#define REPAIR_SETTLED "settled"

/* Voters other than `self` in an encoded configuration; 0 when it cannot be read. */
unsigned repair_other_voters(const void *conf, size_t size, uint64_t self);
/* *e: in, what is wrong; out, also why nothing is done about it, and what a person may do. known: it is known who else votes. */
int repair_refuse(struct err *e, bool known, unsigned others);
/*
 * From now on this member has forgotten something: durable when it returns 0. pair: repair_pair, or 0, which takes back what was said of one
 * before.
 */
int repair_promise(struct disk *, uint64_t pair, struct err *);
/* Has it? *ret_pair: the only one whom it may give its vote meanwhile; 0: nobody. When in doubt it has. */
bool repair_forgetful(struct disk *, uint64_t *ret_pair);
/*
 * The other one of two voters, if that is for certain who votes; else 0. All that was ever committed with this member's acknowledgement was
 * acknowledged by that one, too: it may be given a vote even when nobody knows any more what this one had.
 */
uint64_t repair_pair(struct disk *, uint64_t self);
/* The same of an encoded configuration. */
uint64_t repair_other_of_two(const void *conf, size_t size, uint64_t self);
/* `settled`: no change of members is under way that this member has heard of, and `peers` tells how the last one ended. */
int repair_settle(struct disk *, struct err *);
int repair_unsettle(struct disk *, struct err *);
bool repair_is_settled(struct disk *);

/*
 * *e: in, what is wrong (ERR_CORRUPT). 0: log and store are put aside, and the store may be opened as a new one; nobody has
 * them open. Else *e says why that would not be safe.
 */
int repair_state(struct disk *, const char *store_dir, uint64_t self, struct err *e);

/* The same for vote and identity of the member `name`. 0: it has to join; repair_rejoined ends it. */
int repair_identity(struct disk *, const char *store_dir, const char *name, struct err *e);
/* A repair_identity was begun, and the member has not been admitted anew. */
bool repair_rejoins(struct disk *);
int repair_rejoined(struct disk *, struct err *);
/* Where the other members listen; how many. */
size_t repair_addresses(struct disk *, const char *name, char ret[KV_MAX_MEMBERS][KV_ADDR_MAX]);

#endif
