/*
 * Command-line options by table, as Kubernetes users know them from pflag: --name=value, --name value, -n value,
 * -nvalue, -it (several flags in one), --flag, --flag=false; options and arguments may be mixed; `--` ends options.
 *
 * A command has a struct of settings and rows that say where each option goes. The caller fills the defaults
 * before parsing. A row's `env` names an environment variable that is read before the command line. Strings are
 * borrowed from argv or the environment.
 */
#ifndef CLI_OPTS_H
#define CLI_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

enum opt_type {
	OPT_STR,  /* const char * */
	OPT_BOOL, /* bool */
	OPT_INT,  /* int64_t */
	OPT_LIST, /* struct opt_list: may be given several times */
};

struct opt {
	const char *name; /* without the dashes */
	char letter;      /* short form, or 0 */
	enum opt_type type;
	size_t offset;         /* of the member in the settings */
	const char *arg;       /* what the help calls the value */
	const char *help;
	const char *env;       /* environment variable, or NULL */
	const char *bare;      /* value when given without one (--flag, pflag's NoOptDefVal), or NULL */
};

struct opt_list {
	const char **v;
	size_t n;
};

/* Arguments that are no options, in order; n_before_dash is their number before a `--`. */
struct opt_args {
	const char **v;
	size_t n;
	size_t n_before_dash;
	bool has_dash;
};

#define OPT_END {NULL, 0, OPT_BOOL, 0, NULL, NULL, NULL, NULL}

/*
 * Parse argv[0..argc) (without the program's and the command's name) by `rows`, ending with OPT_END, into `into`.
 * Several tables may be chained: parse tries `rows`, then `more` (or NULL) with `into_more`. Unknown options and bad
 * values are errors that name the option. ret_args and lists are freed with opt_args_fini / opt_list_fini.
 */
int opts_parse(const struct opt *rows, void *into, const struct opt *more, void *into_more, int argc,
		char **argv, struct opt_args *ret_args, struct err *e);
void opt_args_fini(struct opt_args *);
void opt_list_fini(struct opt_list *);
/* One line an option, as --help shows them. */
void opts_print_help(const struct opt *rows, FILE *out);

#endif
