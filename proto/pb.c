#include "proto/pb.h"

#include "base/util.h"

static void *arena_allocate(void *data, size_t size)
{
	return arena_alloc(data, size);
}

static void arena_release(void *data, void *p)
{
	/* The arena frees all at once. */
}

/*
 * protobuf-c unpacks by recursion without a limit of its own. Only these packages have types that contain themselves;
 * everywhere else the schema bounds the depth.
 */
static bool may_recurse(const ProtobufCMessageDescriptor *d)
{
	static const char *const packages[] = {"etcdserverpb", "raftpb", "k8s.io.apiextensions_apiserver"};

	for (size_t i = 0; i < ARRAY_LEN(packages); i++)
		if (strncmp(d->package_name, packages[i], strlen(packages[i])) == 0)
			return true;
	return false;
}

static bool read_varint(const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
		uint8_t b = *(*p)++;

		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80) {
			*ret = v;
			return true;
		}
	}
	return false;
}

/* False when sub-messages nest deeper than `left`. Broken bytes are left for protobuf-c to refuse. */
static bool depth_ok(const ProtobufCMessageDescriptor *d, const uint8_t *p, const uint8_t *end, unsigned left)
{
	uint64_t tag, v;

	if (left == 0)
		return false;
	while (p < end) {
		if (!read_varint(&p, end, &tag))
			return true;
		switch (tag & 7) {
		case 0:
			if (!read_varint(&p, end, &v))
				return true;
			break;
		case 1:
		case 5: {
			size_t n = (tag & 7) == 1 ? 8 : 4;

			if ((size_t)(end - p) < n)
				return true;
			p += n;
			break;
		}
		case 2: {
			const ProtobufCFieldDescriptor *f;

			if (!read_varint(&p, end, &v) || v > (uint64_t)(end - p))
				return true;
			f = protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3));
			if (f && f->type == PROTOBUF_C_TYPE_MESSAGE && !depth_ok(f->descriptor, p, p + v, left - 1))
				return false;
			p += v;
			break;
		}
		default:
			return true;
		}
	}
	return true;
}

void *pb_unpack(struct arena *a, const ProtobufCMessageDescriptor *d, struct str bytes)
{
	ProtobufCAllocator alloc = {.alloc = arena_allocate, .free = arena_release, .allocator_data = a};
	const uint8_t *p = (const uint8_t *)bytes.p;

	if (bytes.n == 0)
		return pb_new(a, d);
	if (may_recurse(d) && !depth_ok(d, p, p + bytes.n, PB_MAX_DEPTH))
		return NULL;
	return protobuf_c_message_unpack(d, &alloc, bytes.n, p);
}

void *pb_new(struct arena *a, const ProtobufCMessageDescriptor *d)
{
	void *msg = arena_alloc(a, d->sizeof_message);

	protobuf_c_message_init(d, msg);
	return msg;
}

size_t pb_size(const void *msg)
{
	return protobuf_c_message_get_packed_size(msg);
}

void pb_pack(const void *msg, struct buf *b)
{
	size_t n = pb_size(msg);
	char *p = buf_reserve(b, n);

	if (p) {
		protobuf_c_message_pack(msg, (uint8_t *)p);
		buf_advance(b, n);
	}
}

struct str pb_pack_arena(const void *msg, struct arena *a)
{
	size_t n = pb_size(msg);
	char *p = arena_alloc(a, n + 1);

	protobuf_c_message_pack(msg, (uint8_t *)p);
	p[n] = '\0';
	return str_of(p, n);
}

void *pb_copy(struct arena *a, const void *msg)
{
	struct buf b = BUF_INIT;
	void *copy;

	if (!msg)
		return NULL;
	pb_pack(msg, &b);
	copy = pb_unpack(a, ((const ProtobufCMessage *)msg)->descriptor, buf_str(&b));
	ASSERT(copy);
	buf_fini(&b);
	return copy;
}

bool pb_equal(const void *a, const void *b)
{
	struct buf x = BUF_INIT, y = BUF_INIT;
	bool equal;

	if (!a || !b)
		return a == b;
	pb_pack(a, &x);
	pb_pack(b, &y);
	equal = str_eq(buf_str(&x), buf_str(&y));
	buf_fini(&x);
	buf_fini(&y);
	return equal;
}

/* --- Fields by name ---------------------------------------------------------------------------------------------- */

