#include "orchestrator/kubelet/volumes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "orchestrator/kubelet/fsutil.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/resources.h"

#define DEFAULT_MODE 0644

static const char *plugin(const Core__VolumeSource *v)
{
	if (!v)
		return NULL;
	if (v->empty_dir)
		return "empty-dir";
	if (v->config_map)
		return "configmap";
	if (v->secret)
		return "secret";
	if (v->downward_api)
		return "downward-api";
	if (v->projected)
		return "projected";
	if (v->persistent_volume_claim || v->ephemeral)
		return "local-volume";
	return NULL;
}

char *volume_path(struct arena *a, const char *pod_dir, const Core__Volume *v)
{
	const char *name = plugin(v->volume_source);

	if (v->volume_source && v->volume_source->host_path)
		return arena_strdup(a, nz(v->volume_source->host_path->path));
	if (!name)
		return NULL;
	return arena_printf(a, "%s/volumes/kubernetes.io~%s/%s", pod_dir, name, v->name);
}

static bool has_contents(const Core__VolumeSource *v)
{
	return v && (v->config_map || v->secret || v->downward_api || v->projected);
}

bool volumes_have_contents(const Core__Pod *pod)
{
	for (size_t i = 0; i < pod->spec->n_volumes; i++)
		if (has_contents(pod->spec->volumes[i]->volume_source))
			return true;
	return false;
}

/* Collecting the files of one volume. */
struct files {
	struct arena *arena;
	const struct vol_ctx *ctx;
	struct aw_file *f;
	size_t n;
	mode_t mode;
};

static void add_file(struct files *fs, const char *path, struct str data, mode_t mode)
{
	size_t n = fs->n;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(fs->f[i].path, path) == 0) {
			fs->f[i].data = data; /* a later source of a projection wins */
			fs->f[i].mode = mode;
			return;
		}
	}
	if ((n & (n - 1)) == 0)
		fs->f = arena_grow(fs->arena, fs->f, n * sizeof(*fs->f), (n ? 2 * n : 1) * sizeof(*fs->f));
	fs->f[fs->n++] = (struct aw_file){.path = path, .data = data, .mode = mode, .uid = (uid_t)-1};
}

static mode_t item_mode(const struct files *fs, const Core__KeyToPath *k)
{
	return k->has_mode ? (mode_t)k->mode & 0777 : fs->mode;
}

static bool config_map_key(const Core__ConfigMap *m, const char *key, struct str *ret)
{
	const char *text = pb_map_get(m->data, m->n_data, key);
	Core__ConfigMap__BinaryDataEntry *b = pb_map_find(m->binary_data, m->n_binary_data, key);

	if (text)
		*ret = str_from(text);
	else if (b)
		*ret = str_of(b->value.data, b->value.len);
	return text || b;
}

static int add_config_map(struct files *fs, const char *name, bool optional, Core__KeyToPath **items, size_t n_items,
		struct err *e)
{
	const struct obj_ref *r = objset_find(fs->ctx->env.objects, OBJ_CONFIG_MAP, name, 0);
	const Core__ConfigMap *m = r ? r->config_map : NULL;

	if (!m)
		return optional ? 0 : err_set(e, ERR_NOT_FOUND, "configmap \"%s\" not found", name);
	for (size_t i = 0; n_items == 0 && i < m->n_data; i++)
		add_file(fs, m->data[i]->key, str_from(nz(m->data[i]->value)), fs->mode);
	for (size_t i = 0; n_items == 0 && i < m->n_binary_data; i++)
		add_file(fs, m->binary_data[i]->key,
				str_of(m->binary_data[i]->value.data, m->binary_data[i]->value.len), fs->mode);
	for (size_t i = 0; i < n_items; i++) {
		struct str data;

		if (config_map_key(m, nz(items[i]->key), &data))
			add_file(fs, nz(items[i]->path), data, item_mode(fs, items[i]));
		else if (!optional)
			return err_set(e, ERR_NOT_FOUND, "configmap references non-existent config key: %s",
					nz(items[i]->key));
	}
	return 0;
}

static int add_secret(struct files *fs, const char *name, bool optional, Core__KeyToPath **items, size_t n_items,
		struct err *e)
{
	const struct obj_ref *r = objset_find(fs->ctx->env.objects, OBJ_SECRET, name, 0);
	const Core__Secret *s = r ? r->secret : NULL;

