/* Database files of etcd, as a stranger could make them: read, and imported into a store that is thrown away. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "store/bolt.h"
#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static void remove_dir(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *ent;

	while (d != NULL && (ent = readdir(d)) != NULL)
		if (ent->d_name[0] != '.')
			(void)unlinkat(dirfd(d), ent->d_name, 0);
	if (d != NULL)
		closedir(d);
	(void)rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	char dir[] = "/tmp/kontiki-fuzz-bolt.XXXXXX", path[64];
	struct store_cfg cfg = {.dir = dir, .no_sync = true, .map_size = 1 << 26};
	int fd = memfd_create("bolt", MFD_CLOEXEC);
	struct bolt_import info;
	struct err e = ERR_INIT;
	struct bolt_in *in;
	struct store *s;

	ASSERT(fd >= 0 && write(fd, p, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	(void)bolt_is(path);
	if (bolt_in_open(path, &in, &e) == 0) {
		ASSERT(mkdtemp(dir) != NULL);
		ASSERT(store_open(&cfg, &s, NULL) == 0);
		if (bolt_import(in, s, &info, &e) == 0)
			ASSERT(info.revision >= 1 && info.revision == store_revision(s));
		store_abandon(s);
		remove_dir(dir);
		bolt_in_close(in);
	}
	close(fd);
	return 0;
}