static const ProtobufCFieldDescriptor *field_of(const void *msg, const char *name, ProtobufCType type, bool repeated)
{
	const ProtobufCMessage *m = msg;
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);

	ASSERT(f && f->type == type && (f->label == PROTOBUF_C_LABEL_REPEATED) == repeated);
	return f;
}

static size_t *count_of(void *msg, const ProtobufCFieldDescriptor *f)
{
	return (size_t *)((char *)msg + f->quantifier_offset);
}

static void ***list_of(void *msg, const ProtobufCFieldDescriptor *f)
{
	return (void ***)((char *)msg + f->offset);
}

/* An element more. Lists are short and their room is unknown (pb_unpack makes exact ones), so each append copies. */
static void append(struct arena *a, void *msg, const ProtobufCFieldDescriptor *f, void *element)
{
	size_t *n = count_of(msg, f);
	void ***list = list_of(msg, f);
	void **bigger = arena_alloc(a, sizeof(void *) * (*n + 1));

	if (*n)
		memcpy(bigger, *list, *n * sizeof(void *));
	bigger[(*n)++] = element;
	*list = bigger;
}

void *pb_sub(struct arena *a, void *msg, const char *field)
{
	const ProtobufCFieldDescriptor *f = field_of(msg, field, PROTOBUF_C_TYPE_MESSAGE, false);
	void **p = (void **)((char *)msg + f->offset);

	ASSERT(!(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF));
	if (!*p)
		*p = pb_new(a, f->descriptor);
	return *p;
}

void *pb_add(struct arena *a, void *msg, const char *field)
{
	const ProtobufCFieldDescriptor *f = field_of(msg, field, PROTOBUF_C_TYPE_MESSAGE, true);
	void *element = pb_new(a, f->descriptor);

	append(a, msg, f, element);
	return element;
}

void pb_add_msg(struct arena *a, void *msg, const char *field, void *element)
{
	const ProtobufCFieldDescriptor *f = field_of(msg, field, PROTOBUF_C_TYPE_MESSAGE, true);

	ASSERT(((ProtobufCMessage *)element)->descriptor == f->descriptor);
	append(a, msg, f, element);
}

void pb_add_str(struct arena *a, void *msg, const char *field, const char *s)
{
	append(a, msg, field_of(msg, field, PROTOBUF_C_TYPE_STRING, true), arena_strdup(a, s));
}

static void remove_at(void *msg, const ProtobufCFieldDescriptor *f, size_t i)
{
	size_t *n = count_of(msg, f);
	void **list = *list_of(msg, f);

	ASSERT(i < *n);
	memmove(list + i, list + i + 1, (*n - i - 1) * sizeof(void *));
	--*n;
}

void pb_remove(void *msg, const char *field, size_t i)
{
	const ProtobufCMessage *m = msg;
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, field);

	ASSERT(f && f->label == PROTOBUF_C_LABEL_REPEATED &&
	       (f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING));
	remove_at(msg, f, i);
}

/* Every entry with a string value has this layout. */
struct string_entry {
	ProtobufCMessage base;
	const char *key, *value;
};

void pb_map_set(struct arena *a, void *msg, const char *field, const char *key, const char *value)
{
	const ProtobufCFieldDescriptor *f = field_of(msg, field, PROTOBUF_C_TYPE_MESSAGE, true);
	const ProtobufCMessageDescriptor *d = f->descriptor;
	struct string_entry **list = (struct string_entry **)*list_of(msg, f), *entry;

	ASSERT(d->n_fields == 2 && d->sizeof_message == sizeof(struct string_entry) &&
	       d->fields[1].type == PROTOBUF_C_TYPE_STRING);
	for (size_t i = 0; i < *count_of(msg, f); i++)
		if (pb_streq(list[i]->key, key)) {
			list[i]->value = arena_strdup(a, value);
			return;
		}
	entry = pb_new(a, d);
	entry->key = arena_strdup(a, key);
	entry->value = arena_strdup(a, value);
	append(a, msg, f, entry);
}

bool pb_map_del(void *msg, const char *field, const char *key)
{
	const ProtobufCFieldDescriptor *f = field_of(msg, field, PROTOBUF_C_TYPE_MESSAGE, true);
	struct string_entry **list = (struct string_entry **)*list_of(msg, f);

	for (size_t i = 0; i < *count_of(msg, f); i++)
		if (pb_streq(list[i]->key, key)) {
			remove_at(msg, f, i);
			return true;
		}
	return false;
}

bool pb_has_str(const char *const *list, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++)
		if (pb_streq(list[i], s))
			return true;
	return false;
}
