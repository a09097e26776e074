/* Shards: numbers are nobody else's; what a dead owner left is cut after its last whole sample,
 * wherever it was torn, and gone on with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "helpers.h"
#include "uploader/shard.h"

enum { SAMPLES = 4 };

static char dir[] = "/tmp/sluice-shard-XXXXXX";
static struct shards all;
static struct spools spools;
static uint64_t ends[SAMPLES + 1];  /* of tar, after so many samples */

static bool fsync_fails, memory_lacks;
static int pread_fails;  /* the how manieth from now on; 0: none */

/* In the places of libc's and libarchive's. */

ssize_t pread(int fd, void *out, size_t len, off_t at)
{
    if (pread_fails == 0 || --pread_fails > 0)
        return syscall(SYS_pread64, fd, out, len, at);
    errno = EIO;
    return -1;
}

struct archive *archive_read_new(void)
{
    struct archive *(*real)(void);
    *(void **)&real = dlsym(RTLD_NEXT, "archive_read_new");
    return memory_lacks ? NULL : real();
}

int fsync(int fd)
{
    if (!fsync_fails)
        return (int)syscall(SYS_fsync, fd);
    errno = EIO;
    return -1;
}

static void remove_all(void)
{
    DIR *d = fdopendir(openat(all.dir, ".", O_RDONLY | O_DIRECTORY));
    for (struct dirent *e; (e = readdir(d));)
        unlinkat(all.dir, e->d_name, 0);
    closedir(d);
}

static void begin(enum tar_pack pack)
{
    int fd = all.dir;
    remove_all();
    all = (struct shards){.dir = fd, .pack = pack};
}

static bool is_there(const char *name)
{
    return faccessat(all.dir, name, F_OK, 0) == 0;
}

/* A sample whose body is of i thousand bytes. */
static void add(struct shard *s, int i)
{
    static char bytes[1000];
    char name[32];
    struct spool *body = spool_open(&spools);
    for (int turn = 0; turn < i; turn++)
        assert_int_equal(spool_write(body, bytes, sizeof bytes), 0);
    snprintf(name, sizeof name, "%d.bin", i);
    assert_int_equal(tar_add_spool(s->tar, name, 0, body), 0);
    snprintf(name, sizeof name, "%d.json", i);
    assert_int_equal(tar_add_text(s->tar, name, 0, "{}\n", 3), 0);
    spool_close(body);
}

static struct shard *filled(void)
{
    struct shard *s = shard_new(&all);
    assert_non_null(s);
    for (int i = 0; i < SAMPLES; i++) {
        add(s, i);
        assert_int_equal(shard_keep(s), 0);
        ends[i + 1] = s->kept_at;
    }
    return s;
}

static void count(void *arg, const struct tar_found *f)
{
    int *members = arg;
    assert_true(f->end > f->at);
    assert_int_equal((f->text != NULL), *members % 2);
    ++*members;
}

static int members_of(const struct shard *s)
{
    int members = 0;
    shard_members(s, count, &members);
    return members;
}

static void numbers_are_nobody_elses(void **state)
{
    (void)state;
    begin(TAR_PLAIN);
    struct shard *a = filled(), *b = filled(), *c;
    assert_int_equal(a->number, 0);
    assert_int_equal(b->number, 1);
    assert_null(shards_look(&all, true)); /* they live */
    assert_int_equal(shard_finish(&a), 0);
    assert_true(is_there("shard-000000.tar"));
    assert_false(is_there("shard-000000.lock"));
    c = filled();
    assert_int_equal(c->number, 2);
    shard_leave(&c);
    shard_finish(&b);
    assert_null(shards_look(&all, false));
    assert_true(is_there("shard-000001.tar") && is_there("shard-000002.tar"));
    assert_false(is_there("shard-000002.tar.part") || is_there("shard-000002.lock"));
}

static void a_name_that_is_taken_meanwhile_is_left_alone(void **state)
{
    (void)state;
    begin(TAR_PLAIN);
    struct shard *s = filled();
    struct stat st;
    close(openat(all.dir, "shard-000000.tar", O_CREAT | O_WRONLY, 0600));
    assert_int_equal(shard_finish(&s), -1);
    assert_int_equal(fstatat(all.dir, "shard-000000.tar", &st, 0), 0);
    assert_int_equal(st.st_size, 0);
    assert_true(is_there("shard-000000.tar.part"));
    unlinkat(all.dir, "shard-000000.tar", 0);
    shards_look(&all, false);
    assert_false(is_there("shard-000000.tar.part"));
    assert_int_equal(fstatat(all.dir, "shard-000000.tar", &st, 0), 0);
    assert_int_equal(st.st_size, ends[SAMPLES] + 1024);
}