	if (!s)
		return optional ? 0 : err_set(e, ERR_NOT_FOUND, "secret \"%s\" not found", name);
	for (size_t i = 0; n_items == 0 && i < s->n_data; i++)
		add_file(fs, s->data[i]->key, str_of(s->data[i]->value.data, s->data[i]->value.len), fs->mode);
	for (size_t i = 0; i < n_items; i++) {
		Core__Secret__DataEntry *d = pb_map_find(s->data, s->n_data, nz(items[i]->key));

		if (d)
			add_file(fs, nz(items[i]->path), str_of(d->value.data, d->value.len), item_mode(fs, items[i]));
		else if (!optional)
			return err_set(e, ERR_NOT_FOUND, "references non-existent secret key: %s", nz(items[i]->key));
	}
	return 0;
}

static int add_downward(struct files *fs, Core__DownwardAPIVolumeFile **items, size_t n_items, struct err *e)
{
	for (size_t i = 0; i < n_items; i++) {
		mode_t mode = items[i]->has_mode ? (mode_t)items[i]->mode & 0777 : fs->mode;
		const char *value = "";
		int rc = 0;

		if (items[i]->field_ref)
			rc = env_field(fs->arena, &fs->ctx->env, nz(items[i]->field_ref->field_path), &value, e);
		else if (items[i]->resource_field_ref)
			rc = env_resource(fs->arena, &fs->ctx->env, NULL, items[i]->resource_field_ref, &value, e);
		if (rc < 0)
			return rc;
		add_file(fs, nz(items[i]->path), str_from(value), mode);
	}
	return 0;
}

static const char *ref_name(const Core__LocalObjectReference *r)
{
	return r ? nz(r->name) : "";
}

static int add_token(struct files *fs, const Core__ServiceAccountTokenProjection *t, struct err *e)
{
	const struct obj_ref *r = objset_find(fs->ctx->env.objects, OBJ_TOKEN, nz(t->audience),
			PB_OR(t, expiration_seconds, TOKEN_DEFAULT_SECONDS));

	if (!r || !r->token)
		return err_set(e, ERR_NOT_FOUND, "no token for the service account yet");
	add_file(fs, nz(t->path), str_from(r->token), fs->mode);
	return 0;
}

static int add_projection(struct files *fs, const Core__VolumeProjection *s, struct err *e)
{
	if (s->config_map)
		return add_config_map(fs, ref_name(s->config_map->local_object_reference),
				PB_OR(s->config_map, optional, 0), s->config_map->items, s->config_map->n_items, e);
	if (s->secret)
		return add_secret(fs, ref_name(s->secret->local_object_reference), PB_OR(s->secret, optional, 0),
				s->secret->items, s->secret->n_items, e);
	if (s->downward_api)
		return add_downward(fs, s->downward_api->items, s->downward_api->n_items, e);
	if (s->service_account_token)
		return add_token(fs, s->service_account_token, e);
	return err_set(e, ERR_UNIMPLEMENTED, "a projected volume source of this type is not supported");
}

int volume_render(struct arena *a, const struct vol_ctx *ctx, const Core__Volume *v, struct aw_file **ret, size_t *ret_n,
		struct err *e)
{
	struct files fs = {.arena = a, .ctx = ctx};
	const Core__VolumeSource *s = v->volume_source;
	int rc = 0;

	if (s->config_map) {
		fs.mode = (mode_t)PB_OR(s->config_map, default_mode, DEFAULT_MODE) & 0777;
		rc = add_config_map(&fs, ref_name(s->config_map->local_object_reference),
				PB_OR(s->config_map, optional, 0), s->config_map->items, s->config_map->n_items, e);
	} else if (s->secret) {
		fs.mode = (mode_t)PB_OR(s->secret, default_mode, DEFAULT_MODE) & 0777;
		rc = add_secret(&fs, nz(s->secret->secret_name), PB_OR(s->secret, optional, 0), s->secret->items,
				s->secret->n_items, e);
	} else if (s->downward_api) {
		fs.mode = (mode_t)PB_OR(s->downward_api, default_mode, DEFAULT_MODE) & 0777;
		rc = add_downward(&fs, s->downward_api->items, s->downward_api->n_items, e);
	} else if (s->projected) {
		fs.mode = (mode_t)PB_OR(s->projected, default_mode, DEFAULT_MODE) & 0777;
		for (size_t i = 0; rc == 0 && i < s->projected->n_sources; i++)
			rc = add_projection(&fs, s->projected->sources[i], e);
	}
	if (rc < 0)
		return rc;
	*ret = fs.f;
	*ret_n = fs.n;
	return 0;
}

