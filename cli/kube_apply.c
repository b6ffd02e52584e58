#include "cli/kube_apply.h"

#include "proto/json.h"
#include "proto/patch.h"

#define CHANGE_CAUSE "kubernetes.io/change-cause"

struct json *apply_modified(struct arena *a, const struct json *doc, const char *ns, const char *cause)
{
	struct json *obj = json_copy(a, doc), *annotations;
	struct buf b = BUF_INIT;

	if (ns)
		json_setp(a, obj, "metadata.namespace", json_newc(a, ns));
	annotations = json_getp(obj, "metadata.annotations");
	if (!json_is(annotations, JSON_OBJECT)) {
		annotations = json_new_object(a);
		json_setp(a, obj, "metadata.annotations", annotations);
	}
	json_delc(annotations, APPLY_LAST);
	if (cause)
		json_setc(a, annotations, CHANGE_CAUSE, json_newc(a, cause));
	/* kubectl's form: sorted, with a newline, and with annotations even if there are none. */
	json_print(&b, obj, JSON_SORTED);
	buf_add1(&b, '\n');
	json_setc(a, annotations, APPLY_LAST, json_new_str(a, buf_str(&b)));
	buf_fini(&b);
	return obj;
}

static struct str last_of(const struct json *live)
{
	return json_str(json_getc(json_getp(live, "metadata.annotations"), APPLY_LAST));
}

bool apply_has_last(const struct json *live)
{
	return last_of(live).n > 0;
}

int apply_patch(struct arena *a, const struct schema_type *type, const struct json *modified, const struct json *live, struct json **ret,
		struct err *e)
{
	struct json *original = NULL;

	if (apply_has_last(live) && json_parse(a, last_of(live), NULL, &original, e) < 0)
		return err_prefix(e, "the annotation " APPLY_LAST);
	return patch_make_three_way(a, type, original, modified, live, ret, e);
}
