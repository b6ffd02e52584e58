/* Configurations of an etcd program: a file's text, or (first byte below '!') words of a command line, a line each. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/util.h"
#include "cli/etcd_config.h"

#define MAX_WORDS 64

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static void check_result(const struct etcd_config *c)
{
	ASSERT(c->name != NULL && c->data_dir != NULL && c->log_level != NULL);
	ASSERT(c->n_initial >= 1 && c->n_initial <= ETCD_MAX_INITIAL);
	ASSERT(c->listen_peer.n == 1 && c->advertise_peer.n >= 1);
	ASSERT(5 * c->heartbeat_ms <= c->election_ms);
	for (size_t i = 0; i < c->n_initial; i++)
		ASSERT(c->initial[i].peer.n >= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	char *words[MAX_WORDS], *none[] = {NULL}, **env = none;
	struct etcd_config c;
	struct err e = ERR_INIT;
	int argc = 0, rc;

	etcd_config_init(&c);
	if (size > 0 && p[0] < '!') {
		char *text = arena_cstr(&c.arena, str_of(p + 1, size - 1)), *save = NULL;
		char *two[] = {NULL, NULL};

		/* The first line is the environment. */
		two[0] = strtok_r(text, "\n", &save);
		env = two;
		for (char *w; argc < MAX_WORDS && (w = strtok_r(NULL, "\n", &save)) != NULL;)
			words[argc++] = w;
		rc = etcd_config_read(&c, argc, words, env, &e);
	} else {
		rc = etcd_config_read_yaml(&c, str_of(p, size), &e);
	}
	if (rc == 0 && !c.help && !c.version && c.file == NULL)
		rc = etcd_config_check(&c, &e);
	if (rc == 0 && !c.help && !c.version && c.file == NULL)
		rc = etcd_config_check_initial(&c, &e);
	if (rc == 0 && !c.help && !c.version && c.file == NULL)
		check_result(&c);
	ASSERT(rc == 0 || e.text[0] != '\0');
	etcd_config_fini(&c);
	return 0;
}
