/* Files that get their name when they are finished: by their owner, or by who finds them, whatever
 * else has been linked or fails meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "helpers.h"
#include "uploader/shards.h"

enum { WHOLE = 5 };

static char dir[] = "/tmp/sluice-shards-XXXXXX";
static bool fsync_fails;

/* In libc's place. */
int fsync(int fd)
{
    if (!fsync_fails)
        return (int)syscall(SYS_fsync, fd);
    errno = EIO;
    return -1;
}

static bool is_ours(const char *name)
{
    return strcmp(name, "a") == 0;
}

static int64_t whole(int fd, const char *name)
{
    (void)fd;
    (void)name;
    return WHOLE;
}

static struct shards all = {.dest = "test:", .is_ours = is_ours, .whole = whole};

static void remove_all(void)
{
    DIR *d = fdopendir(openat(all.dir, ".", O_RDONLY | O_DIRECTORY));
    for (struct dirent *e; (e = readdir(d));)
        unlinkat(all.dir, e->d_name, 0);
    closedir(d);
}

/* "a", open, with more in it than is whole. */
static int torn(void)
{
    remove_all();
    all.fsync = false;
    int fd = shards_create(&all, "a");
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "wholetorn", 9), 9);
    return fd;
}

/* -1: it is not there. */
static off_t size_of(const char *name)
{
    struct stat st;
    return fstatat(all.dir, name, &st, AT_SYMLINK_NOFOLLOW) ? -1 : st.st_size;
}

static void a_link_made_by_others_does_not_make_it_finished(void **state)
{
    (void)state;
    int fd = torn();
    assert_int_equal(linkat(all.dir, "a.open", all.dir, "backup", 0), 0);
    assert_int_equal(shards_finish(&all, fd, "a"), 0);
    assert_int_equal(size_of("a"), 9);
    assert_int_equal(size_of("a.open"), -1);
}

static void one_with_such_a_link_is_cut_and_finished_by_who_finds_it(void **state)
{
    (void)state;
    shards_leave(torn());
    assert_int_equal(linkat(all.dir, "a.open", all.dir, "backup", 0), 0);
    shards_recover(&all);
    assert_int_equal(size_of("a"), WHOLE);
    assert_int_equal(size_of("a.open"), -1);
}

static void one_that_has_its_name_loses_the_other_once_that_is_durable(void **state)
{
    (void)state;
    shards_leave(torn());
    assert_int_equal(linkat(all.dir, "a.open", all.dir, "a", 0), 0);
    all.fsync = fsync_fails = true;
    shards_recover(&all);
    assert_int_equal(size_of("a.open"), 9);
    fsync_fails = false;
    shards_recover(&all);
    assert_int_equal(size_of("a.open"), -1);
    assert_int_equal(size_of("a"), 9); /* whoever linked it had cut it */
}

static void a_name_that_is_taken_meanwhile_is_left_alone(void **state)
{
    (void)state;
    int fd = torn();
    close(openat(all.dir, "a", O_CREAT | O_WRONLY, 0600));
    assert_int_equal(shards_finish(&all, fd, "a"), -1);
    assert_int_equal(size_of("a"), 0);
    assert_int_equal(size_of("a.open"), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_made_by_others_does_not_make_it_finished),
        cmocka_unit_test(one_with_such_a_link_is_cut_and_finished_by_who_finds_it),
        cmocka_unit_test(one_that_has_its_name_loses_the_other_once_that_is_durable),
        cmocka_unit_test(a_name_that_is_taken_meanwhile_is_left_alone),
    };
    if (!mkdtemp(dir) || (all.dir = open(dir, O_RDONLY | O_DIRECTORY)) < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_all();
    rmdir(dir);
    return failed;
}
