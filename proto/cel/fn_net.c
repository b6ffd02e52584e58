/* IP addresses and networks, as Go's net/netip reads and writes them. */
#include <arpa/inet.h>
#include <string.h>

#include "proto/cel/opaque-priv.h"

#define OF(x) ((const struct cel__ip *)(x).opaque)

static unsigned width(const struct cel__ip *ip)
{
	return ip->v6 ? 16 : 4;
}

/* ---- texts ---- */

static bool mapped(const struct cel__ip *ip)
{
	static const unsigned char prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	return ip->v6 && memcmp(ip->bytes, prefix, sizeof(prefix)) == 0;
}

static bool read_address(struct str s, struct cel__ip *ret)
{
	char text[INET6_ADDRSTRLEN + 1];

	if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, '\0', s.n) != NULL)
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	*ret = (struct cel__ip){.o = {OPAQUE_IP}, .v6 = strchr(text, ':') != NULL};
	return inet_pton(ret->v6 ? AF_INET6 : AF_INET, text, ret->bytes) == 1;
}

/* NULL: it is one. */
static const char *parse_ip(struct arena *a, struct str s, struct cel__ip *ret)
{
	struct json quoted = {.type = JSON_STRING, .s = s};
	struct str address, zone, q;

	if (str_cut(s, '%', &address, &zone) && zone.n > 0 && read_address(address, ret) && ret->v6) {
		q = json_text(a, &quoted);
		return arena_printf(a, "IP address %.*s with zone value is not allowed", STR_FMT(q));
	}
	if (!read_address(s, ret)) {
		q = json_text(a, &quoted);
		return arena_printf(a, "IP Address %.*s parse error during conversion from string: ParseAddr(%.*s): unable to parse IP",
			STR_FMT(q), STR_FMT(q));
	}
	if (mapped(ret)) {
		q = json_text(a, &quoted);
		return arena_printf(a, "IPv4-mapped IPv6 address %.*s is not allowed", STR_FMT(q));
	}
	return NULL;
}

static const char *parse_cidr(struct arena *a, struct str s, struct cel__ip *ret)
{
	static const char during[] = "network address parse error during conversion from string: ";
	struct json quoted = {.type = JSON_STRING, .s = s};
	struct str address, bits, q = json_text(a, &quoted);
	ptrdiff_t slash = str_rfind(s, '/');
	uint64_t n;

	if (slash < 0)
		return arena_printf(a, "%snetip.ParsePrefix(%.*s): no '/'", during, STR_FMT(q));
	address = str_sub(s, 0, (size_t)slash);
	bits = str_skip(s, (size_t)slash + 1);
	if (!read_address(address, ret))
		return arena_printf(a, "%snetip.ParsePrefix(%.*s): ParseAddr(\"%.*s\"): unable to parse IP", during, STR_FMT(q),
			STR_FMT(address));
	if (bits.n == 0 || bits.n > 3 || (bits.n > 1 && bits.p[0] == '0') || !str_to_u64(bits, &n))
		return arena_printf(a, "%snetip.ParsePrefix(%.*s): bad bits after slash: \"%.*s\"", during, STR_FMT(q), STR_FMT(bits));
	if (n > width(ret) * 8)
		return arena_printf(a, "%snetip.ParsePrefix(%.*s): prefix length out of range", during, STR_FMT(q));
	if (mapped(ret))
		return arena_printf(a, "IPv4-mapped IPv6 address %.*s is not allowed", STR_FMT(q));
	ret->o.kind = OPAQUE_CIDR;
	ret->bits = (unsigned)n;
	return NULL;
}

/* The canonical text: the longest run of zeros, of two at least, is left out. */
static void print_v6(struct buf *out, const struct cel__ip *ip)
{
	unsigned word[8], best = 8, best_n = 1;

	for (unsigned i = 0; i < 8; i++)
		word[i] = (unsigned)ip->bytes[i * 2] << 8 | ip->bytes[i * 2 + 1];
	for (unsigned i = 0; i < 8; i++) {
		unsigned n = 0;

		while (i + n < 8 && word[i + n] == 0)
			n++;
		if (n > best_n) {
			best = i;
			best_n = n;
		}
		i += n;
	}
	for (unsigned i = 0; i < 8; i++) {
		if (i == best) {
			buf_addc(out, "::");
			i += best_n - 1;
			continue;
		}
		if (i > 0 && i != best + best_n)
			buf_add1(out, ':');
		buf_printf(out, "%x", word[i]);
	}
}

