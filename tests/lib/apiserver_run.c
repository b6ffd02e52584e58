/*
 * A server of one member with nothing but store and API, for trying the API by hand and for tests of it:
 *
 *	apiserver_run DIR [PORT [sync|nosync [SEATS]]]
 *
 * makes a CA and certificates in DIR, starts, writes DIR/admin.kubeconfig, prints "ready PORT", and runs until SIGTERM. Without "sync" the
 * log is not synced to the disk.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver.h"
#include "raft/kv.h"
#include "tests/lib/apiserver_pki.h"

static void fail(const char *what, const struct err *e)
{
	fprintf(stderr, "apiserver_run: %s: %s\n", what, e->text);
	exit(1);
}

int main(int argc, char **argv)
{
	struct apiserver_cfg cfg = {0};
	struct kv_cfg kc = {.name = "n1"};
	struct apiserver *srv;
	struct kv *kv;
	struct err e = ERR_INIT;
	char path[4096];
	sigset_t set;
	int sig;

	if (argc < 2)
		return 2;
	if (getenv("APISERVER_DEBUG"))
		log_set_level("debug");
	mkdir(argv[1], 0700);
	if (apiserver_pki_make(argv[1], &e) < 0)
		fail("pki", &e);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	kc.data_dir = argv[1];
	kc.nosync = argc < 4 || strcmp(argv[3], "sync") != 0;
	if (kv_start(&kc, &kv, &e) < 0)
		fail("kv", &e);
	apiserver_pki_cfg(argv[1], &cfg);
	snprintf(path, sizeof(path), "127.0.0.1:%s", argc > 2 ? argv[2] : "0");
	cfg.listen = path;
	cfg.advertise = "127.0.0.1";
	cfg.name = "n1";
	cfg.max_requests = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;
	if (apiserver_start(&cfg, kv, &srv, &e) < 0)
		fail("apiserver", &e);
	if (apiserver_pki_kubeconfig(argv[1], apiserver_port(srv), &e) < 0)
		fail("kubeconfig", &e);
	printf("ready %u\n", apiserver_port(srv));
	fflush(stdout);
	sigwait(&set, &sig);
	apiserver_stop(srv);
	kv_stop(kv);
	return 0;
}
