#include "orchestrator/apiserver/proxy_html.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/util.h"
#include "orchestrator/apiserver/proxy_target.h"

#define VALUE_MAX 8192u
#define NAME_MAX_LEN 15u

enum state {
	TEXT,
	OPEN,        /* behind < */
	END_OPEN,    /* behind </ */
	DECLARATION, /* behind <! */
	DASH,        /* behind <!- */
	COMMENT,
	BOGUS,       /* until > : doctypes, instructions, nonsense */
	TAG_NAME,
	IN_TAG,      /* before an attribute */
	ATTR_NAME,
	AFTER_NAME,
	BEFORE_VALUE,
	VALUE_DOUBLE,
	VALUE_SINGLE,
	VALUE_BARE,
	RAW,         /* the inside of a script and the like: until its end tag */
};

struct name {
	char s[NAME_MAX_LEN + 1];
	unsigned n; /* longer ones match nothing */
};

struct proxy_html {
	char *address, *base;
	enum state state;
	struct name tag, attr;
	bool end_tag;
	bool wanted;      /* the value is held in `value` */
	struct buf value;
	unsigned dashes;  /* in a comment: how many came last */
	unsigned matched; /* in RAW: how much of </tag */
};

/* --- What holds an address ------------------------------------------------------------------------------------------------ */

static const struct {
	const char *attr, *tags;
} links[] = {
	{"action", " form "},
	{"background", " body "},
	{"cite", " blockquote del ins q "},
	{"classid", " object "},
	{"codebase", " applet object "},
	{"data", " object "},
	{"formaction", " button input "},
	{"href", " a area base link "},
	{"icon", " command "},
	{"longdesc", " frame iframe img "},
	{"manifest", " html "},
	{"poster", " video "},
	{"profile", " head "},
	{"src", " audio embed frame iframe img input script source video "},
	{"usemap", " img input object "},
};
/* What is inside of these is no markup. */
static const char raw_tags[] = " iframe noembed noframes plaintext script style textarea title xmp ";

static bool listed(const char *list, const struct name *n)
{
	char word[NAME_MAX_LEN + 3];

	if (n->n == 0 || n->n > NAME_MAX_LEN)
		return false;
	word[0] = ' ';
	memcpy(word + 1, n->s, n->n);
	word[n->n + 1] = ' ';
	word[n->n + 2] = '\0';
	return strstr(list, word) != NULL;
}

static bool is_link(const struct proxy_html *h)
{
	if (h->end_tag || h->attr.n > NAME_MAX_LEN)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		if (h->attr.n == strlen(links[i].attr) && memcmp(h->attr.s, links[i].attr, h->attr.n) == 0)
			return listed(links[i].tags, &h->tag);
	return false;
}

bool proxy_html_is_page(struct str type, struct str encoding)
{
	struct str media, rest;

	str_cut(type, ';', &media, &rest);
	return str_ieq(str_trim(media), STR("text/html")) && (encoding.n == 0 || str_ieq(encoding, STR("identity")));
}

/* --- Names and values ------------------------------------------------------------------------------------------------------ */

static void name_start(struct name *n)
{
	n->n = 0;
}

static void name_add(struct name *n, char c)
{
	if (n->n < NAME_MAX_LEN)
		n->s[n->n] = (char)tolower((unsigned char)c);
	if (n->n <= NAME_MAX_LEN)
		n->n++;
}

/* Only the beginning of the address changes, so what is escaped in the rest of it stays. */
static void flush_value(struct proxy_html *h, struct buf *out)
{
	struct str value = buf_str(&h->value), address = str_trim(value), through;
	struct arena a;

	if (!h->wanted)
		return;
	h->wanted = false;
	arena_init(&a);
	through = proxy_location(&a, address, h->address, str_from(h->base));
	buf_adds(out, through.p ? through : value);
	arena_fini(&a);
	buf_clear(&h->value);
}

static void value_byte(struct proxy_html *h, char c, struct buf *out)
{
	if (!h->wanted) {
		buf_add1(out, c);
		return;
	}
	buf_add1(&h->value, c);
	if (h->value.n < VALUE_MAX)
		return;
	buf_adds(out, buf_str(&h->value));
	buf_clear(&h->value);
	h->wanted = false;
}

