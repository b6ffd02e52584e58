/*
 * A running server keeps its certificates fresh: now and then it looks whether one is missing or about to expire, makes it anew, and
 * takes up what has changed on disk, whoever changed it (`kontiki cert rotate`, an administrator with new keys, a new file of
 * encryption keys). Nothing restarts.
 */
#ifndef CLI_RENEW_H
#define CLI_RENEW_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/pki.h"

#define RENEW_EVERY_S 10
/* Whether something is due is looked at less often, unless a file has changed. */
#define RENEW_CHECK_S 600

struct renew {
	const char *pki_dir;
	struct pki_node node;
	const char *also; /* one more file to look at; NULL: none */
	uint64_t stamp;   /* of the files as they were taken up */
	uint64_t checked_ms;
};
/* Before the certificates are loaded. */
void renew_init(struct renew *, const char *pki_dir, const struct pki_node *, const char *also);
/* Renews what is due. True: files have changed since the last time, and should be loaded again. */
bool renew_look(struct renew *);

#endif
