/* file.h - which file a name is of. Threads: any. Source: fstatat(2). */
#ifndef SLUICE_FILE_H
#define SLUICE_FILE_H

/* Whether the file `fd` is the one called `name` in the directory `dir`: 1, 0, or -1 with errno where
 * that can't be told. Its number of links says nothing: a backup may have made one (cp -al). */
int file_is_called(int fd, int dir, const char *name);
#endif
