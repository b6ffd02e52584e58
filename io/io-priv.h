/* What the files of io/ share and nobody else sees. */
#ifndef IO_IO_PRIV_H
#define IO_IO_PRIV_H

#include "base/buf.h"
#include "base/err.h"
#include "io/loop.h"

/* A second block for one turn, for plaintext while loop_scratch holds ciphertext. */
#define LOOP_PLAIN_SIZE 16384
char *loop__plain(struct loop *);

/* "host:port", "[v6]:port", ":port", "unix:/path" or "/path". */
struct io__address {
	bool is_unix;
	char host[256]; /* or the socket's path; empty or "*": any */
	uint16_t port;
};
int io__parse_address(const char *address, struct io__address *ret, struct err *);

#endif