static gid_t fs_group(const Core__Pod *pod)
{
	return pod->spec->security_context && pod->spec->security_context->has_fs_group
			       ? (gid_t)pod->spec->security_context->fs_group
			       : (gid_t)-1;
}

static int mount_tmpfs(const char *path, int64_t size, struct err *e)
{
	_cleanup_(freep) char *opts = size > 0 ? xasprintf("mode=0755,size=%lld", (long long)size) : xstrdup("mode=0755");

	if (fs_is_mount_point(path))
		return 0;
	if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, opts) < 0)
		return err_set_errno(e, errno, "mount a tmpfs on %s", path);
	return 0;
}

static int own_by_group(const char *path, gid_t gid, mode_t mode, struct err *e)
{
	if (gid != (gid_t)-1 && chown(path, (uid_t)-1, gid) < 0)
		return err_set_errno(e, errno, "chown %s", path);
	if (chmod(path, gid != (gid_t)-1 ? mode | S_ISGID : mode) < 0)
		return err_set_errno(e, errno, "chmod %s", path);
	return 0;
}

static int setup_empty_dir(const struct vol_ctx *ctx, const Core__Volume *v, const char *path, struct err *e)
{
	const Core__EmptyDirVolumeSource *s = v->volume_source->empty_dir;
	int rc = 0;

	if (strcmp(nz(s->medium), "Memory") == 0)
		rc = mount_tmpfs(path, s->size_limit ? res_units(s->size_limit->string) : 0, e);
	return rc < 0 ? rc : own_by_group(path, fs_group(ctx->env.pod), 0777, e);
}

static int setup_contents(const struct vol_ctx *ctx, const Core__Volume *v, const char *path, struct err *e)
{
	struct arena a;
	struct aw_file *files = NULL;
	gid_t gid = fs_group(ctx->env.pod);
	size_t n = 0;
	bool changed;
	int rc;

	arena_init(&a);
	rc = volume_render(&a, ctx, v, &files, &n, e);
	if (rc == 0 && (v->volume_source->secret || v->volume_source->projected))
		rc = mount_tmpfs(path, 0, e);
	for (size_t i = 0; gid != (gid_t)-1 && i < n; i++)
		files[i].mode |= 0440;
	if (rc == 0)
		rc = own_by_group(path, gid, 0755, e);
	if (rc == 0)
		rc = atomic_write(path, files, n, gid, &changed, e);
	arena_fini(&a);
	return rc;
}

static int check_host_path(const Core__HostPathVolumeSource *h, struct err *e)
{
	const char *type = nz(h->type), *path = nz(h->path);
	static const struct {
		const char *type, *text;
		mode_t mode;
	} rows[] = {
		{"Directory", "a directory", S_IFDIR},
		{"DirectoryOrCreate", "a directory", S_IFDIR},
		{"File", "a file", S_IFREG},
		{"FileOrCreate", "a file", S_IFREG},
		{"Socket", "a socket file", S_IFSOCK},
		{"CharDevice", "a character device", S_IFCHR},
		{"BlockDevice", "a block device", S_IFBLK},
	};
	struct stat st;
	int rc, fd;

	if (stat(path, &st) < 0) {
		/* Without a type the runtime would make a directory; with these types it is asked for. */
		if (!*type || strcmp(type, "DirectoryOrCreate") == 0) {
			rc = fs_mkdir_all(path, 0755, e);
			return rc;
		}
		if (strcmp(type, "FileOrCreate") == 0) {
			fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
			if (fd < 0)
				return err_set_errno(e, errno, "create %s", path);
			close(fd);
			return 0;
		}
		return err_set(e, ERR_INVALID, "hostPath type check failed: %s does not exist", path);
	}
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(type, rows[i].type) == 0 && (st.st_mode & S_IFMT) != rows[i].mode)
			return err_set(e, ERR_INVALID, "hostPath type check failed: %s is not %s", path, rows[i].text);
	return 0;
}

static int setup_claim(const struct vol_ctx *ctx, const Core__Volume *v, const char *link, struct arena *a, struct err *e)
{
	const char *name = objset_claim_name(a, ctx->env.pod, v);
	const struct obj_ref *r = objset_find(ctx->env.objects, OBJ_CLAIM, name, 0);
	gid_t gid = fs_group(ctx->env.pod);
	int rc;

	if (!r || r->err.code)
		return err_set(e, ERR_NOT_FOUND, "persistentvolumeclaim \"%s\" not found", name);
	rc = claim_setup(&ctx->claims, r, link, e);
	if (rc == 0 && gid != (gid_t)-1 && r->pv->spec->persistent_volume_source->local)
		rc = own_by_group(link, gid, 0775, e);
	return rc;
}

