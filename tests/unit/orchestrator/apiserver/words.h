/* The few words in which the tests of a server (rig.h) ask and look at answers; all that is made lives in the rig's arena. */
#ifndef TESTS_UNIT_APISERVER_WORDS_H
#define TESTS_UNIT_APISERVER_WORDS_H

#include <string.h>

#include "tests/lib/json_words.h"
#include "tests/unit/orchestrator/apiserver/rig.h"

#define MERGE "application/merge-patch+json"
#define STRATEGIC "application/strategic-merge-patch+json"
#define JSON_PATCH "application/json-patch+json"
#define APPLY "application/apply-patch+yaml"

/* For groups of tests that need a server, and for those that need only the arena. */
static inline int with_server(void **state)
{
	(void)state;
	rig_start();
	return 0;
}

/* And one with the account that pods run as, and that tokens are asked for. */
static inline int with_account(void **state)
{
	with_server(state);
	rig_call("POST", "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}", 201);
	return 0;
}

static inline int without_server(void **state)
{
	(void)state;
	rig_stop();
	return 0;
}

static inline int with_arena(void **state)
{
	(void)state;
	arena_init(&rig_arena);
	return 0;
}

static inline int without_arena(void **state)
{
	(void)state;
	arena_fini(&rig_arena);
	return 0;
}

/* The string at a path is that one; "" stands for none, too. */
static inline void is(const struct json *doc, const char *path, const char *want)
{
	assert_string_equal(arena_cstr(&rig_arena, json_strp(doc, path)), want);
}

static inline const char *text(const struct json *doc)
{
	return arena_cstr(&rig_arena, json_text(&rig_arena, doc));
}

static inline const char *quoted(const char *line)
{
	return json_quoted(&rig_arena, line);
}

static inline struct json *parse(const char *line)
{
	return json_must(&rig_arena, str_from(quoted(line)));
}

/* n times `unit` between two ends. */
static inline const char *repeat(const char *head, const char *unit, size_t n, const char *tail)
{
	size_t u = strlen(unit), h = strlen(head);
	char *p = arena_alloc(&rig_arena, h + n * u + strlen(tail) + 1);

	memcpy(p, head, h);
	for (size_t i = 0; i < n; i++)
		memcpy(p + h + i * u, unit, u);
	memcpy(p + h + n * u, tail, strlen(tail) + 1);
	return p;
}

static inline struct json *patch(const char *path, const char *type, const char *body, int want)
{
	rig_type(type);
	return rig_call("PATCH", path, body, want);
}

#endif
