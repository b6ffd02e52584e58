#include "orchestrator/etcd/errors.h"

#include <string.h>

#include "base/util.h"
#include "io/grpc.h"

static const struct {
	int code;
	const char *text;
} rows[ETCD_N_ERRORS] = {
		[ETCD_ERR_OK] = {GRPC_OK, ""},
#define ETCD_ERROR(name, code, text) [ETCD_ERR_##name] = {GRPC_##code, text},
#include "orchestrator/etcd/errors.def"
#undef ETCD_ERROR
};

int etcd_error_code(enum etcd_error error)
{
	ASSERT(error < ETCD_N_ERRORS);
	return rows[error].code;
}

const char *etcd_error_text(enum etcd_error error)
{
	ASSERT(error < ETCD_N_ERRORS);
	return rows[error].text;
}

const char *etcd_code_name(int code)
{
	static const char *const names[] = {"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
			"PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal",
			"Unavailable", "DataLoss", "Unauthenticated"};

	return code >= 0 && code < (int)ARRAY_LEN(names) ? names[code] : "Unknown";
}

/* Errors of raft (raft/kv.h) by their code. */
static const struct {
	enum err_code code;
	enum etcd_error error;
} by_code[] = {
		{ERR_TIMEOUT, ETCD_ERR_TIMEOUT},
		{ERR_UNAVAILABLE, ETCD_ERR_TIMEOUT_LEADER_FAILED},
		{ERR_TOO_LARGE, ETCD_ERR_REQUEST_TOO_LARGE},
		{ERR_TOO_MANY, ETCD_ERR_TOO_MANY_REQUESTS},
		{ERR_NO_SPACE, ETCD_ERR_NO_SPACE},
		{ERR_NOT_LEADER, ETCD_ERR_NOT_LEADER},
		{ERR_CANCELED, ETCD_ERR_CANCELED},
};

enum etcd_error etcd_error_of(const struct err *e)
{
	if (strncmp(e->text, "etcdserver: ", 12) == 0)
		for (int i = 1; i < ETCD_N_ERRORS; i++)
			if (strcmp(rows[i].text, e->text) == 0)
				return (enum etcd_error)i;
	for (size_t i = 0; i < ARRAY_LEN(by_code); i++)
		if (by_code[i].code == e->code)
			return by_code[i].error;
	return ETCD_ERR_OK;
}