struct str cel__ip_text(struct arena *a, const struct cel__ip *ip, bool cidr)
{
	struct buf out = BUF_INIT;
	struct str s;

	if (ip->v6)
		print_v6(&out, ip);
	else
		buf_printf(&out, "%u.%u.%u.%u", ip->bytes[0], ip->bytes[1], ip->bytes[2], ip->bytes[3]);
	if (cidr)
		buf_printf(&out, "/%u", ip->bits);
	s = arena_str(a, buf_str(&out));
	buf_fini(&out);
	return s;
}

/* ---- addresses ---- */

static struct cel_value make(struct cel__eval *v, const struct cel__ip *ip, enum cel__opaque_kind kind)
{
	struct cel__ip *copy = arena_memdup(v->a, ip, sizeof(*ip));

	copy->o.kind = kind;
	if (kind == OPAQUE_IP)
		copy->bits = 0;
	return cel__opaque(&copy->o);
}

static struct cel_value ip(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__ip parsed;
	const char *why = parse_ip(v->a, a[0].s, &parsed);

	(void)n;
	return why != NULL ? cel__text_error(v->a, why) : make(v, &parsed, OPAQUE_IP);
}

static struct cel_value is_ip(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__ip parsed;

	(void)n;
	return cel_value_bool(parse_ip(v->a, a[0].s, &parsed) == NULL);
}

static struct cel_value is_canonical(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__ip parsed;
	const char *why = parse_ip(v->a, a[0].s, &parsed);

	(void)n;
	if (why != NULL)
		return cel__text_error(v->a, why);
	return cel_value_bool(str_eq(cel__ip_text(v->a, &parsed, false), a[0].s));
}

static struct cel_value family(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__int(OF(a[0])->v6 ? 6 : 4);
}

static bool all_are(const struct cel__ip *ip, unsigned char byte)
{
	for (unsigned i = 0; i < width(ip); i++)
		if (ip->bytes[i] != byte)
			return false;
	return true;
}

static bool loopback(const struct cel__ip *ip)
{
	static const unsigned char one[16] = {[15] = 1};

	return ip->v6 ? memcmp(ip->bytes, one, 16) == 0 : ip->bytes[0] == 127;
}

static bool link_local_multicast(const struct cel__ip *ip)
{
	return ip->v6 ? ip->bytes[0] == 0xff && (ip->bytes[1] & 0x0f) == 2
		      : ip->bytes[0] == 224 && ip->bytes[1] == 0 && ip->bytes[2] == 0;
}

static bool link_local(const struct cel__ip *ip)
{
	return ip->v6 ? ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80 : ip->bytes[0] == 169 && ip->bytes[1] == 254;
}

static bool multicast(const struct cel__ip *ip)
{
	return ip->v6 ? ip->bytes[0] == 0xff : (ip->bytes[0] & 0xf0) == 0xe0;
}

static bool global_unicast(const struct cel__ip *ip)
{
	if (!ip->v6 && all_are(ip, 0xff))
		return false;
	return !all_are(ip, 0) && !loopback(ip) && !multicast(ip) && !link_local(ip);
}

#define TEST(name, condition)                                                                                                   \
	static struct cel_value name(struct cel__eval *v, const struct cel_value *a, unsigned n)                                \
	{                                                                                                                       \
		(void)v;                                                                                                        \
		(void)n;                                                                                                        \
		return cel_value_bool(condition);                                                                               \
	}
TEST(is_unspecified, all_are(OF(a[0]), 0))
TEST(is_loopback, loopback(OF(a[0])))
TEST(is_link_local_multicast, link_local_multicast(OF(a[0])))
TEST(is_link_local_unicast, link_local(OF(a[0])))
TEST(is_global_unicast, global_unicast(OF(a[0])))

static struct cel_value to_string(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return cel_value_str(cel__opaque_text(v->a, a[0].opaque));
}

