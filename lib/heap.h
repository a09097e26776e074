/* heap.h - malloc told what we are: long-lived, with blocks that come and go all the time.
 * Source: mallopt(3). */
#ifndef SLUICE_HEAP_H
#define SLUICE_HEAP_H

/* Once, first in main: what was freed stays with the process (up to HEAP_KEPT), because a page
 * that is given back and fetched again costs more than the copy made into it. */
void heap_setup(void);
#endif
