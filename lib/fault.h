/* fault.h - named places where a test can kill, stop or delay a process or make a call fail.
 *
 * Only in a test build (make FAULTS=1, into build-faults/). In any other the macros are nothing,
 * and neither the names nor the code below are in the programs.
 *
 * The environment says what happens, in SLUICE_FAULT=NAME:N:ACTION[,NAME:N:ACTION]...: when the
 * place NAME is passed for the N-th time (from 1), ACTION:
 *
 *     kill         SIGKILL to the process         delay=MS     sleep there
 *     stop         SIGSTOP to the process         fail=ERRNO   name or number; FAULT_FAILS only
 *
 * Several of one place and N happen in the order given. What happens is said on stderr first, and
 * at exit what did not come to happen. Anything else in the variable ends the process with
 * EXIT_USAGE before it begins.
 *
 * A name is that of one place and begins with its program's, or with "worker" for what fetcher and
 * uploader share. One that ends in "sent" is passed only when the message was taken by the wire.
 *
 * Threads: any; counting is atomic. */
#ifndef SLUICE_FAULT_H
#define SLUICE_FAULT_H
#include <stdbool.h>

#ifdef SLUICE_FAULTS

/* A place that is passed, and one passed only where `condition` holds. */
#define FAULT(name) ((void)fault_pass(name, false))
#define FAULT_IF(condition, name) ((void)((condition) && fault_pass(name, false)))
/* True, with errno set, where the call that follows should be taken as failed. */
#define FAULT_FAILS(name) fault_pass(name, true)

bool fault_pass(const char *name, bool can_fail);

#else

#define FAULT(name) ((void)0)
#define FAULT_IF(condition, name) ((void)0)
#define FAULT_FAILS(name) false

#endif
#endif