static int setup_one(const struct vol_ctx *ctx, const Core__Volume *v, struct arena *a, struct err *e)
{
	char *path = volume_path(a, ctx->pod_dir, v);
	int rc;

	if (!path)
		return err_set(e, ERR_UNIMPLEMENTED, "volume \"%s\" is of a type that is not supported", nz(v->name));
	if (v->volume_source->host_path)
		return check_host_path(v->volume_source->host_path, e);
	if (v->volume_source->persistent_volume_claim || v->volume_source->ephemeral)
		return setup_claim(ctx, v, path, a, e);
	rc = fs_mkdir_all(path, 0755, e);
	if (rc < 0)
		return rc;
	if (v->volume_source->empty_dir)
		return setup_empty_dir(ctx, v, path, e);
	return setup_contents(ctx, v, path, e);
}

int volumes_setup(const struct vol_ctx *ctx, struct err *e)
{
	const Core__PodSpec *spec = ctx->env.pod->spec;
	struct arena a;
	int rc = fs_mkdir_all(ctx->pod_dir, 0750, e);

	arena_init(&a);
	for (size_t i = 0; rc == 0 && i < spec->n_volumes; i++) {
		rc = setup_one(ctx, spec->volumes[i], &a, e);
		if (rc < 0)
			err_prefix(e, "MountVolume.SetUp failed for volume \"%s\"", nz(spec->volumes[i]->name));
	}
	arena_fini(&a);
	return rc;
}

int volumes_teardown(const char *pod_dir, struct err *e)
{
	fs_unmount_below(pod_dir);
	return fs_remove_tree(pod_dir, e);
}

static int open_beneath(int dirfd, const char *path, uint64_t flags)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};

	return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
}

/* Make the missing directories of the path, each inside what is there already. */
static int make_beneath(int rootfd, const char *subpath, struct err *e)
{
	_cleanup_(freep) char *copy = xstrdup(subpath);

	for (char *slash = copy;; slash++) {
		_cleanup_(closep) int parent = -1;
		char *end = strchr(slash, '/'), *last;
		int fd;

		if (end)
			*end = '\0';
		fd = open_beneath(rootfd, copy, O_PATH);
		if (fd >= 0) {
			close(fd);
		} else {
			last = strrchr(copy, '/');
			if (last)
				*last = '\0';
			parent = open_beneath(rootfd, last ? copy : ".", O_PATH | O_DIRECTORY);
			if (last)
				*last = '/';
			if (parent < 0 || (mkdirat(parent, last ? last + 1 : copy, 0755) < 0 && errno != EEXIST))
				return err_set_errno(e, errno, "failed to create subPath directory %s", subpath);
		}
		if (!end)
			return 0;
		*end = '/';
		slash = end;
	}
}

int volume_subpath(struct arena *a, const char *pod_dir, const char *root, const char *subpath, const char *container,
		size_t i, char **ret, struct err *e)
{
	_cleanup_(closep) int rootfd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1, made = -1;
	char *at = arena_printf(a, "%s/volume-subpaths/%s/%zu", pod_dir, container, i), *source;
	struct stat st;
	int rc;

	if (!atomic_path_ok(subpath))
		return err_set(e, ERR_INVALID, "subPath \"%s\" must be relative and must not contain '..'", subpath);
	if (rootfd < 0)
		return err_set_errno(e, errno, "open %s", root);
	rc = make_beneath(rootfd, subpath, e);
	if (rc < 0)
		return rc;
	fd = open_beneath(rootfd, subpath, O_PATH);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set_errno(e, errno, "open subPath %s", subpath);
	if (fs_is_mount_point(at))
		umount2(at, MNT_DETACH);
	rc = fs_mkdir_all(S_ISDIR(st.st_mode) ? at : arena_printf(a, "%s/volume-subpaths/%s", pod_dir, container), 0750, e);
	if (rc < 0)
		return rc;
	if (!S_ISDIR(st.st_mode)) {
		made = open(at, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
		if (made < 0)
			return err_set_errno(e, errno, "create %s", at);
	}
	source = arena_printf(a, "/proc/self/fd/%d", fd);
	if (mount(source, at, NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_set_errno(e, errno, "bind subPath %s", subpath);
	*ret = at;
	return 0;
}
