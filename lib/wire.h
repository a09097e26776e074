/* wire.h - one direction of message traffic between two of our programs.
 *
 * A wire carries whole one-frame messages, in order per peer, into or out of this process. It
 * never blocks: waiting is the loop's job. A sent message is NOT a delivered one: see
 * docs/protocol.md, "Two counters make loss visible".
 *
 * Hides:   libzmq. Only wire.c includes <zmq.h>.
 * Threads: a wire belongs to the thread that opened it; frames may be freed in any.
 * Source:  zmq_setsockopt(3), zmq_getsockopt(3) ZMQ_FD and ZMQ_EVENTS. */
#ifndef SLUICE_WIRE_H
#define SLUICE_WIRE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire;

/* A received message. `{0}` is empty. */
struct frame {
    const uint8_t *data;               /* borrowed from the frame itself */
    size_t len;
    _Alignas(16) unsigned char hold[64]; /* libzmq's zmq_msg_t */
};

enum wire_role {
    WIRE_INBOX,  /* PULL for what steers a process: always read, heartbeats over tcp */
    WIRE_INTAKE, /* PULL for chunks: left unread when full, so no heartbeats */
    WIRE_TO_INBOX,  /* PUSH to one inbox */
    WIRE_TO_INTAKE, /* PUSH to one intake */
};

struct wire_limits {
    int hwm;               /* messages per peer; 0: no limit */
    size_t max_msg_bytes;  /* a longer frame closes its connection */
};

/* Once per process, before any wire. `peers`: how many sockets we may need. 0, or -1 errno. */
int wire_setup(int peers);
/* After all wires are closed. Never hangs: every socket's LINGER is bounded. */
void wire_teardown(void);

/* Gives a wire (wire_close ends it), or NULL with errno. PULL binds, PUSH connects. */
struct wire *wire_open(enum wire_role role, const char *endpoint, struct wire_limits limits);
/* Unsent messages are given `linger_ms` to leave. Takes *w, NULL is fine. */
void wire_close(struct wire **w, int linger_ms);

/* Where a PULL is bound (wildcards resolved); valid while the wire is open. */
const char *wire_endpoint(const struct wire *w);

/* Readable when something may have changed: then, and before each sleep, ask wire_ready(). */
int wire_fd(const struct wire *w);
/* Can a PULL be read / a PUSH be written right now? */
bool wire_ready(struct wire *w);

/* 1 sent, 0 not now; what is worse (no memory) ends the process in words. Copies; `_two` joins its
 * parts into one message. */
int wire_send(struct wire *w, const void *data, size_t len);
int wire_send_two(struct wire *w, const void *a, size_t a_len, const void *b, size_t b_len);
/* The same without a copy: `block` (malloc'ed; the message is the `len` bytes at `data` inside
 * it) is taken on 1, and freed when libzmq is done with it. */
int wire_send_block(struct wire *w, void *block, const void *data, size_t len);

/* 1 got one (wire_release ends it), 0 nothing now; what is worse ends the process in words. */
int wire_recv(struct wire *w, struct frame *out);
void wire_release(struct frame *f);
/* Moves a frame (never copy the struct); `from` is empty then. Pointers into it change. */
void wire_move(struct frame *to, struct frame *from);

const char *wire_strerror(int err);
#endif
