/* msg.h - the messages of the delivery protocol and their codec: docs/protocol.md, "Messages".
 *
 * A message is one frame: a MessagePack map, then the bodies of what it lists. Reading is
 * strict: another version, an unknown kind, a missing field, a wrong type or too long a text
 * are refused. Unknown fields are passed over, so that a later version may add some.
 *
 * Hides: msgpack-c. Source: the MessagePack specification. */
#ifndef SLUICE_MSG_H
#define SLUICE_MSG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/id.h"

enum {
    MSG_VERSION = 1,
    MSG_TEXT_MOST = 65536,            /* bytes of one text field */
    MSG_LIST_MOST = 1 << 20,          /* elements of one list */
    MSG_HEAD_MOST = 16 << 20,         /* bytes of a message without its body */
    MSG_CHUNK_MOST = 8 << 20,         /* bytes of one message's bodies */
};

/* Text or bytes; not NUL-terminated. Read: borrowed from the frame. */
struct msg_text {
    const char *s;
    uint32_t len;
};

struct msg_numbers {
    const uint64_t *v;
    uint32_t count;
};

/* "I have read everything up to n from this member." */
struct msg_mark {
    uint64_t from, n;
};

/* An uploader as the feeder tells a fetcher of it. */
struct msg_uploader {
    uint64_t member;
    struct msg_text intake;
    bool leaving;      /* start nothing new there */
    bool reading;      /* its intake is being read */
    bool heads;        /* wants msg_chunk's head, request, ip */
    uint64_t read;     /* last n it has read from the fetcher this news goes to */
};

/* What became of one dispatch: a receipt (`stored`) or a failure (`failed`). */
struct msg_outcome {
    uint64_t d, task;
    /* stored */
    struct msg_text key, digest;  /* digest: "sha256:<hex>", or empty */
    struct msg_text place;        /* where in the store, if the key does not say it */
    uint64_t bytes;
    bool existing;                /* the key was there; digest and bytes are of what is there */
    uint64_t fetcher;             /* member that fetched it */
    /* failed */
    struct msg_text class, detail;
    bool retry;
    uint64_t retry_after_ms;
    /* both, where there was a response */
    uint64_t response_code, time_us;
    struct msg_text content_type, url_effective;
};

enum msg_kind { MSG_BEAT, MSG_NEWS, MSG_TASKS, MSG_CHUNKS, MSG_STORED, MSG_FAILED, MSG_KINDS };

struct msg_beat {
    struct msg_text role, host, inbox, intake, dest;
    uint64_t pid;
    struct { const struct msg_mark *v; uint32_t count; } read;
    uint64_t room;      /* fetcher: tasks it could take beyond those it holds, as of `read` */
    struct msg_numbers held, open;  /* d's; see docs/protocol.md, "Evidence" */
    struct msg_numbers held_tasks;  /* the task of each d in held, in the same order */
    bool leaving, empty, reading, over;  /* over: has heard that the run is over */
    bool join;          /* uploader: takes part whatever the run's DEST is */
    bool heads;         /* uploader: wants the chunks' head, request, ip */
    uint64_t oldest;    /* oldest outcome kept, or the next one's number */
    uint64_t objects, bytes, dropped;    /* counters since its start */
};

struct msg_news {
    uint64_t n, epoch, lease_ms, done;
    struct { const struct msg_uploader *v; uint32_t count; } uploaders;
    struct msg_numbers gone, fetchers, cancel;
    struct msg_text over;  /* why the run has ended or you are refused; empty: neither */
    bool refused;          /* over is a refusal */
};

struct msg_task {
    uint64_t d, task;
    struct msg_text url, key;
};

struct msg_tasks {
    uint64_t n;
    struct { const struct msg_task *v; uint32_t count; } items;
};

/* A piece of a body. */
struct msg_chunk {
    uint64_t d, task, offset, len;
    bool first, last;
    uint64_t sum;   /* XXH3-64 of its bytes, seed 0 */
    uint64_t at, seq;  /* seq not 0: its bytes are lent (share.h), not in the frame */
    /* first */
    struct msg_text url, key, content_type;
    struct msg_text head, request;  /* header blocks, whole, at most MSG_TEXT_MOST: of the response
                                       as received, of the request as sent */
    struct msg_text ip;             /* address connected to */
    bool decoded;                   /* the body is not in the Content-Encoding that the head says */
    /* last */
    uint64_t total;
    struct msg_text digest, url_effective;
    uint64_t response_code, time_us;
    const uint8_t *bytes;  /* len of them; read: borrowed from the frame, NULL where lent. Not a
                              field. */
};

struct msg_chunks {
    uint64_t n;
    bool closed;
    struct msg_text share;  /* where the sender has memory to lend from; empty: nowhere */
    struct { const struct msg_chunk *v; uint32_t count; } items;
};

/* `stored` and `failed`: items[i] is this worker's outcome number o + i. */
struct msg_outcomes {
    uint64_t o;
    struct { const struct msg_outcome *v; uint32_t count; } items;
};

struct msg {
    enum msg_kind kind;
    uint8_t run[ID_RUN_BYTES];  /* all zero: of no run yet */
    uint64_t from, to;          /* members; to 0: whoever is there */
    union {
        struct msg_beat beat;
        struct msg_news news;
        struct msg_tasks tasks;
        struct msg_chunks chunks;
        struct msg_outcomes outcomes;
    };
};

/* Appends the map (not the bodies of chunks) to `b`. 0, or -1 (buf_add). */
int msg_write(struct buf *b, const struct msg *m);

/* Keeps what a read message's lists stand in; one per loop. */
struct msg_reader;
struct msg_reader *msg_reader_open(void);
void msg_reader_close(struct msg_reader *r);

/* Reads a frame. 0, or -1 with *why a word for the log. *m borrows from the frame and, until
 * the next msg_read, from the reader. */
int msg_read(struct msg_reader *r, const void *frame, size_t len, struct msg *m, const char **why);

const char *msg_kind_name(enum msg_kind kind);
struct msg_text msg_text(const char *s);
/* Copies text into `out` (size bytes), cut and NUL-terminated. */
void msg_text_copy(struct msg_text t, char *out, size_t size);
#endif
