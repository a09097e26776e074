/* ini.h - files of sections and settings, as the AWS tools write them.
 *
 * "[section]", "name = value"; lines that begin with # or ; are comments; indented lines belong to
 * the setting above and are passed over. */
#ifndef SLUICE_INI_H
#define SLUICE_INI_H
#include <stdio.h>

/* Calls `setting` for each setting of the file (texts borrowed until it returns), and for each
 * section once with name NULL. 0, or -1 with errno. */
int ini_read(FILE *f, void (*setting)(void *arg, const char *section, const char *name,
                                      const char *value), void *arg);
#endif
