/*
 * Logs: one line an event, `time level component message key=value ...`, to stderr (or where log_to says).
 *
 * Libraries log at debug only and return errors; the shell that waits logs once, with the error. Any
 * thread may log: a line is one write(2). Format arguments are evaluated only when the level is on.
 *
 *	log_info("raft", "became leader term=%" PRIu64, term);
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

extern enum log_level log_threshold; /* default LOG_INFO; set once at start */

void log_set_fd(int fd);
/* "error", "warn", "info", "debug"; false when unknown. */
bool log_set_level(const char *name);
void log_line(enum log_level, const char *component, const char *fmt, ...)
		__attribute__((format(printf, 3, 4)));

#define log_at(level, component, ...)                                                              \
	do {                                                                                       \
		if ((level) <= log_threshold)                                                      \
			log_line((level), (component), __VA_ARGS__);                               \
	} while (0)
#define log_error(component, ...) log_at(LOG_ERROR, component, __VA_ARGS__)
#define log_warn(component, ...) log_at(LOG_WARN, component, __VA_ARGS__)
#define log_info(component, ...) log_at(LOG_INFO, component, __VA_ARGS__)
#define log_debug(component, ...) log_at(LOG_DEBUG, component, __VA_ARGS__)

#endif
