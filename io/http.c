#include "io/http.h"

#include "base/util.h"

struct str http_header_get(const struct http_headers *hs, const char *name)
{
	struct str want = str_from(name);

	for (size_t i = 0; i < hs->n; i++)
		if (str_ieq(hs->h[i].name, want))
			return hs->h[i].value.p ? hs->h[i].value : STR("");
	return STR_NULL;
}

bool http_header_has(const struct http_headers *hs, const char *name)
{
	return http_header_get(hs, name).p != NULL;
}

bool http_header_has_token(const struct http_headers *hs, const char *name, const char *token)
{
	struct str want_name = str_from(name), want = str_from(token);

	for (size_t i = 0; i < hs->n; i++) {
		struct str rest = hs->h[i].value, one;

		if (!str_ieq(hs->h[i].name, want_name))
			continue;
		while (!str_empty(rest)) {
			str_cut(rest, ',', &one, &rest);
			if (str_ieq(str_trim(one), want))
				return true;
		}
	}
	return false;
}

static const struct {
	int status;
	const char *reason;
} reasons[] = {
	{100, "Continue"},
	{101, "Switching Protocols"},
	{200, "OK"},
	{201, "Created"},
	{202, "Accepted"},
	{204, "No Content"},
	{206, "Partial Content"},
	{301, "Moved Permanently"},
	{302, "Found"},
	{303, "See Other"},
	{304, "Not Modified"},
	{307, "Temporary Redirect"},
	{308, "Permanent Redirect"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{406, "Not Acceptable"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{410, "Gone"},
	{411, "Length Required"},
	{412, "Precondition Failed"},
	{413, "Content Too Large"},
	{414, "URI Too Long"},
	{415, "Unsupported Media Type"},
	{416, "Range Not Satisfiable"},
	{417, "Expectation Failed"},
	{422, "Unprocessable Content"},
	{426, "Upgrade Required"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{499, "Client Closed Request"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
	{505, "HTTP Version Not Supported"},
	{507, "Insufficient Storage"},
};

const char *http_reason(int status)
{
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Unknown";
}
