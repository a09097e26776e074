/* keeper.h - a small process that ends the commands which a killed uploader leaves behind: whole
 * process groups, which PR_SET_PDEATHSIG would not reach.
 *
 * It shares a table of the groups with us and sleeps until we are gone: then it kills what is in
 * the table. It has no descriptor but one end of a pipe, and no signal of a terminal reaches it.
 *
 * Threads: open and close from the main one, before others start; the rest any. */
#ifndef SLUICE_KEEPER_H
#define SLUICE_KEEPER_H
#include <stdatomic.h>
#include <sys/types.h>

struct keeper;

/* For `most` groups at once. Gives a keeper, or NULL with errno. */
struct keeper *keeper_open(int most);
/* Ends the process. */
void keeper_close(struct keeper *k);

/* A free place in the table, never NULL. Whoever starts a group puts its number there before it
 * executes anything, and -1 while there is none yet; 0 frees the place, while the number can't be
 * another's yet. */
_Atomic pid_t *keeper_place(struct keeper *k);
#endif