static void one_that_is_empty_leaves_no_trace(void **state)
{
    (void)state;
    begin(TAR_ZST);
    struct shard *s = shard_new(&all);
    assert_int_equal(shard_finish(&s), 0);
    s = shard_new(&all);
    add(s, 3);
    shard_leave(&s); /* not kept */
    assert_null(shards_look(&all, true));
    assert_false(is_there("shard-000000.lock") || is_there("shard-000000.tar.zst.part"));
    assert_false(is_there("shard-000000.tar.zst"));
}

static void wherever_it_was_torn_whole_samples_are_kept(void **state)
{
    (void)state;
    begin(TAR_PLAIN);
    struct shard *s = filled();
    uint64_t size = s->kept_bytes;
    shard_leave(&s);
    for (uint64_t len = 0; len <= size; len += 256) {
        int whole = SAMPLES, fd;
        bool zeros = len % 512 == 0; /* the file's length is there, its bytes are not */
        remove_all();
        s = filled();
        shard_leave(&s);
        fd = openat(all.dir, "shard-000000.tar.part", O_WRONLY);
        assert_int_equal(ftruncate(fd, (off_t)len), 0);
        if (zeros)
            assert_int_equal(ftruncate(fd, (off_t)size), 0);
        close(fd);
        while (ends[whole] > len)
            whole--;
        s = shards_look(&all, true);
        while (s && zeros && ends[whole] < s->kept_at) /* a body may have them by right */
            whole++;
        if (whole == 0) {
            assert_null(s);
            assert_false(is_there("shard-000000.tar.part"));
            continue;
        }
        assert_non_null(s);
        assert_int_equal(s->kept_at, ends[whole]);
        assert_int_equal(members_of(s), 2 * whole);
        add(s, 9);
        assert_int_equal(shard_keep(s), 0);
        assert_int_equal(members_of(s), 2 * whole + 2);
        assert_int_equal(shard_finish(&s), 0);
    }
}

static void what_was_not_kept_is_undone(void **state)
{
    (void)state;
    for (int pack = TAR_PLAIN; pack < TAR_PACKS; pack++) {
        begin((enum tar_pack)pack);
        struct shard *s = filled();
        add(s, 100);
        assert_int_equal(shard_undo(s), 0);
        add(s, 5);
        assert_int_equal(shard_keep(s), 0);
        assert_int_equal(members_of(s), 2 * SAMPLES + 2);
        add(s, 300); /* more than a buffer */
        shard_leave(&s);
        s = shards_look(&all, true);
        assert_non_null(s);
        assert_int_equal(members_of(s), 2 * SAMPLES + 2);
        add(s, 6);
        assert_int_equal(shard_keep(s), 0);
        assert_int_equal(members_of(s), 2 * SAMPLES + 4);
        assert_int_equal(shard_finish(&s), 0);
    }
}

/* Where note `number` of the lock is, and whether it is there. */
static off_t place_of(int lock_fd, uint64_t number)
{
    char text[64] = "", want[64];
    snprintf(want, sizeof want, "note %020llu:", (unsigned long long)number);
    for (off_t at = 0; pread(lock_fd, text, sizeof text - 1, at) > 0; at += 4096)
        if (strstr(text, want))
            return at;
    fail_msg("no %s", want);
    return -1;
}

static void a_torn_note_leaves_the_one_before(void **state)
{
    (void)state;
    for (off_t torn = 0; torn <= 100; torn += 4) {
        begin(torn % 8 ? TAR_ZST : TAR_PLAIN);
        struct shard *s = filled();
        uint64_t last = s->notes;
        shard_leave(&s);
        int fd = openat(all.dir, "shard-000000.lock", O_RDWR);
        assert_int_equal(pwrite(fd, "\0\0\0\0", 4, place_of(fd, last) + torn), 4);
        s = shards_look(&all, true);
        assert_non_null(s);
        assert_int_equal(s->kept_at, ends[SAMPLES - 1]);
        assert_int_equal(members_of(s), 2 * (SAMPLES - 1));
        add(s, 7); /* the next note takes the torn one's place */
        assert_int_equal(shard_keep(s), 0);
        assert_int_equal(s->notes, last);
        assert_int_equal(pwrite(fd, "x", 1, place_of(fd, last - 1)), 1);
        close(fd);
        shard_leave(&s);
        s = shards_look(&all, true);
        assert_non_null(s);
        assert_int_equal(members_of(s), 2 * SAMPLES);
        assert_int_equal(shard_finish(&s), 0);
    }
}

