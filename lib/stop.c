#include "lib/stop.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

int stop_open(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_DFL); /* an ignored signal never reaches a signalfd */
    signal(SIGTERM, SIG_DFL);
    if (sigprocmask(SIG_BLOCK, &set, NULL))
        return -1;
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int stop_asked(int stop_fd)
{
    static int asked;
    struct signalfd_siginfo info;
    while (read(stop_fd, &info, sizeof info) == sizeof info)
        asked++;
    return asked;
}

void stop_ready(int fd)
{
    if (fd < 0)
        return;
    ssize_t n = write(fd, "\n", 1);
    (void)n; /* nobody waits any more: no matter */
    close(fd);
}
