#include "cli/kubelet_opts.h"

#include <inttypes.h>

#include "base/util.h"
#include "proto/duration.h"

int kubelet_opts_read(const struct kubelet_opts *o, struct kubelet_limits *ret, struct err *e)
{
	struct image_gc_cfg gc = IMAGE_GC_DEFAULTS;
	int64_t ns;

	if (o->image_high < 0 || o->image_high > 100 || o->image_low < 0 || o->image_low > 100)
		return err_set(e, ERR_BAD_REQUEST, "--image-gc-high-threshold %" PRId64 ", --image-gc-low-threshold %" PRId64 ": must be from 0 to 100",
				o->image_high, o->image_low);
	gc.high_percent = (int)o->image_high;
	gc.low_percent = (int)o->image_low;
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
