/*
 * JSON in tests: text that is JSON or the test fails, and JSON that is written in C with ' for " (and ` for ').
 *
 *	o = json_must(&arena, str_from(json_quoted(&arena, "{'metadata':{'name':'a'}}")));
 */
#ifndef TESTS_LIB_JSON_WORDS_H
#define TESTS_LIB_JSON_WORDS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/arena.h"
#include "proto/json.h"

static inline struct json *json_must(struct arena *a, struct str text)
{
	struct json *doc = NULL;
	struct err e = ERR_INIT;

	if (json_parse(a, text, NULL, &doc, &e) < 0)
		fail_msg("%s: %.*s", e.text, STR_FMT(text));
	return doc;
}

static inline const char *json_quoted(struct arena *a, const char *text)
{
	char *copy = arena_strdup(a, text);

	for (char *p = copy; *p; p++)
		*p = *p == '\'' ? '"' : *p == '`' ? '\'' : *p;
	return copy;
}

#endif
