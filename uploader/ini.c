#include "uploader/ini.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static char *trim(char *s)
{
    char *end = s + strlen(s);
    while (end > s && isspace((unsigned char)end[-1]))
        *--end = '\0';
    while (isspace((unsigned char)*s))
        s++;
    return s;
}

int ini_read(FILE *f, void (*setting)(void *arg, const char *section, const char *name,
                                      const char *value), void *arg)
{
    char section[256] = "", *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, f) >= 0) {
        char *equals = strchr(line, '=');
        if (*line == '[') {
            line[strcspn(line, "]")] = '\0';
            snprintf(section, sizeof section, "%s", trim(line + 1));
            setting(arg, section, NULL, NULL);
        } else if (equals && !isspace((unsigned char)*line) && *line != '#' && *line != ';') {
            *equals = '\0';
            setting(arg, section, trim(line), trim(equals + 1));
        }
    }
    if (line)
        explicit_bzero(line, room); /* it may hold a secret */
    free(line);
    return ferror(f) ? -1 : 0;
}
