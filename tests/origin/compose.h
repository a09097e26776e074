/* compose.h - decide what the answer to a request is.
 *
 * Counts the request, looks at its route and its rude options, writes the
 * status line and headers, and leaves the rest to answer.h.
 */
#ifndef ORIGIN_COMPOSE_H
#define ORIGIN_COMPOSE_H

#include "answer.h"
#include "request.h"
#include "site.h"

/* Fill the empty `answer` and put the head, but for its empty line, into the empty `out`.
 * `request` is needed no longer afterwards. End the answer with answer_close. */
void compose_answer(struct site *site, const struct request *request, struct answer *answer,
                    struct buffer *out);

#endif
