/* crew_parts.h - what the crew's three files share; nobody else includes it.
 *
 *   crew.c        who is there, and what they say
 *   crew_news.c   what they are told
 *   crew_tasks.c  what they are given, and what their beats prove of it */
#ifndef SLUICE_CREW_PARTS_H
#define SLUICE_CREW_PARTS_H
#include "feeder/crew.h"

enum { CREW_SOON_MS = 20 }; /* how long what need not be at once may wait */

/* Fills in run, from and to, and sends: 1, or 0 (no room: its wire wakes us), or -1 (not sendable). */
int crew_send(struct crew *c, struct member *m, struct msg *msg);

/* News for it before their time: now, or CREW_SOON_MS after the last. */
void crew_news_soon(struct member *m, bool now);
/* Sends its news, and says when the next are due. */
void crew_send_news(struct crew *c, struct member *m);

/* Takes in what a beat of our run says of tasks: `mark` is the last n read from us, what it holds is
 * evidence, what of that is not current is put down for cancelling. */
void crew_heed(struct crew *c, struct member *m, const struct msg_beat *b, uint64_t mark);
#endif
