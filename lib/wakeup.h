/* wakeup.h - how eager a process is to run. */
#ifndef SLUICE_WAKEUP_H
#define SLUICE_WAKEUP_H

/* From now on, this thread and those it starts wait for whoever runs when something comes for them,
 * instead of interrupting him: fewer switches, more to do at each turn. Where that may not be had,
 * nothing changes. */
void wakeup_politely(void);
#endif
