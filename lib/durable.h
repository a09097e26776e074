/* durable.h - names that survive a power loss: a file's own fsync does not cover its name.
 *
 * 0, or -1 with errno. Source: fsync(2). */
#ifndef SLUICE_DURABLE_H
#define SLUICE_DURABLE_H

/* The names in the directory `dir_fd` (O_PATH will do). */
int durable_names(int dir_fd);
/* The directory's own name. Where we may not read what it lies in, nothing is done: who made it
 * there may see to that. */
int durable_name(int dir_fd);
#endif
