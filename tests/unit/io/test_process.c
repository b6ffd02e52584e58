#include "tests/unit/io/iotest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/process.h"

struct watched {
	struct process_user user;
	struct process *p;
	struct process_exit ex;
	unsigned n;
};

static void on_exit_(struct process_user *u, struct process *p, struct process_exit ex)
{
	struct watched *w = container_of(u, struct watched, user);

	assert_ptr_equal(p, w->p);
	w->ex = ex;
	w->n++;
}

static void spawn(struct watched *w, struct process_spec *s)
{
	struct err e = ERR_INIT;

	memset(w, 0, sizeof(*w));
	w->user.on_exit = on_exit_;
	if (process_spawn(loop, s, &w->user, &w->p, &e) != 0)
		fail_msg("%s", e.text);
}

static void exits(void **state)
{
	struct process_spec s = {.argv = (const char *[]){"sh", "-c", "exit 3", NULL}};
	struct watched w;
	struct process *p;
	struct err e;

	spawn(&w, &s);
	assert_int_equal(w.n, 0);
	WAIT_FOR(loop, w.n == 1);
	assert_int_equal(w.ex.code, 3);
	s.argv = (const char *[]){"sleep", "100", NULL};
	s.session = true;
	s.die_with_parent = true;
	spawn(&w, &s);
	process_signal(w.p, SIGUSR1);
	WAIT_FOR(loop, w.n == 1);
	assert_int_equal(w.ex.signal, SIGUSR1);
	assert_int_equal(w.ex.code, -1);
	s.argv = (const char *[]){"no-such-program", NULL};
	assert_int_equal(process_spawn(loop, &s, &w.user, &p, &e), -ERR_NOT_FOUND);
	s.argv = (const char *[]){"/etc/passwd", NULL};
	assert_int_equal(process_spawn(loop, &s, &w.user, &p, &e), -ERR_FORBIDDEN);
	assert_non_null(strstr(e.text, "exec"));
	s.argv = (const char *[]){"true", NULL};
	s.cwd = "/nonexistent";
	assert_int_not_equal(process_spawn(loop, &s, &w.user, &p, &e), 0);
	assert_non_null(strstr(e.text, "directory"));
}

/* SIGTERM is ignored; SIGKILL comes after the grace. */
static void terminate(void **state)
{
	char dir[] = "/tmp/io-process-XXXXXX", path[64];
	struct process_spec s = {.session = true};
	struct watched w;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ready", dir);
	s.argv = (const char *[]){
		"sh", "-c", "trap '' TERM; : > $0; while :; do sleep 1; done", path, NULL};
	spawn(&w, &s);
	WAIT_FOR(loop, access(path, F_OK) == 0);
	process_terminate(w.p, 50);
	WAIT_FOR(loop, w.n == 1);
	assert_int_equal(w.ex.signal, SIGKILL);
	unlink(path);
	rmdir(dir);
}

struct ran {
	struct process_run r;
	unsigned n;
	struct process_exit ex;
	char *out, *err_out;
	struct err e;
};

static void on_run(struct process_run *pr, struct process_exit ex, struct str out,
	struct str err_out, const struct err *e)
{
	struct ran *r = container_of(pr, struct ran, r);

	r->n++;
	r->ex = ex;
	r->out = str_dup(out);
	r->err_out = str_dup(err_out);
	r->e = e ? *e : (struct err)ERR_INIT;
}

static void run(struct ran *r, const char *const *argv, struct str input)
{
	memset(r, 0, sizeof(*r));
	r->r = (struct process_run){
		.loop = loop, .spec.argv = argv, .input = input, .done = on_run};
	process_run(&r->r);
	assert_int_equal(r->n, 0);
	WAIT_FOR(loop, r->n == 1);
}

static void ran_fini(struct ran *r)
{
	free(r->out);
	free(r->err_out);
}

