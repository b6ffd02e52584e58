#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
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

static void two(char *out, unsigned n)
{
	out[0] = (char)('0' + n / 10 % 10);
	out[1] = (char)('0' + n % 10);
}

/*
 * "2006-01-02T15:04:05", 19 characters. By hand: each object that is written or shown has a time or more, and strftime
 * takes longer than the rest of its metadata. The date is counted in years that begin in March, so that the leap day is a year's last,
 * of eras of 400 years.
 */
static size_t print_seconds(int64_t unix_s, char out[CLOCK_RFC3339_SIZE])
{
	int64_t days = unix_s / 86400, second = unix_s % 86400, era;
	unsigned day, year, month;

	if (second < 0) {
		second += 86400;
		days--;
	}
	days += 719468; /* from March 1st of the year 0 */
	era = (days >= 0 ? days : days - 146096) / 146097;
	day = (unsigned)(days - era * 146097);
	year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	day -= 365 * year + year / 4 - year / 100;
	month = (5 * day + 2) / 153;
	day -= (153 * month + 2) / 5;
	month = month < 10 ? month + 3 : month - 9;
	year = (unsigned)(era * 400 + year + (month <= 2)) % 10000;
	two(out, year / 100);
	two(out + 2, year);
	out[4] = out[7] = '-';
	two(out + 5, month);
	two(out + 8, day + 1);
	out[10] = 'T';
	two(out + 11, (unsigned)second / 3600);
	out[13] = out[16] = ':';
	two(out + 14, (unsigned)second / 60 % 60);
	two(out + 17, (unsigned)second % 60);
	return 19;
}

void clock_rfc3339(int64_t unix_s, char out[CLOCK_RFC3339_SIZE])
{
	size_t n = print_seconds(unix_s, out);

	memcpy(out + n, "Z", 2);
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

/*
 * Names need a few random bytes each, and the kernel's generator a system call each time: they are taken out of a supply, one a
 * thread. A child has its parent's; it must not give the same names, so it begins with none.
 */
static _Thread_local unsigned char supply[256];
static _Thread_local size_t supply_left;

static void forget_supply(void)
{
	supply_left = 0;
}

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, forget_supply);
}

static void name_bytes(unsigned char *p, size_t n)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (supply_left < n) {
		pthread_once(&once, watch_forks);
		random_bytes(supply, sizeof(supply));
		supply_left = sizeof(supply);
	}
	supply_left -= n;
	memcpy(p, supply + supply_left, n);
	explicit_bzero(supply + supply_left, n);
}

void random_uuid(char out[37])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char b[16];

	name_bytes(b, sizeof(b));
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

	for (size_t i = 0; i < n; i++) {
		uint64_t v;

		name_bytes((unsigned char *)&v, sizeof(v));
		out[i] = alphabet[v % (sizeof(alphabet) - 1)];
	}
	out[n] = '\0';
}
