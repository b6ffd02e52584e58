#include "proto/validate.h"

#include <string.h>

#include "base/util.h"
#include "proto/resource.h"
#include "proto/validate-priv.h"

static const struct {
	const char *api_version, *kind;
	validate__fn *fn;
} kinds[] = {
	{"v1", "Pod", NULL},
};

void validate_object(const struct resource *res, const char *sub, const struct json *obj, const struct json *old, struct field_errs *errs)
{
	struct validate__ctx c = {res, sub ? sub : "", obj, old, errs};
	struct field_path meta = field_child(NULL, "metadata");

	validate__meta(&c, &meta);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].fn && strcmp(kinds[i].api_version, res->api_version) == 0 && strcmp(kinds[i].kind, res->kind) == 0)
			kinds[i].fn(&c);
}
