#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"

enum log_level log_threshold = LOG_INFO;
static int log_fd = STDERR_FILENO;

static const char *const names[] = {"error", "warn", "info", "debug"};

void log_set_fd(int fd)
{
	log_fd = fd;
}

bool log_set_level(const char *name)
{
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i], name) == 0) {
			log_threshold = (enum log_level)i;
			return true;
		}
	return false;
}

void log_line(enum log_level level, const char *component, const char *fmt, ...)
{
	char line[2048];
	struct timespec ts;
	struct tm tm;
	va_list ap;
	size_t n;
	int k;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	k = snprintf(line + n, sizeof(line) - n, ".%03ldZ %-5s %s ", ts.tv_nsec / 1000000,
			names[level], component);
	n += (size_t)MAX(k, 0);
	va_start(ap, fmt);
	k = vsnprintf(line + n, sizeof(line) - n, fmt, ap);
	va_end(ap);
	n = MIN(n + (size_t)MAX(k, 0), sizeof(line) - 2);
	for (size_t i = 0; i < n; i++)
		if (line[i] == '\n')
			line[i] = ' ';
	line[n++] = '\n';
	if (write(log_fd, line, n) < 0)
		return; /* A full or closed log must never stop the program. */
}
