/*
 * The command table: one row a command in cli/commands.def, one function a command, one file a command or family.
 *
 * A command gets its words without the program's and its own name and returns the process's exit status. `kontiki
 * help COMMAND` and `kontiki COMMAND --help` call it with "--help", which every command answers through cmd_wants_help.
 */
#ifndef CLI_CMD_H
#define CLI_CMD_H

#include "base/err.h"
#include "cli/opts.h"

#define CMD_OK 0
#define CMD_FAILED 1
#define CMD_USAGE 2

#define CMD(name, group, summary) int cmd_##name(int argc, char **argv);
#include "cli/commands.def"
#undef CMD

/* "error: ..." on stderr; returns CMD_FAILED. */
int cmd_fail(const struct err *e);
/* The same with a hint at --help; returns CMD_USAGE. */
int cmd_usage(const char *command, const struct err *e);
/* True when argv asks for help; then the usage text and options have been printed. */
bool cmd_wants_help(int argc, char **argv, const char *usage, const struct opt *rows);

#endif
