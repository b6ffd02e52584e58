#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"
#include "orchestrator/kubelet/cgroup.h"
#include "orchestrator/kubelet/containerd-priv.h"
#include "orchestrator/kubelet/fsutil.h"

void containerd_print_config(const struct containerd_config *cfg, bool restrict_oom, bool overlay, struct buf *out)
{
	static const char *const off[] = {
		"io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
		"io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
		"io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
		"io.containerd.internal.v1.restart", "io.containerd.monitor.v1.cgroups",
	};
	const char *cri = "plugins.\"io.containerd.grpc.v1.cri\"";

	buf_printf(out, "# Written by kontiki at each start; changes are lost.\nversion = 2\n");
	buf_printf(out, "root = \"%s/root\"\nstate = \"%s/state\"\noom_score = 0\n", cfg->dir, cfg->dir);
	buf_addc(out, "disabled_plugins = [");
	for (size_t i = 0; i < ARRAY_LEN(off); i++)
		buf_printf(out, "%s\"%s\"", i ? ", " : "", off[i]);
	buf_printf(out, "]\n[grpc]\n  address = \"%s/containerd.sock\"\n", cfg->dir);
	buf_printf(out, "[%s]\n  sandbox_image = \"%s\"\n", cri, cfg->pause_image);
	buf_printf(out, "  restrict_oom_score_adj = %s\n", restrict_oom ? "true" : "false");
	buf_addc(out, "  max_container_log_line_size = 262144\n"
		      "  enable_unprivileged_ports = true\n"
		      "  enable_unprivileged_icmp = true\n"
		      "  stream_server_address = \"127.0.0.1\"\n"
		      "  stream_server_port = \"0\"\n"
		      "  netns_mounts_under_state_dir = true\n");
	buf_printf(out, "  [%s.cni]\n    bin_dir = \"%s/cni/bin\"\n    conf_dir = \"%s/cni/net.d\"\n", cri, cfg->dir,
			cfg->dir);
	buf_printf(out, "  [%s.containerd]\n    snapshotter = \"%s\"\n", cri, overlay ? "overlayfs" : "native");
	buf_printf(out, "    [%s.containerd.runtimes.runc]\n      runtime_type = \"io.containerd.runc.v2\"\n", cri);
	buf_printf(out, "[plugins.\"io.containerd.internal.v1.opt\"]\n  path = \"%s/opt\"\n", cfg->dir);
}

/* Without CAP_SYS_RESOURCE no oom_score_adj can be lowered, and runc would fail on every sandbox. */
static bool has_sys_resource(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {{0}};

	if (syscall(SYS_capget, &h, d) < 0)
		return false;
	return d[CAP_TO_INDEX(CAP_SYS_RESOURCE)].effective & CAP_TO_MASK(CAP_SYS_RESOURCE);
}

static bool has_overlay(void)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	return file_get("/proc/filesystems", 65536, &b, NULL) == 0 && str_search(buf_str(&b), STR("\toverlay\n")) >= 0;
}

/* An upper directory on overlayfs itself does not work: the trial mount tells. */
static bool overlay_works(const char *dir)
{
	_cleanup_(freep) char *at = xasprintf("%s/overlay-trial", dir);
	_cleanup_(freep) char *opts = xasprintf("lowerdir=%s/l,upperdir=%s/u,workdir=%s/w", at, at, at);
	_cleanup_(freep) char *merged = xasprintf("%s/m", at);
	static const char *const subs[] = {"l", "u", "w", "m"};
	bool works;

	if (!has_overlay())
		return false;
	for (size_t i = 0; i < ARRAY_LEN(subs); i++) {
		_cleanup_(freep) char *sub = xasprintf("%s/%s", at, subs[i]);

		if (fs_mkdir_all(sub, 0700, NULL) < 0)
			return false;
	}
	works = mount("overlay", merged, "overlay", 0, opts) == 0;
	if (works)
		umount2(merged, MNT_DETACH);
	fs_remove_tree(at, NULL);
	return works;
}

static bool use_overlay = true;

const char *containerd__snapshotter(void)
{
	return use_overlay ? "overlayfs" : "native";
}

