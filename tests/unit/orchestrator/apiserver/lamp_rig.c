#include "tests/unit/orchestrator/apiserver/lamp_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "store/view.h"

unsigned lamp_rig_calls, lamp_rig_objects;
const char *lamp_rig_broken;
bool lamp_rig_silent;
int lamp_rig_is_silent, lamp_rig_was_canceled;
struct json *(*lamp_rig_other)(const struct json *request);

static struct json *turn(const struct json *in, struct str to)
{
	struct json *o = json_copy(&rig_arena, in), *spec = json_object_at(&rig_arena, o, "spec");
	struct str power = json_str(json_getc(spec, "power"));
	int64_t watts = json_i64_or(json_getc(spec, "watts"), 0);

	json_setc(&rig_arena, o, "apiVersion", json_new_str(&rig_arena, to));
	json_delc(spec, "watts");
	json_delc(spec, "power");
	if (str_has_suffix(to, STR("/v1")))
		json_setc(&rig_arena, spec, "power", json_newf(&rig_arena, "%lldW", (long long)watts));
	else
		json_setc(&rig_arena, spec, "watts", json_new_number(&rig_arena, str_sub(power, 0, power.n - 1)));
	json_setp(&rig_arena, o, "metadata.annotations.was", json_getc(in, "apiVersion"));
	json_setp(&rig_arena, o, "metadata.finalizers", json_new_array(&rig_arena));
	return o;
}

static void admission(struct http_request *r, const struct json *request)
{
	struct http_header type = {STR("Content-Type"), STR("application/json")};
	struct json *out = parse("{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview'}"), *response;

	response = lamp_rig_other(request);
	json_setc(&rig_arena, response, "uid", json_getc(request, "uid"));
	json_setc(&rig_arena, out, "response", response);
	http_respond(r, 200, &type, 1, json_text(&rig_arena, out));
}

static void asked_body(struct http_request *r, int status, struct str body)
{
	struct http_header type = {STR("Content-Type"), STR("application/json")};
	struct json *doc, *out, *list = json_new_array(&rig_arena), *response;

	assert_int_equal(status, 0);
	doc = json_getc(json_must(&rig_arena, arena_str(&rig_arena, body)), "request");
	if (!json_getc(doc, "objects")) {
		admission(r, doc);
		return;
	}
	lamp_rig_calls++;
	lamp_rig_objects += (unsigned)json_len(json_getc(doc, "objects"));
	if (lamp_rig_silent) {
		lamp_rig_is_silent = 1;
		return;
	}
	if (lamp_rig_broken) {
		http_respond(r, 500, NULL, 0, str_from(lamp_rig_broken));
		return;
	}
	out = parse(REVIEW("{'result':{'status':'Success'}}"));
	response = json_getc(out, "response");
	json_setc(&rig_arena, response, "uid", json_getc(doc, "uid"));
	JSON_ITEMS (o, json_getc(doc, "objects")) {
		assert_false(json_equal(json_getc(o, "apiVersion"), json_getc(doc, "desiredAPIVersion")));
		json_push(&rig_arena, list, turn(o, json_str(json_getc(doc, "desiredAPIVersion"))));
	}
	json_setc(&rig_arena, response, "convertedObjects", list);
	http_respond(r, 200, &type, 1, json_text(&rig_arena, out));
}

static void gone(struct http_request *r)
{
	lamp_rig_was_canceled = 1;
	http_respond_abort(r);
}

static void on_request(struct http_handler *h, struct http_request *r)
{
	(void)h;
	r->on_cancel = gone;
	http_request_body(r, 0, asked_body);
}

const char *definition(const char *versions)
{
	return quoted(arena_printf(&rig_arena,
			"{'metadata':{'name':'lamps.example.com'},'spec':{'group':'example.com','scope':'Namespaced','names':{'plural':'lamps',"
			"'singular':'lamp','kind':'Lamp','listKind':'LampList'},'conversion':{'strategy':'Webhook','webhook':{"
			"'conversionReviewVersions':['v1'],'clientConfig':{'url':'https://127.0.0.1:%u/convert','caBundle':'%s'}}},"
			"'versions':[%s]}}",
			hook_rig_port(), hook_rig_ca, versions));
}

int lamp_rig_start(void **state)
{
	(void)state;
	hook_rig_start(on_request);
	rig_call("POST", CRDS, definition(BETA_STORED), 201);
	return 0;
}

int lamp_rig_stop(void **state)
{
	(void)state;
	hook_rig_stop();
	return 0;
}

const char *lamp(const char *version, const char *name, const char *spec)
{
	return quoted(arena_printf(&rig_arena, "{'apiVersion':'example.com/%s','kind':'Lamp','metadata':{%s},'spec':{%s}}", version, name, spec));
}

struct json *stored(const char *name)
{
	struct str key = arena_sprintf(&rig_arena, "/registry/example.com/lamps/default/%s", name);
	struct store_view *v;
	struct store_kv kv;
	struct json *doc;
	struct err e = ERR_INIT;

	assert_int_equal(store_view_open(rig_store(), &v, &e), 0);
	assert_int_equal(view_get(v, key, 0, &kv, &e), 0);
	doc = json_must(&rig_arena, arena_str(&rig_arena, kv.value));
	store_view_close(v);
	return doc;
}
