/* options.h - the command line. */
#ifndef ORIGIN_OPTIONS_H
#define ORIGIN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Texts borrow from argv. */
struct options {
    const char *root;  /* NULL: no files */
    const char *bind;
    const char *base;  /* for list */
    const char *print; /* NULL: serve or list */
    uint16_t port;     /* 0: any free one */
    int ready_fd;      /* -1: nobody waits */
    bool list;
    bool help;
};

/* Returns 0, or -1 for bad usage, after one line about it on stderr. */
int options_read(int argc, char **argv, struct options *options);

void options_print_usage(FILE *to);

#endif
