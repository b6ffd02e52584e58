#include "tests/unit/proto/codec_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"

struct str encode(struct arena *a, const struct schema_type *t, const struct json *dom)
{
	struct codec_errs errs;
	struct buf b = BUF_INIT;
	struct str s;

	codec_errs_init(&errs, a);
	codec_to_wire(&b, t, dom, &errs);
	for (size_t i = 0; i < errs.n; i++)
		fail_msg("%s: %s: %s", t->name, errs.items[i].path, errs.items[i].message);
	s = arena_str(a, buf_str(&b));
	buf_fini(&b);
	return s;
}

struct str to_json(struct arena *a, const struct schema_type *t, struct str wire, const struct codec_opts *opts)
{
	struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	struct str s;

	if (codec_wire_to_json(&b, t, wire, opts, &e) < 0)
		fail_msg("%s", e.text);
	s = arena_str(a, buf_str(&b));
	buf_fini(&b);
	return s;
}

const struct schema_type *type_of(const struct json *j)
{
	const struct schema_type *t = codec_type(json_strp(j, "apiVersion"), json_strp(j, "kind"));

	if (!t)
		fail_msg("no type for %s %s", json_cstr(json_getc(j, "apiVersion")), json_cstr(json_getc(j, "kind")));
	return t;
}

const char *source_dir(void)
{
	return getenv("srcdir") ? getenv("srcdir") : ".";
}

struct str protoc(struct arena *a, const char *what, const char *type, const char *more, struct str in)
{
	char in_path[] = "/tmp/kt-codec-in-XXXXXX";
	int fd = mkstemp(in_path);
	struct buf out = BUF_INIT;
	char *command;
	FILE *f;
	size_t n;
	struct str s;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, in.p, in.n), in.n);
	close(fd);
	command = arena_printf(a, "cd %s && " PROTOC " -I. -I/tmp --%s=%s proto/*.proto %s < %s", source_dir(), what, type, more, in_path);
	f = popen(command, "r");
	assert_non_null(f);
	while ((n = fread(buf_reserve(&out, 65536), 1, 65536, f)) > 0)
		buf_advance(&out, n);
	if (pclose(f) != 0)
		fail_msg("failed: %s", command);
	unlink(in_path);
	s = arena_str(a, buf_str(&out));
	buf_fini(&out);
	return s;
}