/* --- The states ------------------------------------------------------------------------------------------------------------- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static void tag_over(struct proxy_html *h)
{
	h->state = !h->end_tag && listed(raw_tags, &h->tag) ? RAW : TEXT;
	h->matched = 0;
}

static void begin_attr(struct proxy_html *h, char c)
{
	name_start(&h->attr);
	name_add(&h->attr, c);
	h->state = ATTR_NAME;
}

static void begin_value(struct proxy_html *h, enum state s)
{
	h->wanted = is_link(h);
	h->state = s;
}

static void begin_tag(struct proxy_html *h, char c, bool end)
{
	name_start(&h->tag);
	name_add(&h->tag, c);
	h->end_tag = end;
	h->state = TAG_NAME;
}

/* Between < and the name of a tag, and what is none. */
static void markup_byte(struct proxy_html *h, char c)
{
	bool letter = isalpha((unsigned char)c);

	switch (h->state) {
	case OPEN:
		if (letter)
			begin_tag(h, c, false);
		else
			h->state = c == '/' ? END_OPEN : c == '!' ? DECLARATION : c == '?' ? BOGUS : c == '<' ? OPEN : TEXT;
		break;
	case END_OPEN:
		if (letter)
			begin_tag(h, c, true);
		else
			h->state = c == '>' ? TEXT : BOGUS;
		break;
	case DECLARATION:
		h->state = c == '-' ? DASH : c == '>' ? TEXT : BOGUS;
		break;
	case DASH:
		h->state = c == '-' ? COMMENT : c == '>' ? TEXT : BOGUS;
		h->dashes = 2; /* <!--> is a whole one */
		break;
	case COMMENT:
		if (c == '>' && h->dashes >= 2)
			h->state = TEXT;
		else if (c != '!' || h->dashes < 2)
			h->dashes = c == '-' ? h->dashes + (h->dashes < 2) : 0;
		break;
	default:
		if (c == '>')
			h->state = TEXT;
		break;
	}
}

/* Inside of a tag, but for values. */
static void tag_byte(struct proxy_html *h, char c)
{
	if (c == '>') {
		tag_over(h);
		return;
	}
	switch (h->state) {
	case TAG_NAME:
		if (is_space(c) || c == '/')
			h->state = IN_TAG;
		else
			name_add(&h->tag, c);
		break;
	case ATTR_NAME:
		if (is_space(c))
			h->state = AFTER_NAME;
		else if (c == '=')
			h->state = BEFORE_VALUE;
		else if (c == '/')
			h->state = IN_TAG;
		else
			name_add(&h->attr, c);
		break;
	case AFTER_NAME:
		if (c == '=')
			h->state = BEFORE_VALUE;
		else if (c == '/')
			h->state = IN_TAG;
		else if (!is_space(c))
			begin_attr(h, c);
		break;
	default:
		if (!is_space(c) && c != '/')
			begin_attr(h, c);
		break;
	}
}

/* "</tag" and what ends a name. */
static void raw_byte(struct proxy_html *h, char c)
{
	if (h->matched >= h->tag.n + 2) {
		if (is_space(c) || c == '/' || c == '>') {
			h->end_tag = true;
			h->state = c == '>' ? TEXT : IN_TAG;
			return;
		}
		h->matched = 0;
	}
	if (h->matched == 0 ? c == '<' : h->matched == 1 ? c == '/' : tolower((unsigned char)c) == h->tag.s[h->matched - 2])
		h->matched++;
	else
		h->matched = c == '<';
}

static void byte(struct proxy_html *h, char c, struct buf *out)
{
	switch (h->state) {
	case BEFORE_VALUE:
		if (c == '"' || c == '\'') {
			buf_add1(out, c);
			begin_value(h, c == '"' ? VALUE_DOUBLE : VALUE_SINGLE);
		} else if (c == '>') {
			buf_add1(out, c);
			tag_over(h);
		} else if (is_space(c)) {
			buf_add1(out, c);
		} else {
			begin_value(h, VALUE_BARE);
			value_byte(h, c, out);
		}
		return;
	case VALUE_DOUBLE:
	case VALUE_SINGLE:
		if (c != (h->state == VALUE_DOUBLE ? '"' : '\'')) {
			value_byte(h, c, out);
			return;
		}
		flush_value(h, out);
		buf_add1(out, c);
		h->state = IN_TAG;
		return;
	case VALUE_BARE:
		if (!is_space(c) && c != '>') {
			value_byte(h, c, out);
			return;
		}
		flush_value(h, out);
		buf_add1(out, c);
		h->state = IN_TAG;
		if (c == '>')
			tag_over(h);
		return;
	case TEXT:
		if (c == '<')
			h->state = OPEN;
		break;
	case RAW:
		raw_byte(h, c);
		break;
	case TAG_NAME:
	case IN_TAG:
	case ATTR_NAME:
	case AFTER_NAME:
		tag_byte(h, c);
		break;
	default:
		markup_byte(h, c);
		break;
	}
	buf_add1(out, c);
}

/* --- The interface ------------------------------------------------------------------------------------------------------------ */

struct proxy_html *proxy_html_new(const char *address, struct str base)
{
	struct proxy_html *h = xcalloc(1, sizeof(*h));

	h->address = xstrdup(address);
	h->base = xasprintf("%.*s", STR_FMT(base));
	buf_init(&h->value, VALUE_MAX + 1);
	return h;
}

void proxy_html_free(struct proxy_html *h)
{
	if (!h)
		return;
	free(h->address);
	free(h->base);
	buf_fini(&h->value);
	free(h);
}

void proxy_html_feed(struct proxy_html *h, struct str in, struct buf *out)
{
	for (size_t i = 0; i < in.n; i++)
		byte(h, in.p[i], out);
}

void proxy_html_end(struct proxy_html *h, struct buf *out)
{
	/* An address that was not ended is none. */
	if (h->wanted)
		buf_adds(out, buf_str(&h->value));
	buf_clear(&h->value);
	h->wanted = false;
}
