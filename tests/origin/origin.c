/* origin - the test origin: the demo's file server, and the rude web server of our tests.
 *
 * README.md beside this file lists its paths and their options.
 * Powers: reads files below --root, listens on one TCP port; writes nothing but stdout.
 * Exit:   0 done, 1 cannot run, 2 bad usage.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "files.h"
#include "list.h"
#include "options.h"
#include "print.h"
#include "server.h"

enum {
    EXIT_DONE = 0,
    EXIT_CANNOT_RUN = 1,
    EXIT_USAGE = 2,
    COUNTED_TARGETS_MAX = 1000000,
};

static int fail(const char *what)
{
    fprintf(stderr, "origin: %s: %s\n", what, strerror(errno));
    return EXIT_CANNOT_RUN;
}

static int list(const struct options *options)
{
    int root_fd = files_root(options->root);
    if (root_fd < 0 || list_urls(root_fd, options->base, stdout) < 0)
        return fail(options->root);
    return EXIT_DONE;
}

static int print(const struct options *options)
{
    return print_body(span_of(options->print), STDOUT_FILENO) < 0 ? fail("--print") : EXIT_DONE;
}

static void allow_many_connections(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void announce(const struct server *server, int ready_fd)
{
    printf("port %u\n", server_port(server));
    fflush(stdout);
    if (ready_fd < 0)
        return;
    if (write(ready_fd, "\n", 1) < 0)
        fprintf(stderr, "origin: --ready-fd: %s\n", strerror(errno));
    close(ready_fd);
}

static int serve(const struct options *options)
{
    struct site site = { .root_fd = -1 };
    struct server *server = NULL;
    int status = EXIT_CANNOT_RUN;
    signal(SIGPIPE, SIG_IGN);
    allow_many_connections();
    if (options->root != NULL && (site.root_fd = files_root(options->root)) < 0)
        return fail(options->root);
    site.counts = counts_open(COUNTED_TARGETS_MAX);
    if (site.counts == NULL) {
        fail("counts");
        goto out;
    }
    server = server_open(&site, options->bind, options->port);
    if (server == NULL) {
        fail(options->bind);
        goto out;
    }
    announce(server, options->ready_fd);
    status = server_run(server) < 0 ? fail("serving") : EXIT_DONE;
out:
    server_close(&server);
    counts_free(&site.counts);
    buffer_pool_close(&site.pool);
    if (site.root_fd >= 0)
        close(site.root_fd);
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    if (options_read(argc, argv, &options) < 0)
        return EXIT_USAGE;
    if (options.help) {
        options_print_usage(stdout);
        return EXIT_DONE;
    }
    if (options.list)
        return list(&options);
    if (options.print != NULL)
        return print(&options);
    return serve(&options);
}
