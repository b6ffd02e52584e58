/* Whose a node's name is: judged, and kept by a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/util.h"
#include "cli/join_claim.h"
#include "io/http_server.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/join_token.h"
#include "tests/unit/orchestrator/apiserver/words.h"

static void test_judge(void **state)
{
	char hash[JOIN_TOKEN_HASH];
	static const struct {
		bool kept;
		const char *given;
		bool node;
		enum join_claim want;
	} rows[] = {
			{false, "mine", false, JOIN_CLAIM_TAKE},
			{false, "mine", true, JOIN_CLAIM_REFUSED}, /* it came otherwise */
			{false, "", true, JOIN_CLAIM_REFUSED},
			{false, "", false, JOIN_CLAIM_HIS},
			{true, "mine", true, JOIN_CLAIM_HIS},
			{true, "yours", true, JOIN_CLAIM_REFUSED},
			{true, "", true, JOIN_CLAIM_REFUSED},
			{true, "yours", false, JOIN_CLAIM_TAKE},
			{true, "", false, JOIN_CLAIM_HIS},
	};

	(void)state;
	join_token_hash(STR("mine"), hash);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (join_claim_judge(rows[i].kept ? str_from(hash) : STR_NULL, str_from(rows[i].given), rows[i].node) != rows[i].want)
			fail_msg("row %zu", i);
}

static void claimed(struct http_request *r, const struct err *why)
{
	http_respond(r, why ? (why->code == ERR_FORBIDDEN ? 403 : 500) : 200, NULL, 0, why ? arena_str(&r->arena, str_from(why->text)) : STR("{}"));
}

static void gone(struct http_request *r)
{
	http_respond_abort(r);
}

static bool beside(void *arg, struct http_request *r)
{
	(void)arg;
	if (!str_eqc(r->path, "/claim"))
		return false;
	r->on_cancel = gone;
	join_claim(rig_server->kv, r, http_request_header(r, "x-name"), http_request_header(r, "x-password"), claimed);
	return true;
}

static void configure(const char *dir, struct apiserver_cfg *cfg)
{
	(void)dir;
	cfg->extra = beside;
}

static int start(void **state)
{
	rig_configure = configure;
	return with_server(state);
}

static struct str claim(const char *name, const char *password, int want)
{
	rig_header("x-name", name);
	if (password[0])
		rig_header("x-password", password);
	return rig_raw("GET", "/claim", STR_NULL, want);
}

static void test_server(void **state)
{
	(void)state;
	claim("n1", "a", 200);
	claim("n1", "a", 200);
	/* There is no such node yet: whoever comes last has it. */
	claim("n1", "b", 200);
	claim("n1", "a", 200);
	rig_call("POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"n1\"}}", 201);
	assert_true(str_search(claim("n1", "b", 403), STR("the node n1 is another machine (or this one lost its node.password)")) >= 0);
	claim("n1", "", 403);
	claim("n1", "a", 200);
	/* It is removed: its name is free. */
	rig_call("DELETE", "/api/v1/nodes/n1", NULL, 200);
	claim("n1", "b", 200);
	rig_call("POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"n1\"}}", 201);
	claim("n1", "a", 403);
	claim("n1", "b", 200);
	/* One that came otherwise. */
	rig_call("POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"n2\"}}", 201);
	claim("n2", "", 403);
	claim("n2", "x", 403);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_judge),
			cmocka_unit_test_setup_teardown(test_server, start, without_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
