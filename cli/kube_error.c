#include "cli/kube_error.h"

#include <string.h>

#include "proto/json.h"

/* One cause stands on the same line; several are listed. The same text counts once. */
static void causes(struct buf *b, const struct json *list)
{
	size_t n = 0, first = b->n;

	JSON_ITEMS (c, list) {
		bool seen = false;

		JSON_ITEMS (before, list) {
			if (before == c)
				break;
			seen |= json_equal(before, c);
		}
		if (seen)
			continue;
		/* The first one's line is only begun once there is a second. */
		if (++n == 2) {
			struct buf one = BUF_INIT;

			buf_adds(&one, str_skip(buf_str(b), first));
			b->n = first;
			buf_printf(b, "\n* %s", one.p);
			buf_fini(&one);
		}
		if (n >= 2)
			buf_addc(b, "\n* ");
		buf_printf(b, "%s: %s", json_cstr(json_getc(c, "field")), json_cstr(json_getc(c, "message")));
	}
	buf_add1(b, '\n');
}

bool kube_status_text(struct buf *b, const struct json *status, const char *when)
{
	const char *reason = json_cstr(json_getc(status, "reason")), *message = json_cstr(json_getc(status, "message"));
	const struct json *details = json_getc(status, "details");

	if (!json_eqc(json_getc(status, "kind"), "Status"))
		return false;
	if (strcmp(reason, "Invalid") == 0 && json_len(json_getc(details, "causes"))) {
		buf_printf(b, "The %s \"%s\" is invalid: ", json_cstr(json_getc(details, "kind")), json_cstr(json_getc(details, "name")));
		causes(b, json_getc(details, "causes"));
		return true;
	}
	if (strcmp(reason, "Unauthorized") == 0)
		buf_addc(b, "error: You must be logged in to the server (");
	else if (*reason)
		buf_printf(b, "Error from server (%s): ", reason);
	else
		buf_addc(b, "Error from server: ");
	if (when)
		buf_printf(b, "%s: ", when);
	buf_printf(b, "%s%s\n", *message ? message : "unknown", strcmp(reason, "Unauthorized") == 0 ? ")" : "");
	return true;
}
