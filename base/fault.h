/*
 * Faults that a test asks a running process for: a table of numbers in a file that the process maps when the environment names
 * it (KONTIKI_FAULTS), and that the test writes. Without the variable every value is 0, and asking costs one load.
 *
 *	KONTIKI_FAULTS=/tmp/n1.faults kontiki etcd ...        the test makes the file: fault_table_open
 *	usleep(fault_value(FAULT_disk_sync_ms) * 1000);         in the code it concerns
 *
 * Any thread.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

enum fault {
#define FAULT_ROW(name, text) FAULT_##name,
#include "base/faults.def"
#undef FAULT_ROW
	FAULT_N
};

/* Look at the environment, once, before there are threads. */
void fault_init(void);
int64_t fault_value(enum fault);
/* Is there a table at all? */
bool fault_any(void);

/* The test's side: make or open the file and map it; FAULT_N values, all 0 in a new one. NULL with errno set. */
volatile int64_t *fault_table_open(const char *path);

#endif
