/* tar:DIR, as the uploader calls it: texts of any length are one object's own affair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>

#include "helpers.h"
#include "lib/msg.h"
#include "uploader/store.h"

enum { OBJECTS = 3, MIDDLE = 1 };

static char dir[] = "/tmp/sluice-tar-XXXXXX";
static struct spools spools;
static const char *const keys[OBJECTS] = {"a.txt", "b.txt", "c.txt"};

static void *open_store(void)
{
    struct store_settings s = {.dest = "tar:test", .fsync = true, .threads = 1, .spools = &spools};
    void *store = store_tar.open(dir, &s);
    assert_non_null(store);
    return store;
}

static void close_store(void *store)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    DIR *d = fdopendir(fd);
    store_tar.close(store);
    for (struct dirent *e; (e = readdir(d));)
        unlinkat(fd, e->d_name, 0);
    closedir(d);
}

/* Bytes of which JSON makes six each. */
static char *controls(size_t len)
{
    char *text = malloc(len + 1);
    assert_non_null(text);
    memset(text, 1, len);
    text[len] = '\0';
    return text;
}

static struct store_facts facts_of(const char *key, const char *text)
{
    return (struct store_facts){.key = key, .url = text, .url_effective = text, .digest = "",
                                .content_type = text, .complete = true, .bytes = 4};
}

/* Written whole, and sealed; NULL: that failed, and *c says why. */
static void *written(void *store, const struct store_facts *f, struct store_commit *c)
{
    void *object = store_tar.begin(store, f);
    assert_non_null(object);
    assert_int_equal(store_tar.write(object, "body", 4), 0);
    if (!store_tar.seal || store_tar.seal(object) == 0)
        return object;
    c->err = errno;
    store_tar.explain(object, c);
    store_tar.drop(object);
    return NULL;
}

/* What becomes of a group of three, the texts of the one in the middle being `len` bytes long. */
static void commit_three(size_t len, struct store_commit out[OBJECTS])
{
    void *store = open_store();
    char *text = controls(len);
    struct store_facts facts[OBJECTS];
    struct store_commit v[OBJECTS];
    int count = 0;
    memset(out, 0, OBJECTS * sizeof *out);
    for (int i = 0; i < OBJECTS; i++) {
        facts[i] = facts_of(keys[i], i == MIDDLE ? text : "");
        void *object = written(store, &facts[i], &out[i]);
        if (object)
            v[count++] = (struct store_commit){.object = object, .facts = &facts[i]};
    }
    store_tar.commit(v, count);
    for (int i = OBJECTS; i-- > 0;)
        if (!out[i].err)
            out[i] = v[--count];
    close_store(store);
    free(text);
}

static void the_longest_texts_that_may_come_fit(void **state)
{
    (void)state;
    struct store_commit v[OBJECTS];
    commit_three(MSG_TEXT_MOST, v);
    for (int i = 0; i < OBJECTS; i++) {
        assert_int_equal(v[i].err, 0);
        assert_int_equal(v[i].bytes, 4);
    }
}

static void longer_ones_fail_their_object_alone_and_for_good(void **state)
{
    (void)state;
    struct store_commit v[OBJECTS];
    commit_three(10 * MSG_TEXT_MOST, v);
    assert_int_not_equal(v[MIDDLE].err, 0);
    assert_true(v[MIDDLE].final);
    assert_non_null(strstr(v[MIDDLE].detail, "longer than"));
    assert_int_equal(v[0].err, 0);
    assert_int_equal(v[2].err, 0);
    assert_string_equal(v[0].place, "shard-000000.tar#0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_texts_that_may_come_fit),
        cmocka_unit_test(longer_ones_fail_their_object_alone_and_for_good),
    };
    if (!mkdtemp(dir))
        return 1;
    spools_open(&spools, 1 << 20, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
