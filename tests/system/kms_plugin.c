/* A KMS plugin for the shell tests: kms_plugin SOCKET KEY-FILE, until SIGTERM. See tests/lib/kms_server.h. */
#include <signal.h>
#include <stdio.h>

#include "base/err.h"
#include "tests/lib/kms_server.h"

int main(int argc, char **argv)
{
	struct kms_server *s;
	struct err e = ERR_INIT;
	sigset_t set;
	int signum;

	if (argc != 3) {
		fprintf(stderr, "usage: kms_plugin SOCKET KEY-FILE\n");
		return 2;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (kms_server_start(argv[1], argv[2], &s, &e) < 0) {
		fprintf(stderr, "kms_plugin: %s\n", e.text);
		return 1;
	}
	sigwait(&set, &signum);
	printf("encrypts %u decrypts %u\n", kms_server_encrypts(s), kms_server_decrypts(s));
	kms_server_stop(s);
	return 0;
}
