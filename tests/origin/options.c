#include "options.h"

#include <getopt.h>

#include "url.h"

static const char usage[] =
    "usage: origin [--root DIR] [--port N] [--bind ADDR] [--ready-fd N]\n"
    "       origin --list --root DIR --base URL\n"
    "       origin --print PATH\n"
    "\n"
    "  --root DIR     serve the files below DIR (default: no files, only /-/ paths)\n"
    "  --port N       listen on TCP port N (default: any free one)\n"
    "  --bind ADDR    listen on this IPv4 address (default: 127.0.0.1)\n"
    "  --ready-fd N   write a newline to descriptor N once listening, and close it\n"
    "  --list         print a URL for each file below DIR, beginning with --base\n"
    "  --base URL     such as http://127.0.0.1:8080\n"
    "  --print PATH   print the body of /-/bytes/... or, unpacked, of /-/bomb/...\n"
    "  -h, --help     print this\n"
    "\n"
    "The server prints \"port N\" once it listens, and ends on SIGTERM or SIGINT.\n";

static const struct option names[] = {
    { "root", required_argument, NULL, 'r' },
    { "port", required_argument, NULL, 'p' },
    { "bind", required_argument, NULL, 'b' },
    { "ready-fd", required_argument, NULL, 'f' },
    { "list", no_argument, NULL, 'l' },
    { "base", required_argument, NULL, 'u' },
    { "print", required_argument, NULL, 'P' },
    { "help", no_argument, NULL, 'h' },
    { 0 },
};

void options_print_usage(FILE *to)
{
    fputs(usage, to);
}

static int complain(const char *what, const char *value)
{
    fprintf(stderr, "origin: %s%s (see origin -h)\n", what, value);
    return -1;
}

static int read_number(const char *text, int64_t most, int64_t *number)
{
    if (span_number(span_of(text), number) == 0 && *number <= most)
        return 0;
    return complain("not a number in range: ", text);
}

static int read_option(int name, struct options *options)
{
    int64_t n = 0;
    switch (name) {
    case 'r':
        options->root = optarg;
        return 0;
    case 'p':
        if (read_number(optarg, UINT16_MAX, &n) < 0)
            return -1;
        options->port = (uint16_t)n;
        return 0;
    case 'b':
        options->bind = optarg;
        return 0;
    case 'f':
        if (read_number(optarg, 1 << 20, &n) < 0)
            return -1;
        options->ready_fd = (int)n;
        return 0;
    case 'l':
        options->list = true;
        return 0;
    case 'u':
        options->base = optarg;
        return 0;
    case 'P':
        options->print = optarg;
        return 0;
    case 'h':
        options->help = true;
        return 0;
    default:
        return -1; /* getopt_long has said why */
    }
}

int options_read(int argc, char **argv, struct options *options)
{
    *options = (struct options){ .bind = "127.0.0.1", .ready_fd = -1 };
    for (int name; (name = getopt_long(argc, argv, "h", names, NULL)) != -1;) {
        if (read_option(name, options) < 0)
            return -1;
    }
    if (optind < argc)
        return complain("unexpected argument: ", argv[optind]);
    if (options->list && (options->root == NULL || options->base == NULL))
        return complain("--list needs --root and --base", "");
    return 0;
}