static void without_a_note_nothing_is_cut_off(void **state)
{
    (void)state;
    begin(TAR_PLAIN);
    struct shard *s = filled();
    struct stat st;
    uint64_t size = s->kept_bytes;
    shard_leave(&s);
    int fd = openat(all.dir, "shard-000000.lock", O_RDWR);
    assert_int_equal(ftruncate(fd, 0), 0);
    close(fd);
    assert_null(shards_look(&all, true));
    assert_int_equal(fstatat(all.dir, "shard-000000.tar.damaged", &st, 0), 0);
    assert_int_equal(st.st_size, size);
    assert_false(is_there("shard-000000.lock"));
}

static void a_packed_one_torn_by_a_power_cut_is_set_aside(void **state)
{
    (void)state;
    begin(TAR_ZST);
    struct shard *s = filled();
    uint64_t size = s->kept_bytes;
    shard_leave(&s);
    int fd = openat(all.dir, "shard-000000.tar.zst.part", O_WRONLY);
    assert_int_equal(ftruncate(fd, (off_t)size - 5), 0);
    close(fd);
    assert_null(shards_look(&all, true));
    assert_true(is_there("shard-000000.tar.zst.damaged"));
    assert_false(is_there("shard-000000.lock"));
}

static off_t size_of(const char *name)
{
    struct stat st;
    return fstatat(all.dir, name, &st, 0) ? -1 : st.st_size;
}

static void a_number_that_was_set_aside_is_not_used_again(void **state)
{
    (void)state;
    begin(TAR_ZST);
    for (uint64_t number = 0; number < 2; number++) {
        struct shard *s = filled();
        char part[SHARD_NAME], aside[SHARD_NAME];
        assert_int_equal(s->number, number);
        snprintf(part, sizeof part, "shard-%06d.tar.zst.part", (int)number);
        snprintf(aside, sizeof aside, "shard-%06d.tar.zst.damaged", (int)number);
        off_t torn = (off_t)s->kept_bytes - 5;
        shard_leave(&s);
        int fd = openat(all.dir, part, O_WRONLY);
        assert_int_equal(ftruncate(fd, torn), 0);
        close(fd);
        assert_null(shards_look(&all, true));
        assert_int_equal(size_of(aside), torn);
        assert_false(is_there(part));
    }
}

static void a_damaged_one_replaces_no_other(void **state)
{
    (void)state;
    begin(TAR_PLAIN);
    struct shard *s = filled();
    off_t size = (off_t)s->kept_bytes;
    shard_leave(&s);
    int fd = openat(all.dir, "shard-000000.lock", O_RDWR);
    assert_int_equal(ftruncate(fd, 0), 0);
    close(fd);
    close(openat(all.dir, "shard-000000.tar.damaged", O_CREAT | O_WRONLY, 0600));
    assert_null(shards_look(&all, true));
    assert_int_equal(size_of("shard-000000.tar.damaged"), 0);
    assert_int_equal(size_of("shard-000000.tar.part"), size);
    assert_true(is_there("shard-000000.lock"));
}

/* The next shards_look() has descriptors for the directory and a lock only. */
static void two_descriptors_are_left(struct rlimit *before)
{
    int next = dup(all.dir);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, before), 0);
    struct rlimit few = {(rlim_t)next + 2, before->rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
}

static void one_that_cant_be_opened_keeps_its_lock(void **state)
{
    (void)state;
    begin(TAR_GZ);
    struct shard *s = filled();
    struct rlimit before;
    shard_leave(&s);
    two_descriptors_are_left(&before);
    assert_null(shards_look(&all, true));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(is_there("shard-000000.lock"));
    s = shards_look(&all, true);
    assert_non_null(s);
    assert_int_equal(members_of(s), 2 * SAMPLES);
    shard_finish(&s);
}

static void a_link_made_by_others_does_not_make_it_finished(void **state)
{
    (void)state;
    begin(TAR_PLAIN);
    struct shard *s = filled();
    uint64_t size = s->kept_bytes;
    shard_leave(&s);
    assert_int_equal(linkat(all.dir, "shard-000000.tar.part", all.dir, "backup", 0), 0);
    assert_null(shards_look(&all, false));
    assert_int_equal(size_of("shard-000000.tar"), size + 1024);
    assert_false(is_there("shard-000000.tar.part") || is_there("shard-000000.lock"));
}

