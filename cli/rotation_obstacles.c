/* Who is not there yet; declared in cli/rotation.h. */
#include <inttypes.h>

#include "base/util.h"
#include "cli/rotation.h"
#include "proto/json.h"

static bool has_word(struct str list, const char *word)
{
	struct str one;

	while (list.n > 0) {
		str_cut(list, ',', &one, &list);
		if (str_eqc(str_trim(one), word))
			return true;
	}
	return false;
}

static void servers_behind(struct arena *a, const struct rotation *r, const struct rotation_server *s, size_t n, struct json *list)
{
	for (size_t i = 0; i < n; i++)
		if (s[i].generation != r->generation)
			json_push(a, list, json_newf(a, "server %.*s has not taken up the last step yet", STR_FMT(s[i].name)));
}

static void nodes_behind(struct arena *a, const struct rotation *r, enum rotation_step step, const struct rotation_node *v, size_t n, struct json *list)
{
	char id[ROTATION_ID] = "";

	rotation_id(r->new_pem, id);
	for (size_t i = 0; i < n; i++)
		if (step == ROTATION_SWITCH_OVER && !has_word(v[i].trusted, id))
			json_push(a, list, json_newf(a, "node %.*s does not trust the new CA yet", STR_FMT(v[i].name)));
		else if (step == ROTATION_FINISH && !(has_word(v[i].trusted, id) && str_eqc(v[i].used, id)))
			json_push(a, list, json_newf(a, "node %.*s still has certificates of the old CA", STR_FMT(v[i].name)));
}

static void old_users(struct arena *a, const struct rotation *r, int64_t now_s, const struct rotation_server *s, size_t n, struct json *list)
{
	const char *what = r->kind == ROTATION_CA ? "a certificate of the old CA" : "a token that the old key signed";

	for (size_t i = 0; i < n; i++)
		if (s[i].old_user.n > 0 && now_s - s[i].old_s < ROTATION_QUIET_S)
			json_push(a, list, json_newf(a, "%.*s came to server %.*s with %s %" PRId64 " s ago", STR_FMT(s[i].old_user),
					STR_FMT(s[i].name), what, MAX(now_s - s[i].old_s, 0)));
	if (r->kind == ROTATION_SA && now_s - r->since_s < ROTATION_TOKENS_S)
		json_push(a, list, json_newf(a, "tokens that the old key signed are renewed within %d minutes of the switch; %" PRId64 " are left",
				ROTATION_TOKENS_S / 60, (ROTATION_TOKENS_S - (now_s - r->since_s)) / 60 + 1));
}

void rotation_obstacles(struct arena *a, const struct rotation *r, enum rotation_step step, int64_t now_s, const struct rotation_server *servers, size_t n_servers,
		const struct rotation_node *nodes, size_t n_nodes, struct json *list)
{
	if (step == ROTATION_CANCEL)
		return;
	servers_behind(a, r, servers, n_servers, list);
	if (r->kind == ROTATION_CA && step != ROTATION_BEGIN)
		nodes_behind(a, r, step, nodes, n_nodes, list);
	if (step == ROTATION_FINISH)
		old_users(a, r, now_s, servers, n_servers, list);
}
