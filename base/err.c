#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

static const struct {
	const char *name;
	int http;
	const char *reason;
	int grpc;
	const char *text;
} rows[ERR_N_CODES] = {
	[ERR_OK] = {"OK", 200, "", 0, "ok"},
#define ERR(name, http, reason, grpc, text) [ERR_##name] = {#name, http, reason, grpc, text},
#include "base/err.def"
#undef ERR
};

static unsigned row_of(enum err_code code)
{
	return (unsigned)code < ERR_N_CODES ? (unsigned)code : ERR_INTERNAL;
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL)
		return -(int)code;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return -(int)code;
}

static enum err_code code_of_errno(int errnum)
{
	switch (errnum) {
	case ENOENT:
		return ERR_NOT_FOUND;
	case EEXIST:
	case EADDRINUSE:
		return ERR_ALREADY_EXISTS;
	case EACCES:
	case EPERM:
		return ERR_FORBIDDEN;
	case ENOSPC:
	case EDQUOT:
		return ERR_NO_SPACE;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return ERR_UNAVAILABLE;
	case ECANCELED:
		return ERR_CANCELED;
	default:
		return ERR_IO;
	}
}

int err_set_errno(struct err *e, int errnum, const char *fmt, ...)
{
	enum err_code code = code_of_errno(errnum);
	va_list ap;
	size_t n;

	if (e == NULL)
		return -(int)code;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	n = strlen(e->text);
	snprintf(e->text + n, sizeof(e->text) - n, ": %s", strerror(errnum));
	return -(int)code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
	char old[ERR_TEXT_MAX];
	va_list ap;
	size_t n;

	if (e == NULL)
		return -(int)ERR_INTERNAL;
	memcpy(old, e->text, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	n = strlen(e->text);
	snprintf(e->text + n, sizeof(e->text) - n, ": %s", old);
	return -(int)e->code;
}

int err_http_status(enum err_code code)
{
	return rows[row_of(code)].http;
}

const char *err_reason(enum err_code code)
{
	return rows[row_of(code)].reason;
}

int err_grpc_code(enum err_code code)
{
	return rows[row_of(code)].grpc;
}

const char *err_name(enum err_code code)
{
	return rows[row_of(code)].name;
}

const char *err_text(enum err_code code)
{
	return rows[row_of(code)].text;
}

enum err_code err_from_http(int status)
{
	for (int i = 1; i < ERR_N_CODES; i++)
		if (rows[i].http == status)
			return (enum err_code)i;
	return status >= 200 && status < 300 ? ERR_OK : ERR_INTERNAL;
}

enum err_code err_from_grpc(int grpc_code)
{
	if (grpc_code == 0)
		return ERR_OK;
	for (int i = 1; i < ERR_N_CODES; i++)
		if (rows[i].grpc == grpc_code)
			return (enum err_code)i;
	return ERR_INTERNAL;
}

void assert_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "kontiki: %s:%d: assertion failed: %s\n", file, line, what);
	fflush(stderr);
	abort();
}

void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
