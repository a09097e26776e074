/* outbox: whatever texts an origin or a store makes up, each message of outcomes can be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/outbox.h"

enum { OUTCOMES = 300, A_MESSAGE = 128 };

static void each_message_can_be_read_however_long_its_texts(void **state)
{
    (void)state;
    static char text[MSG_TEXT_MOST + 100];
    struct outbox box;
    struct msg_outcome items[A_MESSAGE];
    struct msg_reader *reader = msg_reader_open();
    uint32_t count, seen = 0;
    bool stored;
    memset(text, 'x', sizeof text);
    outbox_open(&box);
    for (uint64_t i = 1; i <= OUTCOMES; i++) {
        struct msg_text t = {text, i % 3 ? sizeof text : 5};
        outbox_add(&box, true, &(struct msg_outcome){.d = i, .task = i, .key = {text, 5},
                                                     .content_type = t, .url_effective = t});
    }
    while ((count = outbox_peek(&box, items, A_MESSAGE, &stored))) {
        struct buf b = buf_make(MSG_HEAD_MOST);
        struct msg m = {.kind = MSG_STORED}, back;
        const char *why = "";
        m.outcomes.o = box.unsent_o;
        m.outcomes.items.v = items;
        m.outcomes.items.count = count;
        assert_true(stored);
        assert_int_equal(msg_write(&b, &m), 0);
        assert_int_equal(msg_read(reader, b.data, b.len, &back, &why), 0);
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(back.outcomes.items.v[i].d, ++seen);
        outbox_sent(&box, count);
        buf_free(&b);
    }
    assert_int_equal(seen, OUTCOMES);
    outbox_forget(&box, OUTCOMES);
    assert_int_equal(box.count, 0);
    msg_reader_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_message_can_be_read_however_long_its_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
