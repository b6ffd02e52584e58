#include "orchestrator/kubelet/claims.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/kubelet/fsutil.h"
#include "orchestrator/kubelet/pbutil.h"

#define PROVISIONER "kontiki.dev/local-path"
#define ANN_PROVISIONED_BY "pv.kubernetes.io/provisioned-by"
#define ANN_NODE "kontiki.dev/node"
/* What is to be deleted. A volume's name never begins so. */
#define REMOVED ".removed-"
#define NAME_MAX_LEN 200

static const char *annotation(const Core__PersistentVolume *v, const char *key)
{
	return nz(pb_map_get(v->metadata->annotations, v->metadata->n_annotations, key));
}

static bool is_ours(const Core__PersistentVolume *v)
{
	return strcmp(annotation(v, ANN_PROVISIONED_BY), PROVISIONER) == 0;
}

/* A name that is one path component and nothing else, as the names of API objects are. */
static bool name_ok(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= NAME_MAX_LEN && name[0] != '.' && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") == n;
}

static const char *type_of(const Core__PersistentVolumeSource *s)
{
	return s->nfs ? "nfs" : s->csi ? "csi" : s->iscsi ? "iscsi" : s->fc ? "fc" : "of a kind";
}

int claim_source(struct arena *a, const struct claims_ctx *ctx, const struct obj_ref *r, const char **ret, struct err *e)
{
	const Core__PersistentVolume *v = r->pv;
	const Core__PersistentVolumeSource *s;

	if (!v)
		return err_set(e, ERR_UNAVAILABLE, "persistentvolumeclaim \"%s\" is not bound to a volume", r->name);
	s = v->spec->persistent_volume_source;
	if (pb_streq(v->spec->volume_mode, "Block"))
		return err_set(e, ERR_UNIMPLEMENTED, "volume \"%s\" has volumeMode Block, which is not supported: use Filesystem", v->metadata->name);
	if (s->local && is_ours(v)) {
		if (!name_ok(v->metadata->name))
			return err_set(e, ERR_INVALID, "volume \"%s\" cannot be a directory's name", v->metadata->name);
		if (strcmp(annotation(v, ANN_NODE), ctx->node_name) != 0)
			return err_set(e, ERR_INVALID, "volume \"%s\" is on node \"%s\", not here on \"%s\"", v->metadata->name,
					annotation(v, ANN_NODE), ctx->node_name);
		*ret = arena_printf(a, "%s/%s", ctx->folder, v->metadata->name);
		return 0;
	}
	if (s->local || s->host_path) {
		*ret = arena_strdup(a, nz(s->local ? s->local->path : s->host_path->path));
		return 0;
	}
	return err_set(e, ERR_UNIMPLEMENTED, "volume \"%s\" is %s, which is not supported: local and hostPath volumes are", v->metadata->name,
			type_of(s));
}

static int make_source(const Core__PersistentVolume *v, const char *path, struct err *e)
{
	const Core__HostPathVolumeSource *h = v->spec->persistent_volume_source->host_path;
	bool make = h && (nz(h->type)[0] == '\0' || strcmp(h->type, "DirectoryOrCreate") == 0);
	struct stat st;

	if (stat(path, &st) == 0) {
		if (!S_ISDIR(st.st_mode))
			return err_set(e, ERR_INVALID, "%s of volume \"%s\" is not a directory", path, v->metadata->name);
		return 0;
	}
	if (!make && !is_ours(v))
		return err_set(e, ERR_NOT_FOUND, "%s of volume \"%s\" does not exist on this node", path, v->metadata->name);
	if (fs_mkdir_all(path, 0755, e) < 0)
		return -(int)e->code;
	/* Containers of any user write to it, as to the volumes of other provisioners. */
	if (is_ours(v) && chmod(path, 0777) < 0)
		return err_set_errno(e, errno, "chmod %s", path);
	return 0;
}

static int point(const char *link, const char *path, struct err *e)
{
	char have[4096];
	ssize_t n = readlink(link, have, sizeof(have) - 1);
	_cleanup_(freep) char *parent = xstrdup(link);

	if (n > 0 && str_eqc(str_of(have, (size_t)n), path))
		return 0;
	*strrchr(parent, '/') = '\0';
	if (fs_mkdir_all(parent, 0755, e) < 0)
		return -(int)e->code;
	if (n >= 0)
		unlink(link);
	if (symlink(path, link) < 0)
		return err_set_errno(e, errno, "link %s to %s", link, path);
	return 0;
}

int claim_setup(const struct claims_ctx *ctx, const struct obj_ref *r, const char *link, struct err *e)
{
	const char *path;
	struct arena a;
	int rc;

	arena_init(&a);
	/* The way to the folder is root's alone; what is in it is open to containers that have it mounted. */
	rc = claim_source(&a, ctx, r, &path, e);
	if (rc == 0 && is_ours(r->pv))
		rc = fs_mkdir_all(ctx->folder, 0711, e);
	if (rc == 0)
		rc = make_source(r->pv, path, e);
	if (rc == 0)
		rc = point(link, path, e);
	arena_fini(&a);
	return rc;
}

int claims_remove(const char *folder, const char *name, struct err *e)
{
	_cleanup_(freep) char *from = NULL, *to = NULL;

	if (!name_ok(name))
		return err_set(e, ERR_BAD_REQUEST, "\"%s\" cannot be the name of a volume", name);
	from = xasprintf("%s/%s", folder, name);
	to = xasprintf("%s/" REMOVED "%s.%016llx", folder, name, (unsigned long long)random_u64());
	if (rename(from, to) < 0 && errno != ENOENT)
		return err_set_errno(e, errno, "remove volume \"%s\"", name);
	return 0;
}

void claims_sweep(const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *de;

	while (d && (de = readdir(d)) != NULL) {
		_cleanup_(freep) char *path = NULL;
		struct err e = ERR_INIT;

		if (strncmp(de->d_name, REMOVED, strlen(REMOVED)) != 0)
			continue;
		path = xasprintf("%s/%s", folder, de->d_name);
		if (fs_remove_tree(path, &e) < 0)
			log_warn("kubelet", "removed volume %s: %s", path, e.text);
	}
	if (d)
		closedir(d);
}
