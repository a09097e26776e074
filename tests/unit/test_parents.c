/* Directories that somebody removes while they are kept open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uploader/parents.h"

struct scene {
    char path[32];
    int root;
    struct parents *parents;
};

static void set_up(struct scene *s)
{
    *s = (struct scene){.path = "/tmp/parents.XXXXXX"};
    assert_non_null(mkdtemp(s->path));
    s->root = open(s->path, O_RDONLY | O_DIRECTORY);
    assert_true(s->root >= 0);
    s->parents = parents_open(s->root);
    assert_non_null(s->parents);
}

static void tear_down(struct scene *s)
{
    parents_close(s->parents);
    unlinkat(s->root, "ab/cd", AT_REMOVEDIR);
    unlinkat(s->root, "ab", AT_REMOVEDIR);
    close(s->root);
    assert_int_equal(rmdir(s->path), 0);
}

static void assert_is(const struct scene *s, const struct parent *p, const char *path)
{
    struct stat there, ours;
    assert_int_equal(fstatat(s->root, path, &there, 0), 0);
    assert_int_equal(fstat(p->fd, &ours), 0);
    assert_true(there.st_ino == ours.st_ino && ours.st_nlink > 0);
}

static void renews_what_is_gone_and_what_is_above_it(void **state)
{
    struct scene s;
    (void)state;
    set_up(&s);
    struct parent *p = parents_get(s.parents, "ab/cd", 5);
    struct parent *other = parents_get(s.parents, "ab/cd", 5);
    assert_ptr_equal(p, other);
    unlinkat(s.root, "ab/cd", AT_REMOVEDIR);
    unlinkat(s.root, "ab", AT_REMOVEDIR);
    assert_int_equal(parents_renew(s.parents, &p), 0);
    assert_is(&s, p, "ab/cd");
    assert_is(&s, p->up, "ab");
    assert_int_equal(parents_renew(s.parents, &other), 0); /* what the first made serves both */
    assert_ptr_equal(p, other);
    parents_put(s.parents, p);
    parents_put(s.parents, other);
    tear_down(&s);
}

/* Else --fsync would sync a directory that is gone, and not the name of the one that is there. */
static void what_is_above_a_new_directory_is_there_too(void **state)
{
    struct scene s;
    (void)state;
    set_up(&s);
    struct parent *above = parents_get(s.parents, "ab", 2);
    atomic_store(&above->durable, true);
    unlinkat(s.root, "ab", AT_REMOVEDIR);
    struct parent *p = parents_get(s.parents, "ab/cd", 5);
    assert_is(&s, p->up, "ab");
    assert_false(p->up->durable);
    parents_put(s.parents, above);
    parents_put(s.parents, p);
    tear_down(&s);
}

static void a_root_that_is_gone_is_said(void **state)
{
    struct scene s;
    (void)state;
    set_up(&s);
    struct parent *p = parents_get(s.parents, "ab", 2), *same = p;
    unlinkat(s.root, "ab", AT_REMOVEDIR);
    assert_int_equal(rmdir(s.path), 0);
    assert_int_equal(parents_renew(s.parents, &p), -1);
    assert_int_equal(errno, ENOENT);
    assert_ptr_equal(p, same);
    parents_put(s.parents, p);
    assert_int_equal(mkdir(s.path, 0700), 0);
    tear_down(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renews_what_is_gone_and_what_is_above_it),
        cmocka_unit_test(what_is_above_a_new_directory_is_there_too),
        cmocka_unit_test(a_root_that_is_gone_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
