/* command.h - the command of exec: and pipe:, from one text into words, without a shell.
 *
 * Blanks stand between words; '...' or "..." keeps blanks (and the other quote) in one; nothing
 * else is special. {name} in a word is that fact of the object (fact.h), for a command that is run
 * per object: whatever it has in it, it stays in that word. The first word is a file's name, looked
 * for in PATH if it has no slash; a fact can't be in it.
 *
 * Threads: command_open() the main one, the rest any. */
#ifndef SLUICE_COMMAND_H
#define SLUICE_COMMAND_H
#include <stdbool.h>

#include "uploader/store.h"

struct command;

/* Gives a command, or NULL with errno after saying why. What is no command at all ends the program
 * with EXIT_USAGE. `dest` is for messages. */
struct command *command_open(const char *text, const char *dest, bool per_object);
void command_close(struct command *c);

/* The file to execute; borrowed. */
const char *command_path(const struct command *c);
/* The words, of one object where `f` is not NULL; and the environment: ours but for what begins
 * with SLUICE_, and the facts. NULL after the last; one free() frees all. NULL with errno. */
char **command_words(const struct command *c, const struct store_facts *f);
char **command_environment(const struct store_facts *f);
#endif
