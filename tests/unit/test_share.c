/* Memory lent by one and read by another, both in one process here; what is hostile in it, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/share.h"

enum { OWNER = 7, GUEST = 8, BLOCK = 5000, BLOCKS = 3 };

static struct share s;
static struct guest *g;
static uint32_t loans, others;

static int open_both(void **state)
{
    (void)state;
    if (share_open(&s, OWNER, BLOCK, BLOCKS))
        return -1;
    g = guest_open(s.name, strlen(s.name), OWNER, GUEST);
    return g ? 0 : -1;
}

static int close_both(void **state)
{
    (void)state;
    guest_drop(g);
    share_close(&s);
    return 0;
}

static void what_is_lent_is_read_and_comes_back(void **state)
{
    uint64_t at;
    char *block = share_take(&s);
    (void)state;
    assert_true(share_has_guest(&s, GUEST));
    assert_false(share_has_guest(&s, GUEST + 1));
    assert_true(share_own(&s, block));
    memcpy(block + 10, "hello", 5);
    uint64_t seq = share_lend(&s, block, block + 10, &loans, &at);
    assert_memory_equal(guest_bytes(g, at, 5, seq), "hello", 5);
    assert_true(guest_holds(g, at, seq));
    share_collect(&s);
    assert_ptr_not_equal(share_take(&s), block); /* it is still out */
    guest_return(g, at, seq);
    share_collect(&s);
    assert_ptr_equal(share_take(&s), block);
    assert_null(guest_bytes(g, at, 5, seq));
}

static void there_is_an_end_to_it(void **state)
{
    (void)state;
    void *last = NULL;
    for (int i = 0; i < BLOCKS; i++)
        assert_non_null(last = share_take(&s));
    assert_null(share_take(&s));
    share_give(&s, last);
    assert_ptr_equal(share_take(&s), last);
}

static void who_is_gone_and_reads_on_is_told(void **state)
{
    uint64_t at, again;
    char *mine = share_take(&s), *other = share_take(&s);
    (void)state;
    uint64_t seq = share_lend(&s, mine, mine, &loans, &at);
    uint64_t kept = share_lend(&s, other, other, &others, &again);
    assert_true(loans == 1 && others == 1);
    share_reclaim(&s, &loans);
    assert_true(loans == 0 && others == 1);
    assert_false(guest_holds(g, at, seq));
    assert_true(guest_holds(g, again, kept));
    assert_ptr_equal(share_take(&s), mine);
    uint64_t next = share_lend(&s, mine, mine, &loans, &at);
    guest_return(g, at, seq); /* the old loan's end is not the new one's */
    assert_true(guest_holds(g, at, next));
    share_collect(&s);
    assert_ptr_not_equal(share_take(&s), mine);
}

static void what_is_no_loan_is_not_read(void **state)
{
    uint64_t at;
    char *block = share_take(&s);
    (void)state;
    uint64_t seq = share_lend(&s, block, block, &loans, &at);
    assert_null(guest_bytes(g, at, 5, seq + 1));
    assert_null(guest_bytes(g, at, 5, 0));
    assert_null(guest_bytes(g, 0, 5, seq));
    assert_null(guest_bytes(g, at, 8193, seq)); /* into the next block */
    assert_null(guest_bytes(g, at + 3 * 8192, 5, seq));
    assert_null(guest_bytes(g, UINT64_MAX, 5, seq));
    assert_null(guest_bytes(g, at, UINT64_MAX, seq));
    assert_non_null(guest_bytes(g, at, 8192, seq));
}

static void what_is_no_such_memory_is_not_mapped(void **state)
{
    char name[SHARE_NAME];
    static const char *const names[] = {"/proc/self/mem", "/etc/passwd", "/proc/self/exe", "",
                                        "/proc/999999999/fd/3", "/proc/self/fd/0", NULL};
    FILE *plain = tmpfile();
    int ends[2];
    (void)state;
    for (const char *const *n = names; *n; n++)
        assert_null(guest_open(*n, strlen(*n), OWNER, GUEST));
    assert_null(guest_open(s.name, strlen(s.name), OWNER + 1, GUEST)); /* another's */
    assert_null(guest_open(s.name, 4000, OWNER, GUEST));
    assert_int_equal(pipe(ends), 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", ends[0]);
    assert_null(guest_open(name, strlen(name), OWNER, GUEST)); /* nor waited for */
    snprintf(name, sizeof name, "/proc/self/fd/%d", fileno(plain));
    assert_null(guest_open(name, strlen(name), OWNER, GUEST));
    close(ends[0]);
    close(ends[1]);
    fclose(plain);
}

static void guests_beyond_its_room_do_without(void **state)
{
    (void)state;
    struct guest *many[63];
    for (uint64_t i = 0; i < 63; i++)
        assert_non_null(many[i] = guest_open(s.name, strlen(s.name), OWNER, 100 + i));
    assert_null(guest_open(s.name, strlen(s.name), OWNER, 163));
    assert_true(share_has_guest(&s, GUEST) && share_has_guest(&s, 162));
    for (int i = 0; i < 63; i++)
        guest_drop(many[i]); /* and leave their places to others */
    assert_false(share_has_guest(&s, 162));
    many[0] = guest_open(s.name, strlen(s.name), OWNER, 163);
    assert_non_null(many[0]);
    guest_drop(many[0]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_both, close_both)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_lent_is_read_and_comes_back), TEST(there_is_an_end_to_it),
        TEST(who_is_gone_and_reads_on_is_told),    TEST(what_is_no_loan_is_not_read),
        TEST(what_is_no_such_memory_is_not_mapped), TEST(guests_beyond_its_room_do_without),
    };
    return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
