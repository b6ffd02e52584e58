/* A snapshot file: every byte of it is read, and it is taken or refused. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "store/snapfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	int fd = memfd_create("snapfile", MFD_CLOEXEC);
	struct snapfile_info info;
	char path[64];

	log_threshold = LOG_ERROR;
	ASSERT(fd >= 0);
	if (size > 1 << 16 || write(fd, p, size) != (ssize_t)size) {
		close(fd);
		return 0;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (snapfile_check(path, &info, NULL) == 0)
		ASSERT(info.bytes == size && info.chunks > 0);
	close(fd);
	return 0;
}
