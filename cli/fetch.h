/* One HTTPS request, waited for: for commands and for joining. Must not be called on a loop's thread. */
#ifndef CLI_FETCH_H
#define CLI_FETCH_H

#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct tls_ctx;

struct fetch {
	const char *address;     /* "ip:port" */
	const char *server_name; /* NULL: the host of the address */
	struct tls_ctx *tls;
	const char *method, *path;
	const char *token;       /* bearer token or NULL */
	struct str body;         /* JSON, or empty */
	unsigned timeout_ms;     /* 0: 10 s */
	/* Result; in the arena. */
	int status;
	struct str answer;
};
/* 0 when an answer came, whatever its status. */
int fetch(struct fetch *, struct arena *, struct err *e);

#endif
