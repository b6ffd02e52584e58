#include "orchestrator/apiserver/zones.h"

#include <dirent.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"

#define DIR_OF_MACHINE "/usr/share/zoneinfo"
/* The database has some 600 names, the longest files 4 KiB, and three levels ("America/Argentina/Salta"). */
#define MAX_ZONES 2048
#define MAX_FILE (64u << 10)
#define MAX_DEPTH 3

static void add_file(struct zones *z, const char *path, const char *name)
{
	_cleanup_(buf_fini) struct buf data = BUF_INIT;
	struct err e = ERR_INIT;
	struct str *bytes;

	if (file_get(path, MAX_FILE, &data, &e) < 0 || data.n < 4 || memcmp(data.p, "TZif", 4) != 0)
		return;
	bytes = arena_new_of(&z->arena, struct str);
	*bytes = arena_str(&z->arena, buf_str(&data));
	map_put(&z->by_name, str_from(name), bytes);
}

static bool is_copy(unsigned depth, const char *entry)
{
	return depth == 1 && (strcmp(entry, "posix") == 0 || strcmp(entry, "right") == 0);
}

/* Links are followed: many names are links to others. Depth and number bound what loops of links can do. */
static void walk(struct zones *z, const char *dir, const char *prefix, unsigned depth)
{
	DIR *d = opendir(dir);
	struct dirent *entry;

	while (d && map_len(&z->by_name) < MAX_ZONES && (entry = readdir(d))) {
		struct arena scratch;
		const char *path, *name;
		struct stat st;

		if (entry->d_name[0] == '.' || is_copy(depth, entry->d_name))
			continue;
		arena_init(&scratch);
		path = arena_printf(&scratch, "%s/%s", dir, entry->d_name);
		name = arena_printf(&scratch, "%s%s", prefix, entry->d_name);
		if (stat(path, &st) < 0)
			log_debug("apiserver", "%s cannot be looked at: no time zone", path);
		else if (S_ISDIR(st.st_mode) && depth < MAX_DEPTH)
			walk(z, path, arena_printf(&scratch, "%s/", name), depth + 1);
		else if (S_ISREG(st.st_mode))
			add_file(z, path, name);
		arena_fini(&scratch);
	}
	if (d)
		closedir(d);
}

void zones_load(struct zones *z, const char *dir)
{
	arena_init(&z->arena);
	map_init(&z->by_name);
	walk(z, dir, "", 1);
}

void zones_fini(struct zones *z)
{
	map_fini(&z->by_name);
	arena_fini(&z->arena);
}

struct str zones_find(const struct zones *z, struct str name)
{
	const struct str *bytes = map_get(&z->by_name, name);

	return bytes ? *bytes : STR_NULL;
}

static struct zones machine;

static void load_machine(void)
{
	zones_load(&machine, DIR_OF_MACHINE);
	if (map_len(&machine.by_name) == 0)
		log_warn("apiserver", "no time zones in " DIR_OF_MACHINE ": expressions know UTC and offsets only (install tzdata)");
}

struct str zones_of_machine(struct str name)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load_machine);
	return zones_find(&machine, name);
}
