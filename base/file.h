/*
 * Whole files: read, and replaced in one step, so that a reader sees the old bytes or the new ones and a crash leaves one of the two.
 *
 *	struct buf b;
 *
 *	rv = file_get(path, 1 << 20, &b, e);
 *	...
 *	rv = file_put(path, buf_str(&b), 0600, true, e);
 *
 * They block; loops call them for small local files only.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * At most `limit` bytes, else ERR_TOO_LARGE, and `out` has the first of them. It is initialised here and is the caller's, after an
 * error too.
 */
int file_get(const char *path, size_t limit, struct buf *out, struct err *);

/*
 * With exactly this mode, whatever the umask is. durable: the bytes are on the disk before they take the old ones' place. After an
 * error the old file is still there and nothing of the new one is left.
 */
int file_put(const char *path, struct str bytes, mode_t mode, bool durable, struct err *);

#endif
