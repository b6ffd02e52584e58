#include "cli/kubelet_opts.h"

#include "base/util.h"
#include "proto/duration.h"

int kubelet_opts_read(const struct kubelet_opts *o, struct kubelet_limits *ret, struct err *e)
{
	struct image_gc_cfg gc = IMAGE_GC_DEFAULTS;
	int64_t ns;

	/* No number of percent, whatever is given, becomes one by being cut. */
	gc.high_percent = (int)MAX(MIN(o->image_high, (int64_t)1000), (int64_t)-1);
	gc.low_percent = (int)MAX(MIN(o->image_low, (int64_t)1000), (int64_t)-1);
	if (o->image_ttl) {
		if (!duration_parse(str_from(o->image_ttl), &ns))
			return err_set(e, ERR_BAD_REQUEST, "--minimum-image-ttl-duration \"%s\": give a duration such as 2m", o->image_ttl);
		gc.min_age_ms = ns / 1000000;
	}
	if (image_gc_check(&gc, e) < 0)
		return -(int)e->code;
	ret->image_gc = gc;
	return eviction_config(&o->eviction, &ret->eviction, e);
}
