/* Certificates and keys for a test server, in files of one directory. */
#ifndef TESTS_LIB_APISERVER_PKI_H
#define TESTS_LIB_APISERVER_PKI_H

#include <stdint.h>

#include "base/err.h"

struct apiserver_cfg;

/* ca.crt, server.{crt,key}, admin.{crt,key} (system:masters), node1.{crt,key} (system:node:node1), sa.key, tokens */
int apiserver_pki_make(const char *dir, struct err *);
/* Point the cfg's file members there; the strings are static until the next call. */
void apiserver_pki_cfg(const char *dir, struct apiserver_cfg *);
int apiserver_pki_kubeconfig(const char *dir, uint16_t port, struct err *);

#endif
