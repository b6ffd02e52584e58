#include "orchestrator/apiserver/list_count.h"

#include "orchestrator/apiserver/convert.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/list_form.h"
#include "orchestrator/apiserver/read.h"
#include "orchestrator/apiserver/storage.h"
#include "store/view.h"

void list_count_init(struct list_count *c, const struct api_list_scan *s)
{
	*c = (struct list_count){.next = BUF_INIT, .last = BUF_INIT, .end = s->end, .rev = s->rev, .rest = -1};
	buf_adds(&c->next, s->key);
}

void list_count_fini(struct list_count *c)
{
	buf_fini(&c->next);
	buf_fini(&c->last);
}

static void go_on_behind(struct list_count *c, struct str key)
{
	buf_clear(&c->next);
	buf_adds(&c->next, key);
	buf_add1(&c->next, '\0');
}

/* An object of the list, or not. What a webhook is going to convert counts as what is stored of it. */
static int look(struct list_count *c, const struct list_form *f, const struct api_selection *sel, const struct store_kv *kv, struct arena *a,
		struct err *e)
{
	struct api_request *req = f->req;
	struct str raw = kv->value;
	int r = req->conv ? 0 : storage_unwrap_as(a, req->res, kv->key, kv->value, convert_conversions(req), &raw, e);

	if (r < 0 || (!req->conv && !api_selection_matches(sel, raw)))
		return r;
	if (req->opt.limit > 0 && c->n >= (size_t)req->opt.limit) {
		c->more = true;
		return 0;
	}
	c->n++;
	c->stored += raw.n;
	c->items += list_form_size(f, a, raw, (uint64_t)kv->mod_revision);
	buf_clear(&c->last);
	buf_adds(&c->last, kv->key);
	return 0;
}

static int count_page(struct list_count *c, const struct list_form *f, const struct api_selection *sel, struct store_view *v, size_t enough,
		struct err *e)
{
	size_t looked = 0, bytes = 0;
	struct str at = STR_NULL;
	struct view_iter it;
	struct store_kv kv;
	struct arena a; /* of one object: it may have to be decrypted or converted */
	bool late = false;
	int r = 1;

	arena_init(&a);
	view_iter_init(&it, v, buf_str(&c->next), c->end, c->rev, 0);
	while (r > 0 && !c->more && looked < LIST_LOOK_OBJECTS && bytes < LIST_LOOK_BYTES && c->stored < enough) {
		r = view_iter_next(&it, &kv, e);
		late = r > 0 && !crypt_ready(kv.value);
		if (r <= 0 || late)
			break;
		looked++;
		bytes += kv.value.n;
		at = kv.key;
		arena_fini(&a);
		if (look(c, f, sel, &kv, &a, e) < 0)
			r = -1;
	}
	if (r > 0 && (c->more || at.n > 0))
		go_on_behind(c, c->more ? buf_str(&c->last) : at);
	view_iter_fini(&it);
	arena_fini(&a);
	if (late)
		return 1;
	/* One key is a range of its own, which has no behind. */
	c->done = r == 0 || (c->more && !sel->all) || c->end.n == 0;
	return r < 0 ? -1 : 0;
}

static int count_rest(struct list_count *c, struct store_view *v, struct err *e)
{
	struct str at = STR_NULL;
	struct view_iter it;
	struct store_kv kv;
	int r = 1;

	view_iter_init(&it, v, buf_str(&c->next), c->end, c->rev, VIEW_KEYS_ONLY);
	c->rest = c->rest < 0 ? 0 : c->rest;
	for (size_t n = 0; n < LIST_LOOK_KEYS && (r = view_iter_next(&it, &kv, e)) > 0; n++) {
		c->rest++;
		at = kv.key;
	}
	if (r > 0)
		go_on_behind(c, at);
	view_iter_fini(&it);
	c->done = r == 0;
	return r < 0 ? -1 : 0;
}

int list_count_turn(struct list_count *c, const struct list_form *f, const struct api_selection *sel, struct store_view *v, size_t enough,
		struct err *e)
{
	int r = 0;

	if (!c->more)
		r = count_page(c, f, sel, v, enough, e);
	if (r == 0 && c->more && !c->done)
		r = count_rest(c, v, e);
	return r;
}
