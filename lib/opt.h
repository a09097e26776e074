/* opt.h - command-line options from one table, which also prints --help.
 *
 * Long names are spelled out: unique prefixes, which getopt_long(3) would take, are refused.
 * Bad input ends the process with EXIT_USAGE and a line that names the option. */
#ifndef SLUICE_OPT_H
#define SLUICE_OPT_H
#include <stdbool.h>
#include <stdint.h>

enum opt_type {
    OPT_FLAG,    /* bool: set to true */
    OPT_TEXT,    /* const char *, borrowed from argv */
    OPT_INT,     /* int64_t */
    OPT_BYTES,   /* int64_t; k, M, G are powers of 1024, as in curl */
    OPT_SECONDS, /* int64_t milliseconds, given in seconds, fractions allowed, as in curl */
    OPT_LIST,    /* struct opt_list; may be given several times */
};

enum {
    OPT_LIST_MOST = 64,
    OPT_TABLES_MOST = 32,
    OPT_MOST = 192,  /* of one program */
};

struct opt_list {
    const char *items[OPT_LIST_MOST];  /* borrowed from argv */
    int count;
};

struct opt {
    const char *name;     /* long name without dashes; NULL ends a table */
    char letter;          /* short name, or 0 */
    const char *arg;      /* argument's name in --help; NULL for a flag */
    enum opt_type type;
    void *to;             /* where the value goes; holds the default before */
    int64_t min, max;     /* of a number, in the unit of the stored value */
    const char *help;     /* one line; says the default */
};

struct opt_program {
    const char *name;      /* "feeder" */
    const char *usage;     /* "[options] [LIST|-]..." */
    const char *about;     /* one or two lines */
    const char *examples;  /* lines, indented */
    const struct opt *const *tables;  /* NULL-terminated list of tables */
    const char *const *headings;      /* NULL, or a line of --help before each; NULL: none there */
};

/* Reads argv. -h, -V and the hidden --list-options print and exit 0. Returns the index of the
 * first operand; argv is permuted so that operands come last. */
int opt_parse(const struct opt_program *p, int argc, char **argv);

/* "256k" -> 262144. 0, or -1 when it is no size or beyond int64_t. */
int opt_bytes(const char *text, int64_t *bytes);
#endif