static const struct cel__overload ip_overloads[] = {
	{"ip", "string_to_ip", "s:I", false, ip},
	{"isIP", "is_ip", "s:b", false, is_ip},
	{"ip.isCanonical", "ip_is_canonical", "s:b", false, is_canonical},
	{"family", "ip_family", "I:i", true, family},
	{"isUnspecified", "ip_is_unspecified", "I:b", true, is_unspecified},
	{"isLoopback", "ip_is_loopback", "I:b", true, is_loopback},
	{"isLinkLocalMulticast", "ip_is_link_local_multicast", "I:b", true, is_link_local_multicast},
	{"isLinkLocalUnicast", "ip_is_link_local_unicast", "I:b", true, is_link_local_unicast},
	{"isGlobalUnicast", "ip_is_global_unicast", "I:b", true, is_global_unicast},
	{"string", "ip_to_string", "I:s", false, to_string},
};

extern const struct cel__library cel__lib_ip;
const struct cel__library cel__lib_ip = {CEL_LIB_IP, ip_overloads, ARRAY_LEN(ip_overloads)};

/* ---- networks ---- */

static struct cel_value cidr(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__ip parsed;
	const char *why = parse_cidr(v->a, a[0].s, &parsed);

	(void)n;
	if (why != NULL)
		return cel_error(v->a, "network address parse error during conversion from string: %s", why);
	return make(v, &parsed, OPAQUE_CIDR);
}

static struct cel_value is_cidr(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__ip parsed;

	(void)n;
	return cel_value_bool(parse_cidr(v->a, a[0].s, &parsed) == NULL);
}

/* The address without the bits behind the prefix. */
static struct cel__ip mask(struct cel__ip ip, unsigned bits)
{
	for (unsigned i = 0; i < width(&ip); i++) {
		unsigned keep = bits >= (i + 1) * 8 ? 8 : bits <= i * 8 ? 0 : bits - i * 8;

		ip.bytes[i] &= (unsigned char)(0xff00 >> keep);
	}
	return ip;
}

static bool holds(const struct cel__ip *net, const struct cel__ip *ip)
{
	struct cel__ip x = mask(*net, net->bits), y = mask(*ip, net->bits);

	return net->v6 == ip->v6 && memcmp(x.bytes, y.bytes, width(net)) == 0;
}

static struct cel_value contains_ip(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__ip parsed;

	(void)n;
	if (a[1].kind == CEL_STRING) {
		const char *why = parse_ip(v->a, a[1].s, &parsed);

		return why != NULL ? cel__text_error(v->a, why) : cel_value_bool(holds(OF(a[0]), &parsed));
	}
	return cel_value_bool(holds(OF(a[0]), OF(a[1])));
}

static bool holds_net(const struct cel__ip *net, const struct cel__ip *other)
{
	return net->bits <= other->bits && holds(net, other);
}

static struct cel_value contains_cidr(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__ip parsed;

	(void)n;
	if (a[1].kind == CEL_STRING) {
		const char *why = parse_cidr(v->a, a[1].s, &parsed);

		if (why != NULL)
			return cel_error(v->a, "network address parse error during conversion from string: %s", why);
		return cel_value_bool(holds_net(OF(a[0]), &parsed));
	}
	return cel_value_bool(holds_net(OF(a[0]), OF(a[1])));
}

static struct cel_value cidr_ip(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return make(v, OF(a[0]), OPAQUE_IP);
}

static struct cel_value masked(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__ip m = mask(*OF(a[0]), OF(a[0])->bits);

	(void)n;
	return make(v, &m, OPAQUE_CIDR);
}

static struct cel_value prefix_length(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__int(OF(a[0])->bits);
}

static const struct cel__overload cidr_overloads[] = {
	{"cidr", "string_to_cidr", "s:K", false, cidr},
	{"isCIDR", "is_cidr", "s:b", false, is_cidr},
	{"containsIP", "cidr_contains_ip_string", "Ks:b", true, contains_ip},
	{"containsIP", "cidr_contains_ip_ip", "KI:b", true, contains_ip},
	{"containsCIDR", "cidr_contains_cidr_string", "Ks:b", true, contains_cidr},
	{"containsCIDR", "cidr_contains_cidr", "KK:b", true, contains_cidr},
	{"ip", "cidr_ip", "K:I", true, cidr_ip},
	{"prefixLength", "cidr_prefix_length", "K:i", true, prefix_length},
	{"masked", "cidr_masked", "K:K", true, masked},
	{"string", "cidr_to_string", "K:s", false, to_string},
};

extern const struct cel__library cel__lib_cidr;
const struct cel__library cel__lib_cidr = {CEL_LIB_CIDR, cidr_overloads, ARRAY_LEN(cidr_overloads)};