int containerd__write_config(const struct containerd_config *cfg, const char *path, bool *ret_changed, struct err *e)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT, old = BUF_INIT;
	bool existed;

	use_overlay = overlay_works(cfg->dir);
	containerd_print_config(cfg, !has_sys_resource(), use_overlay, &text);
	existed = file_get(path, 1 << 20, &old, NULL) == 0;
	*ret_changed = existed && !str_eq(buf_str(&old), buf_str(&text));
	if (existed && !*ret_changed)
		return 0;
	return file_put(path, buf_str(&text), 0644, false, e);
}

/* The plugin is our own binary, under the names that containerd looks for. */
static int link_plugin(const char *dir, const char *name, struct err *e)
{
	_cleanup_(freep) char *path = xasprintf("%s/cni/bin/%s", dir, name);
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	struct stat st;

	if (n < 0)
		return err_set_errno(e, errno, "readlink /proc/self/exe");
	self[n] = '\0';
	/* A plugin that somebody put there (a file, not a link) stays. */
	if (lstat(path, &st) == 0 && !S_ISLNK(st.st_mode))
		return 0;
	unlink(path);
	if (symlink(self, path) < 0)
		return err_set_errno(e, errno, "symlink %s", path);
	return 0;
}

int containerd_write_cni(const char *dir, const char *name, const char *type, struct str members, struct err *e)
{
	_cleanup_(freep) char *path = xasprintf("%s/cni/net.d/10-%s.conflist", dir, name);
	_cleanup_(buf_fini) struct buf b = BUF_INIT, old = BUF_INIT;
	int rc = link_plugin(dir, "loopback", e);

	if (rc == 0)
		rc = link_plugin(dir, type, e);
	if (rc < 0)
		return rc;
	buf_printf(&b, "{\"cniVersion\":\"0.4.0\",\"name\":\"%s\",\"plugins\":[{\"type\":\"%s\"", name, type);
	if (members.n)
		buf_printf(&b, ",%.*s", STR_FMT(members));
	buf_addc(&b, "}]}\n");
	if (file_get(path, 1 << 20, &old, NULL) == 0 && str_eq(buf_str(&old), buf_str(&b)))
		return 0;
	return file_put(path, buf_str(&b), 0644, false, e);
}

void containerd__event_filters(struct buf *out)
{
	static const char *const filters[] = {"topic==\"/tasks/exit\"", "topic==\"/tasks/oom\""};

	for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
		buf_add1(out, 0x0a); /* field 1, length-delimited */
		buf_add1(out, (char)strlen(filters[i]));
		buf_addc(out, filters[i]);
	}
}

static bool varint(struct str *s, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && s->n > 0; shift += 7) {
		uint8_t b = (uint8_t)s->p[0];

		*s = str_skip(*s, 1);
		v |= (uint64_t)(b & 127) << shift;
		if (!(b & 128)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

/* The next length-delimited field, skipping other kinds; false at the end or when it is not protobuf. */
static bool next_field(struct str *s, unsigned *ret_number, struct str *ret)
{
	uint64_t tag, n;

	while (varint(s, &tag)) {
		switch (tag & 7) {
		case 0:
			if (!varint(s, &n))
				return false;
			break;
		case 2:
			if (!varint(s, &n) || n > s->n)
				return false;
			*ret_number = (unsigned)(tag >> 3);
			*ret = str_sub(*s, 0, n);
			*s = str_skip(*s, n);
			return true;
		default:
			return false;
		}
	}
	return false;
}

static void copy_to(char *out, size_t size, struct str s)
{
	size_t n = MIN(s.n, size - 1);

	memcpy(out, s.p, n);
	out[n] = '\0';
}

/*
 * Envelope: timestamp 1, namespace 2, topic 3, event 4 = Any: type_url 1, value 2. TaskExit: container_id 1, id 2;
 * TaskOOM: container_id 1.
 */
bool containerd__event_parse(struct str s, struct containerd_event *ret)
{
	struct str field, any = STR_NULL, value = STR_NULL;
	unsigned number;

	memset(ret, 0, sizeof(*ret));
	while (next_field(&s, &number, &field)) {
		if (number == 3)
			copy_to(ret->topic, sizeof(ret->topic), field);
		else if (number == 4)
			any = field;
	}
	while (next_field(&any, &number, &field))
		if (number == 2)
			value = field;
	while (next_field(&value, &number, &field)) {
		if (number == 1)
			copy_to(ret->container_id, sizeof(ret->container_id), field);
		else if (number == 2)
			copy_to(ret->id, sizeof(ret->id), field);
	}
	return ret->topic[0] != '\0';
}
