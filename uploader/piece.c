#include "uploader/piece.h"

#include <stdlib.h>

#include "lib/say.h"

/* Lent bytes, of one chunk or several. */
struct loan {
    struct guest *guest;  /* whose memory it is; held */
    uint64_t at, seq;
    unsigned holds;
    struct loan *next;    /* of the same parcel */
};

struct parcel {
    struct frame frame;
    const uint8_t *before;  /* where the frame's bytes were when it was read */
    struct guest *guest;
    uint64_t *buffered;
    struct loan *loans;     /* all found; one hold of each is ours */
    struct loan *loan;      /* the last one found */
    unsigned holds;
};

static void *must(void *memory)
{
    if (!memory)
        say_die(EXIT_TEMP, "out of memory"); /* safe: the feeder owns the tasks */
    return memory;
}

static struct loan *borrow(struct guest *guest, const struct msg_chunk *c)
{
    struct loan *l = must(malloc(sizeof *l));
    *l = (struct loan){.guest = guest, .at = c->at, .seq = c->seq, .holds = 1};
    guest_hold(guest);
    return l;
}

static void give_back(struct loan *l)
{
    if (!l || --l->holds)
        return;
    guest_return(l->guest, l->at, l->seq);
    guest_drop(l->guest);
    free(l);
}

static void let_go(struct parcel *p)
{
    if (--p->holds)
        return;
    *p->buffered -= p->frame.len;
    wire_release(&p->frame);
    free(p);
}

struct parcel *parcel_open(struct frame *f, struct guest *guest, uint64_t *buffered)
{
    struct parcel *p = must(malloc(sizeof *p));
    *p = (struct parcel){.before = f->data, .guest = guest, .buffered = buffered, .holds = 1};
    wire_move(&p->frame, f);
    *buffered += p->frame.len;
    return p;
}

void parcel_close(struct parcel *p)
{
    for (struct loan *l = p->loans, *next; l; l = next) {
        next = l->next;
        give_back(l);
    }
    p->loans = p->loan = NULL;
    let_go(p);
}

void parcel_find(struct parcel *p, struct msg_chunk *c)
{
    if (!c->seq) {
        c->bytes = p->frame.data + (c->bytes - p->before);
        return;
    }
    c->bytes = p->guest ? guest_bytes(p->guest, c->at, c->len, c->seq) : NULL;
    if (!c->bytes)
        return;
    for (p->loan = p->loans; p->loan && p->loan->seq != c->seq;)
        p->loan = p->loan->next;
    if (p->loan)
        return;
    p->loan = borrow(p->guest, c);
    p->loan->next = p->loans;
    p->loans = p->loan;
}

struct piece *parcel_keep(struct parcel *p, const struct msg_chunk *c)
{
    struct piece *piece = must(malloc(sizeof *piece));
    *piece = (struct piece){.bytes = c->bytes, .len = c->len, .parcel = p};
    p->holds++;
    if (c->seq) {
        piece->loan = p->loan;
        piece->loan->holds++;
        *p->buffered += c->len;
    }
    return piece;
}

bool piece_holds(const struct piece *p)
{
    return !p->loan || guest_holds(p->loan->guest, p->loan->at, p->loan->seq);
}

void pieces_free(struct piece **list)
{
    while (*list) {
        struct piece *p = *list;
        *list = p->next;
        if (p->loan)
            *p->parcel->buffered -= p->len;
        give_back(p->loan);
        let_go(p->parcel);
        free(p);
    }
}