static void runs(void **state)
{
	struct buf big = BUF_INIT;
	struct ran r;

	run(&r, (const char *[]){"sh", "-c", "cat; echo warn >&2", NULL}, STR("input"));
	assert_int_equal(r.e.code, 0);
	assert_string_equal(r.out, "input");
	assert_string_equal(r.err_out, "warn\n");
	ran_fini(&r);
	run(&r, (const char *[]){"sh", "-c", "echo bad >&2; exit 2", NULL}, STR(""));
	assert_int_equal(r.ex.code, 2);
	assert_non_null(strstr(r.e.text, "status 2: bad"));
	ran_fini(&r);
	run(&r, (const char *[]){"no-such-program", NULL}, STR(""));
	assert_int_equal(r.e.code, ERR_NOT_FOUND);
	ran_fini(&r);
	for (unsigned i = 0; i < 60000; i++)
		buf_printf(&big, "%08x", i);
	run(&r, (const char *[]){"cat", NULL}, buf_str(&big));
	assert_true(str_eqc(buf_str(&big), r.out));
	ran_fini(&r);
	buf_fini(&big);
	/* The child has no descriptors but 0, 1 and 2. */
	run(&r, (const char *[]){"sh", "-c", "ls /proc/self/fd | tr '\\n' ' '", NULL}, STR(""));
	assert_string_equal(r.out, "0 1 2 3 ");
	ran_fini(&r);
	/* A background process that holds the pipe does not hold us. */
	run(&r, (const char *[]){"sh", "-c", "sleep 3 & echo out", NULL}, STR(""));
	assert_string_equal(r.out, "out\n");
	ran_fini(&r);
	memset(&r, 0, sizeof(r));
	r.r = (struct process_run){.loop = loop,
		.spec.argv = (const char *[]){"sleep", "100", NULL},
		.timeout_ms = 50,
		.done = on_run};
	process_run(&r.r);
	WAIT_FOR(loop, r.n == 1);
	assert_int_equal(r.e.code, ERR_TIMEOUT);
	ran_fini(&r);
	memset(&r, 0, sizeof(r));
	r.r = (struct process_run){
		.loop = loop, .spec.argv = (const char *[]){"sleep", "100", NULL}, .done = on_run};
	process_run(&r.r);
	loop_turn(loop, 5);
	process_run_cancel(&r.r);
	WAIT_FOR(loop, r.n == 1);
	assert_int_equal(r.e.code, ERR_CANCELED);
	ran_fini(&r);
}

struct kept {
	struct supervisor_user user;
	unsigned starts, exits, stopped;
};

static void on_start(struct supervisor_user *u, pid_t pid)
{
	container_of(u, struct kept, user)->starts++;
}

static void on_kept_exit(struct supervisor_user *u, struct process_exit ex)
{
	container_of(u, struct kept, user)->exits++;
}

static void on_stopped(struct supervisor_user *u)
{
	container_of(u, struct kept, user)->stopped++;
}

static void supervision(void **state)
{
	struct kept k = {.user = {on_start, on_kept_exit, on_stopped}};
	struct supervisor_config c = {.name = "test",
		.backoff_min_ms = 10,
		.backoff_max_ms = 40,
		.stop_grace_ms = 1000,
		.spec = {.argv = (const char *[]){"sh", "-c", "exit 1", NULL}}};
	struct supervisor *s = supervisor_start(loop, &c, &k.user);
	pid_t before;

	WAIT_FOR(loop, k.exits >= 4);
	assert_true(supervisor_restarts(s) >= 3);
	supervisor_stop(s);
	assert_int_equal(k.stopped, 0);
	WAIT_FOR(loop, k.stopped == 1);
	memset(&k, 0, sizeof(k));
	k.user = (struct supervisor_user){on_start, on_kept_exit, on_stopped};
	c.spec.argv = (const char *[]){"sleep", "100", NULL};
	c.spec.die_with_parent = true;
	s = supervisor_start(loop, &c, &k.user);
	WAIT_FOR(loop, k.starts == 1);
	before = supervisor_pid(s);
	assert_int_equal(kill(before, SIGKILL), 0);
	WAIT_FOR(loop, k.starts == 2);
	assert_int_not_equal(supervisor_pid(s), before);
	supervisor_restart(s);
	WAIT_FOR(loop, k.starts == 3);
	supervisor_stop(s);
	WAIT_FOR(loop, k.stopped == 1);
	assert_int_equal(k.exits, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exits),
		cmocka_unit_test(terminate),
		cmocka_unit_test(runs),
		cmocka_unit_test(supervision),
	};

	return cmocka_run_group_tests(tests, iotest_setup, iotest_teardown);
}