static void one_that_has_its_name_loses_the_others_once_that_is_durable(void **state)
{
    (void)state;
    begin(TAR_PLAIN);
    struct shard *s = filled();
    uint64_t size = s->kept_bytes;
    shard_leave(&s);
    all.fsync = fsync_fails = true;
    assert_int_equal(linkat(all.dir, "shard-000000.tar.part", all.dir, "shard-000000.tar", 0), 0);
    assert_null(shards_look(&all, true));
    assert_true(is_there("shard-000000.tar.part") && is_there("shard-000000.lock"));
    fsync_fails = false;
    assert_null(shards_look(&all, true));
    assert_false(is_there("shard-000000.tar.part") || is_there("shard-000000.lock"));
    assert_int_equal(size_of("shard-000000.tar"), size);
}

/* Whatever read of a dead owner's shard fails, or with no memory, nothing of it is cut or goes. */
static void what_cant_be_read_is_left_alone(void **state)
{
    (void)state;
    for (int pack = TAR_PLAIN; pack < TAR_PACKS; pack++) {
        begin((enum tar_pack)pack);
        struct shard *s = filled();
        char part[SHARD_NAME + 8];
        shard_name(s, part);
        strcat(part, ".part");
        off_t size = size_of(part);
        shard_leave(&s);
        for (int i = 0; i < 4; i++) { /* two notes, the file; or all in one without memory */
            pread_fails = i;
            memory_lacks = i == 0;
            assert_null(shards_look(&all, i % 2));
            assert_int_equal(pread_fails, 0);
            assert_int_equal(size_of(part), size);
            assert_true(is_there("shard-000000.lock"));
        }
        s = shards_look(&all, true);
        assert_non_null(s);
        assert_int_equal(members_of(s), 2 * SAMPLES);
        shard_finish(&s);
    }
}

static void one_is_gone_on_with_once_its_names_are_durable(void **state)
{
    (void)state;
    begin(TAR_PLAIN);
    struct shard *s = filled(); /* of one without --fsync */
    off_t size = (off_t)s->kept_bytes;
    shard_leave(&s);
    all.fsync = fsync_fails = true;
    assert_null(shards_look(&all, true));
    assert_int_equal(size_of("shard-000000.tar.part"), size);
    assert_true(is_there("shard-000000.lock"));
    fsync_fails = false;
    s = shards_look(&all, true);
    assert_non_null(s);
    assert_int_equal(shard_finish(&s), 0);
}

static void a_full_disk_is_enospc_whatever_the_packing(void **state)
{
    (void)state;
    int fd = open("/dev/full", O_WRONLY);
    for (int pack = TAR_PLAIN; pack < TAR_PACKS; pack++) {
        struct tar *t = tar_open(fd, (enum tar_pack)pack, 0);
        assert_int_equal(tar_add_text(t, "a.json", 0, "{}\n", 3), 0); /* in the buffer */
        errno = 0;
        assert_int_equal(tar_flush(t), -1);
        assert_int_equal(errno, ENOSPC);
        assert_int_equal(tar_add_text(t, "b.json", 0, "{}\n", 3), -1);
        assert_int_equal(errno, ENOSPC);
        tar_close(t);
    }
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_nobody_elses),
        cmocka_unit_test(a_name_that_is_taken_meanwhile_is_left_alone),
        cmocka_unit_test(one_that_is_empty_leaves_no_trace),
        cmocka_unit_test(wherever_it_was_torn_whole_samples_are_kept),
        cmocka_unit_test(what_was_not_kept_is_undone),
        cmocka_unit_test(a_full_disk_is_enospc_whatever_the_packing),
        cmocka_unit_test(a_torn_note_leaves_the_one_before),
        cmocka_unit_test(without_a_note_nothing_is_cut_off),
        cmocka_unit_test(a_packed_one_torn_by_a_power_cut_is_set_aside),
        cmocka_unit_test(a_number_that_was_set_aside_is_not_used_again),
        cmocka_unit_test(a_damaged_one_replaces_no_other),
        cmocka_unit_test(one_that_cant_be_opened_keeps_its_lock),
        cmocka_unit_test(one_is_gone_on_with_once_its_names_are_durable),
        cmocka_unit_test(a_link_made_by_others_does_not_make_it_finished),
        cmocka_unit_test(what_cant_be_read_is_left_alone),
        cmocka_unit_test(one_that_has_its_name_loses_the_others_once_that_is_durable),
    };
    if (!mkdtemp(dir) || (all.dir = open(dir, O_RDONLY | O_DIRECTORY)) < 0)
        return 1;
    spools_open(&spools, 1 << 20, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_all();
    rmdir(dir);
    return failed;
}
