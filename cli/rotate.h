/* `kontiki cert rotate-ca` and `rotate-sa`: a rotation (rotation.h) as an administrator sees it. */
#ifndef CLI_ROTATE_H
#define CLI_ROTATE_H

#include "cli/admin.h"
#include "cli/rotation.h"

struct rotate_opts {
	const struct admin_opts *admin;
	bool yes, retire, cancel, force;
	int64_t wait_s;
};
int rotate_run(const struct rotate_opts *, enum rotation_kind, struct err *e);
/* A line for each rotation that is under way; nothing when no server answers. */
void rotate_print_state(const struct admin_opts *);

#endif
