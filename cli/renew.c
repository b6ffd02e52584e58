#include "cli/renew.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"

static const char *const files[] = {"ca.crt", "apiserver.crt", "apiserver.key", "peer.crt", "peer.key", "sa.key", "sa.pub", "ca.key", "ca-cross.crt", "sa-trusted.pem",
	"apiserver-kubelet-client.crt", "apiserver-kubelet-client.key", "admin.crt",
	"front-proxy-client.crt", "front-proxy-client.key", "front-proxy-ca.crt"};

static uint64_t mix(uint64_t h, const char *path)
{
	struct stat st;
	uint64_t v = 0;

	if (stat(path, &st) == 0)
		v = (uint64_t)st.st_ino ^ ((uint64_t)st.st_mtim.tv_sec << 20) ^ (uint64_t)st.st_mtim.tv_nsec ^ ((uint64_t)st.st_size << 40);
	return (h ^ v) * 0x100000001b3u + 1;
}

static uint64_t stamp_of(const struct renew *r)
{
	char path[PATH_MAX];
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", r->pki_dir, files[i]);
		h = mix(h, path);
	}
	return r->also ? mix(h, r->also) : h;
}

void renew_init(struct renew *r, const char *pki_dir, const struct pki_node *node, const char *also)
{
	*r = (struct renew){.pki_dir = pki_dir, .node = *node, .also = also};
	r->stamp = stamp_of(r);
	r->checked_ms = clock_mono_ms();
}

bool renew_look(struct renew *r)
{
	struct err e = ERR_INIT;
	uint64_t now = stamp_of(r), ms = clock_mono_ms();

	if (now == r->stamp && ms - r->checked_ms < RENEW_CHECK_S * 1000)
		return false;
	r->checked_ms = ms;
	if (pki_ensure_server(r->pki_dir, &r->node, &e) < 0 || pki_ensure_admin(r->pki_dir, &e) < 0)
		log_warn("server", "certificates cannot be renewed: %s", e.text);
	now = stamp_of(r);
	if (now == r->stamp)
		return false;
	r->stamp = now;
	return true;
}
