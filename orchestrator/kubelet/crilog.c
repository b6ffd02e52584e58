#include "orchestrator/kubelet/crilog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"

static bool digits(struct str s, size_t at, size_t n, int *ret)
{
	int v = 0;

	if (at + n > s.n)
		return false;
	for (size_t i = at; i < at + n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (s.p[i] - '0');
	}
	*ret = v;
	return true;
}

/* The part behind the seconds: [.fraction](Z|+hh:mm|-hh:mm). */
static bool parse_zone(struct str s, int64_t *ret_frac_ns, int64_t *ret_offset_s)
{
	size_t i = 0;
	int hh, mm;

	*ret_frac_ns = 0;
	*ret_offset_s = 0;
	if (i < s.n && s.p[i] == '.') {
		int64_t scale = 100000000;

		for (i = 1; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++, scale /= 10)
			*ret_frac_ns += (s.p[i] - '0') * scale;
		if (i == 1)
			return false;
	}
	if (i + 1 == s.n && (s.p[i] == 'Z' || s.p[i] == 'z'))
		return true;
	if (i + 6 != s.n || (s.p[i] != '+' && s.p[i] != '-') || s.p[i + 3] != ':' ||
			!digits(s, i + 1, 2, &hh) || !digits(s, i + 4, 2, &mm))
		return false;
	*ret_offset_s = (s.p[i] == '-' ? -1 : 1) * (hh * 3600 + mm * 60);
	return true;
}

bool crilog_parse_time(struct str s, int64_t *ret_ns)
{
	struct tm tm = {0};
	int year, mon;
	int64_t frac, offset;

	if (s.n < 20 || s.p[4] != '-' || s.p[7] != '-' || (s.p[10] != 'T' && s.p[10] != 't') ||
			s.p[13] != ':' || s.p[16] != ':')
		return false;
	if (!digits(s, 0, 4, &year) || !digits(s, 5, 2, &mon) || !digits(s, 8, 2, &tm.tm_mday) ||
			!digits(s, 11, 2, &tm.tm_hour) || !digits(s, 14, 2, &tm.tm_min) ||
			!digits(s, 17, 2, &tm.tm_sec))
		return false;
	if (mon < 1 || mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
			tm.tm_min > 59 || tm.tm_sec > 60 || !parse_zone(str_skip(s, 19), &frac, &offset))
		return false;
	tm.tm_year = year - 1900;
	tm.tm_mon = mon - 1;
	*ret_ns = ((int64_t)timegm(&tm) - offset) * 1000000000 + frac;
	return true;
}

bool crilog_parse(struct str line, struct crilog_entry *ret)
{
	struct crilog_entry e;
	struct str rest, tags;

	if (!str_cut(line, ' ', &e.time, &rest) || !crilog_parse_time(e.time, &e.time_ns))
		return false;
	if (!str_cut(rest, ' ', &e.stream, &rest) ||
			(!str_eqc(e.stream, "stdout") && !str_eqc(e.stream, "stderr")))
		return false;
	if (!str_cut(rest, ' ', &tags, &e.text)) {
		tags = rest;
		e.text = STR_NULL;
	}
	/* Tags are separated by colons; the first one tells full from partial. */
	if (tags.n == 0 || (tags.p[0] != 'F' && tags.p[0] != 'P') || (tags.n > 1 && tags.p[1] != ':'))
		return false;
	e.partial = tags.p[0] == 'P';
	*ret = e;
	return true;
}

static void show(struct crilog_filter *f, struct str s, struct buf *out)
{
	if (f->limit >= 0) {
		s.n = MIN(s.n, (size_t)f->limit);
		f->limit -= (int64_t)s.n;
		if (f->limit == 0)
			f->done = true;
	}
	buf_adds(out, s);
}

size_t crilog_feed(struct crilog_filter *f, struct str in, struct buf *out)
{
	size_t used = 0;
	struct crilog_entry e;

	while (!f->done) {
		struct str rest = str_skip(in, used);
		ptrdiff_t nl = str_find(rest, '\n');

		if (nl < 0) {
			/* No newline within the limit: not a log of ours; drop it rather than grow. */
			return rest.n > CRILOG_LINE_MAX ? in.n : used;
		}
		used += (size_t)nl + 1;
		if (!crilog_parse(str_sub(rest, 0, (size_t)nl), &e) || e.time_ns < f->since_ns)
			continue;
		if (f->timestamps && !f->in_line) {
			show(f, e.time, out);
			show(f, STR(" "), out);
		}
		show(f, e.text, out);
		if (!e.partial)
			show(f, STR("\n"), out);
		f->in_line = e.partial;
	}
	return used;
}

int64_t crilog_tail_offset(int fd, int64_t n_lines, struct err *e)
{
	char block[16384];
	struct stat st;
	int64_t pos, found = 0;
	bool last = true; /* the newline that ends the file counts for no line */

	if (fstat(fd, &st) < 0)
		return err_set_errno(e, errno, "stat of a container log");
	if (n_lines <= 0)
		return st.st_size;
	for (pos = st.st_size; pos > 0;) {
		size_t want = (size_t)MIN(pos, (int64_t)sizeof(block));
		ssize_t got = pread(fd, block, want, pos - (int64_t)want);

		if (got < 0)
			return err_set_errno(e, errno, "read of a container log");
		if ((size_t)got < want)
			return 0; /* the file shrank under us: show what is left */
		for (size_t i = want; i-- > 0;) {
			if (block[i] == '\n' && !last && ++found == n_lines)
				return pos - (int64_t)want + (int64_t)i + 1;
			last = false;
		}
		pos -= (int64_t)want;
	}
	return 0;
}

int crilog_last_text(const char *path, int max_lines, size_t max_size, struct buf *out, struct err *e)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_(buf_fini) struct buf raw = BUF_INIT, text = BUF_INIT;
	struct crilog_filter f = {.limit = -1};
	char block[8192];
	int64_t from;
	ssize_t got;

	if (fd < 0)
		return err_set_errno(e, errno, "open %s", path);
	from = crilog_tail_offset(fd, max_lines, e);
	if (from < 0)
		return (int)from;
	while ((got = pread(fd, block, sizeof(block), from)) > 0 && raw.n < 4 * CRILOG_LINE_MAX) {
		buf_add(&raw, block, (size_t)got);
		from += got;
	}
	crilog_feed(&f, buf_str(&raw), &text);
	buf_adds(out, str_skip(buf_str(&text), text.n > max_size ? text.n - max_size : 0));
	return 0;
}
