/* The program's entry: finds the command's row and calls it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/util.h"
#include "cli/cmd.h"
#include "cli/kube.h"
#include "net/cni.h"

static const struct {
	const char *name, *group, *summary;
	int (*run)(int argc, char **argv);
} commands[] = {
#define CMD(name, group, summary) {#name, group, summary, cmd_##name},
#include "cli/commands.def"
#undef CMD
};

static void change(char *text, char from, char to)
{
	for (; *text; text++)
		if (*text == from)
			*text = to;
}

static void print_commands(FILE *out)
{
	const char *group = "";
	char name[32];

	fprintf(out, "kontiki: a highly available Kubernetes-compatible cluster in one program\n\n"
		     "usage: kontiki COMMAND [OPTIONS]\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(group, commands[i].group) != 0) {
			group = commands[i].group;
			fprintf(out, "\n%s\n", group);
		}
		snprintf(name, sizeof(name), "%s", commands[i].name);
		change(name, '_', '-');
		fprintf(out, "  %-14s %s\n", name, commands[i].summary);
	}
	fprintf(out, "\nkontiki COMMAND --help tells a command's options.\n");
}

static int run_command(const char *name, int argc, char **argv)
{
	char key[32];

	/* A command's name may contain dashes where the function has underscores. */
	snprintf(key, sizeof(key), "%s", name);
	change(key, '-', '_');
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i].name, key) == 0)
			return commands[i].run(argc, argv);
	fprintf(stderr, "error: unknown command \"%s\" for \"kontiki\"\nRun 'kontiki help' for the list.\n", name);
	return CMD_USAGE;
}

int cmd_help(int argc, char **argv)
{
	char *help[] = {(char *)"--help", NULL};

	if (argc > 0 && argv[0][0] != '-')
		return run_command(argv[0], 1, help);
	print_commands(stdout);
	return CMD_OK;
}

int cmd_fail(const struct err *e)
{
	fprintf(stderr, "error: %s\n", e->text);
	return CMD_FAILED;
}

int cmd_usage(const char *command, const struct err *e)
{
	fprintf(stderr, "error: %s\nSee 'kontiki %s --help' for usage.\n", e->text, command);
	return CMD_USAGE;
}

bool cmd_wants_help(int argc, char **argv, const char *usage, const struct opt *rows)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0)
			continue;
		printf("%s", usage);
		if (rows && rows->name) {
			printf("\nOptions:\n");
			opts_print_help(rows, stdout);
		}
		return true;
	}
	return false;
}

/*
 * `kontiki -n demo get pods`: where the command's name stands behind options that all client commands have, those are
 * put behind it. Returns the index of the name's place, or argc.
 */
static int find_command(int argc, char **argv)
{
	int at = 1;

	while (at < argc && argv[at][0] == '-' && argv[at][1] != '\0') {
		const char *word = argv[at] + 1 + (argv[at][1] == '-');
		size_t len = strcspn(word, "=");
		const struct opt *o = kube_rows;

		for (; o->name; o++)
			if (argv[at][1] == '-' ? strlen(o->name) == len && strncmp(o->name, word, len) == 0 : o->letter == word[0])
				break;
		if (o->name == NULL)
			return 1;
		/* The value is the next word unless it is in this one: --name=value, -nvalue. */
		at += o->type != OPT_BOOL && (argv[at][1] == '-' ? word[len] == '\0' : word[1] == '\0') ? 2 : 1;
	}
	return at;
}

static void rotate_command(int at, char **argv)
{
	char *name = argv[at];

	memmove(argv + 2, argv + 1, (size_t)(at - 1) * sizeof(*argv));
	argv[1] = name;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int main(int argc, char **argv)
{
	int at;

	if (argc > 0 && cni_wanted(argv[0]))
		return cni_main(argv[0]);
	signal(SIGPIPE, SIG_IGN);
	fault_init();
	/* A link of that name stands in for the program of that name. */
	if (argc > 0 && strcmp(base_name(argv[0]), "etcd") == 0)
		return cmd_etcd(argc - 1, argv + 1);
	if (argc < 2) {
		print_commands(stderr);
		return CMD_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return cmd_help(argc - 2, argv + 2);
	if (strcmp(argv[1], "--version") == 0)
		return printf("kontiki %s\n", PACKAGE_VERSION) < 0;
	at = find_command(argc, argv);
	if (at > 1 && at < argc)
		rotate_command(at, argv);
	return run_command(argv[1], argc - 2, argv + 2);
}
