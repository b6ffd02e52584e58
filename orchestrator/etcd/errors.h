/*
 * The one table of errors that clients see. Errors of the store carry etcd's text already and are found by it; those of
 * raft are told apart by their code: what may have happened becomes a kind of Unavailable, which clients never take for "it
 * did not happen".
 */
#ifndef ORCHESTRATOR_ETCD_ERRORS_H
#define ORCHESTRATOR_ETCD_ERRORS_H

#include "base/err.h"

enum etcd_error {
	ETCD_ERR_OK,
#define ETCD_ERROR(name, code, text) ETCD_ERR_##name,
#include "orchestrator/etcd/errors.def"
#undef ETCD_ERROR
	ETCD_N_ERRORS,
};

int etcd_error_code(enum etcd_error); /* enum grpc_code */
const char *etcd_error_text(enum etcd_error);
/* A gRPC code as gRPC's Go library spells it. */
const char *etcd_code_name(int code);
/* The row for an error; ETCD_ERR_OK when there is none: then err_grpc_code and its own text are what is told. */
enum etcd_error etcd_error_of(const struct err *);

#endif
