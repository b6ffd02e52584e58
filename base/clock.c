#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "base/fault.h"
#include "base/util.h"

/* While a test makes it stand, all see the moment at which the first one looked. */
static uint64_t standing(uint64_t now)
{
	static _Atomic uint64_t since;
	uint64_t at = 0;

	if (!fault_value(FAULT_clock_stands)) {
		since = 0;
		return now;
	}
	return atomic_compare_exchange_strong(&since, &at, now) ? now : at;
}

uint64_t clock_mono_ns(void)
{
	struct timespec ts;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	return fault_any() ? standing(now) : now;
}

uint64_t clock_mono_ms(void)
{
	return clock_mono_ns() / 1000000u;
}

int64_t clock_wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec + fault_value(FAULT_clock_ms) * 1000000;
}

int64_t clock_wall_s(void)
{
	return clock_wall_ns() / 1000000000;
}

/* Four digits for every year: strftime's %Y pads none. */
static size_t print_seconds(int64_t unix_s, char out[CLOCK_RFC3339_SIZE])
{
	time_t t = (time_t)unix_s;
	struct tm tm;
	size_t n;

	gmtime_r(&t, &tm);
	n = (size_t)snprintf(out, CLOCK_RFC3339_SIZE, "%04u", (unsigned)(tm.tm_year + 1900) % 10000);
	return n + strftime(out + n, CLOCK_RFC3339_SIZE - n, "-%m-%dT%H:%M:%S", &tm);
}

void clock_rfc3339(int64_t unix_s, char out[CLOCK_RFC3339_SIZE])
{
	size_t n = print_seconds(unix_s, out);

	snprintf(out + n, CLOCK_RFC3339_SIZE - n, "Z");
}

void clock_rfc3339_micro(int64_t unix_s, int32_t ns, char out[CLOCK_RFC3339_SIZE])
{
	size_t n = print_seconds(unix_s, out);

	snprintf(out + n, CLOCK_RFC3339_SIZE - n, ".%06dZ", (int)(ns / 1000) % 1000000);
}

void random_bytes(void *p, size_t size)
{
	char *q = p;

	while (size > 0) {
		ssize_t n = getrandom(q, MIN(size, (size_t)256), 0);

		ASSERT(n > 0);
		q += n;
		size -= (size_t)n;
	}
}

uint64_t random_u64(void)
{
	uint64_t v;

	random_bytes(&v, sizeof(v));
	return v;
}

void random_uuid(char out[37])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char b[16];

	random_bytes(b, sizeof(b));
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	/* By hand: every answer of the API has one, and printf takes longer than all the rest of its headers. */
	for (size_t i = 0; i < sizeof(b); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		*out++ = hex[b[i] >> 4];
		*out++ = hex[b[i] & 15];
	}
	*out = '\0';
}

void random_suffix(char *out, size_t n)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";

	for (size_t i = 0; i < n; i++)
		out[i] = alphabet[random_u64() % (sizeof(alphabet) - 1)];
	out[n] = '\0';
}
