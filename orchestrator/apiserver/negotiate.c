/* The Accept header: which media type, and which transformation ("as=Table"). RFC 9110, section 12.5.1. */
#include "orchestrator/apiserver/answer.h"

#include <stdlib.h>

#include "base/util.h"

static const struct {
	const char *name;
	enum api_media media;
} media_types[] = {
		{"application/json", MEDIA_JSON},
		{"application/yaml", MEDIA_YAML},
		{"application/vnd.kubernetes.protobuf", MEDIA_PROTOBUF},
		{"*/*", MEDIA_JSON},
		{"application/*", MEDIA_JSON},
		{"text/plain", MEDIA_JSON},
		{"text/html", MEDIA_JSON},
};
/* The last rows above are taken only where any format does; resources offer the first N_RESOURCE_MEDIA. */
#define N_RESOURCE_MEDIA 5

const char *api_media_type(enum api_media m)
{
	return m == MEDIA_YAML ? "application/yaml" :
	       m == MEDIA_JSON ? "application/json" : "application/vnd.kubernetes.protobuf";
}

/* Thousandths. */
static int quality(struct str s)
{
	struct str whole, frac;
	int q;

	str_cut(s, '.', &whole, &frac);
	q = str_eqc(whole, "0") ? 0 : 1000;
	for (size_t i = 0, unit = 100; q < 1000 && i < frac.n && i < 3; i++, unit /= 10)
		if (frac.p[i] >= '0' && frac.p[i] <= '9')
			q += (frac.p[i] - '0') * (int)unit;
	return q;
}

/* One media range with its parameters; false: we cannot make it. */
static bool range_parse(struct str range, bool resource, bool json_only, struct api_accept *a, int *ret_q)
{
	struct str type, rest, param, key, value, as = STR_NULL, group = STR_NULL, version = STR_NULL;
	bool known = false;

	*ret_q = 1000;
	str_cut(range, ';', &type, &rest);
	type = str_trim(type);
	for (size_t i = 0; i < (resource ? N_RESOURCE_MEDIA : ARRAY_LEN(media_types)) && !known; i++)
		if (str_ieq(type, str_from(media_types[i].name))) {
			a->media = media_types[i].media;
			known = true;
		}
	if (!known)
		return false;
	while (rest.n > 0) {
		str_cut(rest, ';', &param, &rest);
		str_cut(str_trim(param), '=', &key, &value);
		if (str_eqc(key, "as"))
			as = value;
		else if (str_eqc(key, "g"))
			group = value;
		else if (str_eqc(key, "v"))
			version = value;
		else if (str_eqc(key, "q"))
			*ret_q = quality(value);
		else if (str_eqc(key, "pretty"))
			a->pretty = str_eqc(value, "1");
	}
	if (as.n == 0)
		return !(json_only && a->media == MEDIA_PROTOBUF);
	if (str_eqc(as, "APIGroupDiscoveryList") && str_eqc(group, "apidiscovery.k8s.io")) {
		a->discovery_v2 = str_eqc(version, "v2") || str_eqc(version, "v2beta1");
		a->discovery_version = str_eqc(version, "v2") ? "v2" : "v2beta1";
		return a->discovery_v2 && !resource;
	}
	if (!resource || !str_eqc(group, "meta.k8s.io") || !(str_eqc(version, "v1") || str_eqc(version, "v1beta1")))
		return false;
	a->v1beta1 = str_eqc(version, "v1beta1");
	if (str_eqc(as, "Table") && a->media == MEDIA_PROTOBUF)
		return false; /* tables have no protobuf form */
	if (str_eqc(as, "Table"))
		a->as = AS_TABLE;
	else if (str_eqc(as, "PartialObjectMetadata"))
		a->as = AS_PARTIAL;
	else if (str_eqc(as, "PartialObjectMetadataList"))
		a->as = AS_PARTIAL_LIST;
	else
		return false;
	return true;
}

void api_accept_default(struct api_request *req)
{
	struct str ua = http_header_get(&req->headers, "user-agent");
	struct str enc = http_header_get(&req->headers, "accept-encoding");

	req->accept = (struct api_accept){.media = req->local ? MEDIA_PROTOBUF_RAW : MEDIA_JSON};
	req->accept.gzip = str_search(enc, STR("gzip")) >= 0;
	/* For people with a browser or curl, as upstream does. */
	req->accept.pretty = str_has_prefix(ua, STR("curl")) || str_has_prefix(ua, STR("Wget")) ||
			     str_has_prefix(ua, STR("Mozilla/5.0"));
	if (api_query_has(&req->query, "pretty"))
		req->accept.pretty = !str_eqc(api_query_get(&req->query, "pretty"), "false") &&
				     !str_eqc(api_query_get(&req->query, "pretty"), "0");
}

int api_accept_parse(struct api_request *req, struct err *e)
{
	struct str header = http_header_get(&req->headers, "accept"), rest = header, range;
	bool resource = req->at.is_resource;
	int best_q = 0;

	if (str_trim(header).n == 0)
		return 0;
	while (rest.n > 0) {
		struct api_accept a = {.pretty = req->accept.pretty, .gzip = req->accept.gzip};
		int q;

		str_cut(rest, ',', &range, &rest);
		if (range_parse(str_trim(range), resource, req->json_only, &a, &q) && q > best_q) {
			best_q = q;
			req->accept = a;
		}
	}
	/* Subresources that stream (log, exec) and non-resource paths look at the header themselves. */
	if (best_q == 0 && resource && req->at.sub.n == 0)
		return err_set(e, ERR_NOT_ACCEPTABLE,
				"only the following media types are accepted: application/json, application/yaml%s",
				req->json_only ? "" : ", application/vnd.kubernetes.protobuf");
	return 0;
}
