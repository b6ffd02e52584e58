/*
 * Errors: a code from one table (base/err.def) and a message for a person, by value, without heap memory.
 *
 * A fallible function returns 0 or a negative code and takes `struct err *e` last (NULL is allowed):
 *
 *	if (n > limit)
 *		return err_set(e, ERR_TOO_LARGE, "body of %zu bytes is over the limit of %zu", n, limit);
 *
 * The message says what failed, why, and where it helps what to do. It is cut at ERR_TEXT_MAX bytes.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err_code {
	ERR_OK = 0,
#define ERR(name, http, reason, grpc, text) ERR_##name,
#include "base/err.def"
#undef ERR
	ERR_N_CODES,
};

#define ERR_TEXT_MAX 512

struct err {
	enum err_code code;
	char text[ERR_TEXT_MAX];
};

#define ERR_INIT {.code = ERR_OK, .text = {0}}

/* Fill *e (if not NULL) and return -code, so that callers can `return err_set(...)`. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As err_set, with ": " and strerror(errnum) appended. Code ERR_IO unless errnum has a closer one. */
int err_set_errno(struct err *e, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Put "text: " in front of the message already in *e; returns -e->code. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline void err_clear(struct err *e)
{
	e->code = ERR_OK;
	e->text[0] = '\0';
}

/* Table look-ups; unknown codes answer as ERR_INTERNAL. */
int err_http_status(enum err_code code);
const char *err_reason(enum err_code code);
int err_grpc_code(enum err_code code);
const char *err_name(enum err_code code);
/* The table's short text, for messages that have nothing better. */
const char *err_text(enum err_code code);
/* The code for an HTTP status as a client sees it (first row with that status; else INTERNAL). */
enum err_code err_from_http(int status);
enum err_code err_from_grpc(int grpc_code);

#endif
