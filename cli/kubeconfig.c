/* Merging a kubeconfig into the user's own; declared in cli/local_wait.h. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/local.h"
#include "cli/local_wait.h"
#include "proto/json.h"
#include "proto/yaml.h"

#define LIMIT (8u << 20)

/* The file that kubectl would write to. */
static int target_path(char out[PATH_MAX], struct err *e)
{
	const char *env = getenv("KUBECONFIG"), *home = getenv("HOME");
	struct str first, rest;

	if (env && *env) {
		str_cut(str_from(env), ':', &first, &rest);
		snprintf(out, PATH_MAX, "%.*s", STR_FMT(first));
		return 0;
	}
	if (home == NULL || *home == '\0')
		return err_set(e, ERR_FAILED_PRECONDITION, "neither KUBECONFIG nor HOME is set: nowhere to merge to");
	snprintf(out, PATH_MAX, "%s/.kube", home);
	if (dir_make(out, 0700, e) < 0)
		return -(int)e->code;
	snprintf(out, PATH_MAX, "%s/.kube/config", home);
	return 0;
}

/* Entries of `list` in `from` replace those of the same name in `to`, or come behind them. */
static void merge_list(struct arena *a, struct json *to, const struct json *from, const char *list)
{
	struct json *have = json_getc(to, list);

	if (!json_is(have, JSON_ARRAY)) {
		have = json_new_array(a);
		json_setc(a, to, list, have);
	}
	JSON_ITEMS (add, json_getc(from, list)) {
		for (size_t i = json_len(have); i-- > 0;)
			if (json_equal(json_getc(json_at(have, i), "name"), json_getc(add, "name")))
				json_del_at(have, i);
		json_push(a, have, json_copy(a, add));
	}
}

int kubeconfig_merge(const char *text, struct err *e)
{
	char path[PATH_MAX], *old = NULL;
	struct json *from = NULL, *to = NULL;
	struct buf out = BUF_INIT;
	struct arena a;
	int rv = target_path(path, e);

	arena_init(&a);
	if (rv == 0)
		rv = yaml_parse(&a, str_from(text), &from, e);
	if (rv == 0 && access(path, F_OK) == 0) {
		old = file_read(path, LIMIT, e);
		rv = old ? yaml_parse(&a, str_from(old), &to, e) : -(int)ERR_IO;
		if (rv < 0)
			err_prefix(e, "%s", path);
	}
	if (rv == 0) {
		if (!json_is(to, JSON_OBJECT)) {
			to = json_new_object(&a);
			json_setc(&a, to, "apiVersion", json_newc(&a, "v1"));
			json_setc(&a, to, "kind", json_newc(&a, "Config"));
		}
		merge_list(&a, to, from, "clusters");
		merge_list(&a, to, from, "users");
		merge_list(&a, to, from, "contexts");
		json_setc(&a, to, "current-context", json_copy(&a, json_getc(from, "current-context")));
		yaml_print(&out, to);
		rv = file_put(path, buf_str(&out), 0600, true, e);
	}
	if (rv == 0)
		printf("merged into %s; the current context is %s\n", path, json_cstr(json_getc(to, "current-context")));
	buf_fini(&out);
	arena_fini(&a);
	free(old);
	return rv;
}
