/* Spools: what is written is read, wherever it lies; the budget holds, whoever shares it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "helpers.h"
#include "lib/pool.h"
#include "uploader/spool.h"

enum { PIECE = 1000, BIG = 3 << 20 };

static char pattern(uint64_t at)
{
    return (char)(at * 2654435761u >> 7);
}

static int add(struct spool *s, uint64_t until)
{
    char piece[PIECE];
    while (spool_bytes(s) < until) {
        uint64_t at = spool_bytes(s);
        size_t len = until - at < PIECE ? (size_t)(until - at) : PIECE;
        for (size_t i = 0; i < len; i++)
            piece[i] = pattern(at + i);
        if (spool_write(s, piece, len))
            return -1;
    }
    return 0;
}

static bool is_right(struct spool *s)
{
    char out[4096];
    uint64_t at = 0;
    for (ssize_t n; (n = spool_read(s, at, out, sizeof out)) != 0; at += (uint64_t)n)
        for (ssize_t i = 0; i < n; i++)
            if (n < 0 || out[i] != pattern(at + (uint64_t)i))
                return false;
    return at == spool_bytes(s);
}

static void small_ones_stay_in_memory_and_large_ones_go_into_a_file(void **state)
{
    (void)state;
    struct spools all;
    spools_open(&all, 64 << 20, NULL);
    struct spool *s = spool_open(&all);
    assert_non_null(spool_memory(s));
    assert_true(is_right(s));
    assert_int_equal(add(s, SPOOL_SMALL), 0);
    assert_non_null(spool_memory(s));
    assert_int_equal(spools_bytes(&all), SPOOL_SMALL);
    assert_true(is_right(s));
    assert_int_equal(add(s, BIG), 0);
    assert_null(spool_memory(s));
    assert_int_equal(spools_bytes(&all), 0);
    assert_true(is_right(s));
    char c;
    assert_int_equal(spool_read(s, BIG, &c, 1), 0);
    assert_int_equal(spool_read(s, BIG - 1, &c, 1), 1);
    spool_close(s);
}

static void a_descriptor_has_it_all_and_more_can_be_written_after(void **state)
{
    (void)state;
    struct spools all;
    spools_open(&all, 64 << 20, NULL);
    struct spool *s = spool_open(&all);
    assert_int_equal(add(s, 5000), 0);
    for (int turn = 0; turn < 2; turn++) {
        char out[8192];
        struct stat st;
        int fd = spool_fd(s);
        assert_true(fd >= 0);
        assert_int_equal(read(fd, out, sizeof out), spool_bytes(s));
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_nlink, 0);
        assert_int_equal(add(s, 7000), 0);
        assert_true(is_right(s));
    }
    assert_int_equal(spools_bytes(&all), 0);
    spool_close(s);
}

static void beyond_the_budget_of_all_the_next_goes_into_a_file(void **state)
{
    (void)state;
    struct spools all;
    struct spool *v[8];
    spools_open(&all, 100 << 10, NULL);
    for (int i = 0; i < 8; i++) {
        v[i] = spool_open(&all);
        assert_int_equal(add(v[i], 40000 + (uint64_t)i), 0);
        assert_true(spools_bytes(&all) <= 100 << 10);
    }
    assert_non_null(spool_memory(v[0]));
    assert_null(spool_memory(v[7]));
    for (int i = 0; i < 8; i++) {
        assert_true(is_right(v[i]));
        spool_close(v[i]);
    }
    assert_int_equal(spools_bytes(&all), 0);
}

static void without_a_place_for_files_only_small_ones_work(void **state)
{
    (void)state;
    struct spools all;
    spools_open(&all, 64 << 20, "/nowhere/at/all");
    struct spool *s = spool_open(&all);
    assert_int_equal(add(s, 5000), 0);
    assert_int_equal(spool_fd(s), -1);
    assert_int_equal(errno, ENOENT);
    assert_true(is_right(s));
    assert_int_equal(add(s, BIG), -1);
    spool_close(s);
    assert_int_equal(spools_bytes(&all), 0);
}

static int files_in(const char *dir)
{
    int count = 0;
    DIR *d = opendir(dir);
    while (readdir(d))
        count++;
    closedir(d);
    return count - 2;
}

static void a_file_has_no_name(void **state)
{
    (void)state;
    char dir[] = "/tmp/sluice-spool-XXXXXX";
    struct spools all;
    assert_non_null(mkdtemp(dir));
    spools_open(&all, 0, dir);
    struct spool *s = spool_open(&all);
    assert_int_equal(add(s, 5000), 0);
    assert_null(spool_memory(s));
    assert_int_equal(files_in(dir), 0);
    spool_close(s);
    assert_int_equal(rmdir(dir), 0);
}

struct work {
    struct job job;
    struct spools *all;
    uint64_t most;
    bool right;
};

static void spool_all_day(struct job *job)
{
    struct work *w = (struct work *)job;
    w->right = true;
    for (int turn = 0; turn < 50; turn++) {
        struct spool *s = spool_open(w->all);
        w->right &= add(s, (uint64_t)(turn * 1500)) == 0 && is_right(s);
        w->most = spools_bytes(w->all) > w->most ? spools_bytes(w->all) : w->most;
        spool_close(s);
    }
}

static void threads_share_the_budget(void **state)
{
    (void)state;
    struct spools all;
    struct work w[8] = {{.right = false}};
    struct pool *p = pool_open(4);
    spools_open(&all, 150000, NULL);
    for (int i = 0; i < 8; i++) {
        w[i] = (struct work){.job.run = spool_all_day, .all = &all};
        pool_add(p, &w[i].job);
        pool_go(p);
    }
    pool_stop(p);
    for (int i = 0; i < 8; i++) {
        assert_true(w[i].right);
        assert_true(w[i].most <= 150000);
    }
    pool_close(p);
    assert_int_equal(spools_bytes(&all), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_ones_stay_in_memory_and_large_ones_go_into_a_file),
        cmocka_unit_test(a_descriptor_has_it_all_and_more_can_be_written_after),
        cmocka_unit_test(beyond_the_budget_of_all_the_next_goes_into_a_file),
        cmocka_unit_test(without_a_place_for_files_only_small_ones_work),
        cmocka_unit_test(a_file_has_no_name),
        cmocka_unit_test(threads_share_the_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
