/* Keys: made, checked, kept in their file, revoked, changed by another process; and what may not be. */
#include "auth/auth.h"
#include "base/buf.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[64], path[96];

static int set_up(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/lookalike-auth-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/keys.json", folder);
    return 0;
}

static int tear_down(void **state)
{
    char lock[96];
    snprintf(lock, sizeof lock, "%s/keys.lock", folder);
    unlink(path);
    unlink(lock);
    return rmdir(folder); /* fails where something was left beside them */
}

static struct auth *must_open(void)
{
    struct auth *auth = NULL;
    struct err err = {0};
    if (auth_open(folder, &auth, &err))
        fail_msg("%s", err.message);
    return auth;
}

static void must_create(struct auth *auth, const char *name, unsigned rights, const char *collection, char *text)
{
    struct auth_key *key = NULL;
    struct err err = {0};
    struct auth_new want = {name, rights, collection ? &collection : NULL, collection ? 1 : 0};
    if (auth_create(auth, &want, text, &key, &err))
        fail_msg("%s", err.message);
    assert_int_equal(key->rights, rights);
    auth_key_release(key);
}

static bool known(struct auth *auth, const char *text)
{
    struct auth_key *key = auth_check(auth, text);
    auth_key_release(key);
    return key != NULL;
}

static void read_file(char *out, size_t size)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, out, size - 1);
    assert_true(n >= 0);
    out[n] = '\0';
    close(fd);
}

static void made_checked_and_kept(void **state)
{
    char admin[AUTH_KEY_LEN + 1], search[AUTH_KEY_LEN + 1], text[8192];
    struct stat st;
    struct auth *auth = must_open();
    assert_false(auth_is_on(auth));
    assert_false(known(auth, "lk_000000000000_000000000000000000000000000000000000000000000000"));
    must_create(auth, "operator", AUTH_ADMIN, NULL, admin);
    assert_true(auth_is_on(auth));
    must_create(auth, "shöp", AUTH_SEARCH, "shop", search);
    assert_int_equal(strlen(admin), AUTH_KEY_LEN);
    assert_string_not_equal(admin, search);
    for (int again = 0; again < 2; again++) { /* the second time from the file */
        struct auth_key *key = auth_check(auth, search);
        assert_non_null(key);
        assert_string_equal(key->name, "shöp");
        assert_true(auth_key_may(key, AUTH_SEARCH) && !auth_key_may(key, AUTH_WRITE) && !auth_key_may(key, AUTH_ADMIN));
        assert_true(auth_key_reaches(key, "shop") && !auth_key_reaches(key, "shop2") && !auth_key_reaches(key, "sho"));
        auth_key_release(key);
        key = auth_check(auth, admin);
        assert_non_null(key);
        assert_true(auth_key_may(key, AUTH_SEARCH) && auth_key_may(key, AUTH_WRITE) && auth_key_may(key, AUTH_ADMIN));
        assert_true(auth_key_reaches(key, "any"));
        auth_key_release(key);
        auth_close(auth);
        auth = must_open();
    }
    auth_close(auth);
    /* What is on disk helps nobody: neither key nor secret, and nobody else may read it. */
    read_file(text, sizeof text);
    assert_null(strstr(text, search));
    assert_null(strstr(text, search + 3 + AUTH_ID_LEN + 1));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_non_null(strstr(text, "\"last_used\":\"20")); /* written when it was closed */
}

static void every_wrong_key_is_unknown(void **state)
{
    char good[AUTH_KEY_LEN + 1], bad[AUTH_KEY_LEN + 8];
    struct auth *auth = must_open();
    must_create(auth, "a", AUTH_ADMIN, NULL, good);
    for (size_t i = 0; i < AUTH_KEY_LEN; i++) { /* each character matters */
        snprintf(bad, sizeof bad, "%s", good);
        bad[i] = bad[i] == 'a' ? 'b' : 'a';
        assert_false(known(auth, bad));
    }
    for (size_t n = 0; n < AUTH_KEY_LEN; n++) {
        snprintf(bad, sizeof bad, "%.*s", (int)n, good);
        assert_false(known(auth, bad));
    }
    snprintf(bad, sizeof bad, "%s0", good);
    assert_false(known(auth, bad));
    snprintf(bad, sizeof bad, " %s", good);
    assert_false(known(auth, bad));
    assert_true(known(auth, good));
    auth_close(auth);
}

static void revoked_at_once_and_the_last_one_stays(void **state)
{
    char first[AUTH_KEY_LEN + 1], second[AUTH_KEY_LEN + 1], id[AUTH_ID_LEN + 1];
    struct auth *auth = must_open();
    struct err err = {0};
    must_create(auth, "a", AUTH_ADMIN, NULL, first);
    must_create(auth, "b", AUTH_SEARCH | AUTH_WRITE, NULL, second);
    snprintf(id, sizeof id, "%.*s", AUTH_ID_LEN, first + 3);
    assert_int_equal(auth_revoke(auth, id, false, &err), ERR_DENIED);
    assert_true(known(auth, first));
    assert_int_equal(auth_revoke(auth, "0123456789ab", false, &err), ERR_NOT_FOUND);
    assert_int_equal(auth_revoke(auth, "", false, &err), ERR_NOT_FOUND);
    struct auth_key *held = auth_check(auth, first); /* in the hands of a request while it is revoked */
    assert_int_equal(auth_revoke(auth, id, true, &err), ERR_OK);
    assert_false(known(auth, first));
    assert_string_equal(held->name, "a");
    auth_key_release(held);
    snprintf(id, sizeof id, "%.*s", AUTH_ID_LEN, second + 3);
    assert_int_equal(auth_revoke(auth, id, false, &err), ERR_OK);
    assert_true(auth_is_on(auth)); /* without any key left: closed, not open */
    auth_close(auth);
}

/* Another process changes the file: here a second struct auth. */
static void changed_by_somebody_else(void **state)
{
    char first[AUTH_KEY_LEN + 1], second[AUTH_KEY_LEN + 1], third[AUTH_KEY_LEN + 1], id[AUTH_ID_LEN + 1];
    struct auth *server = must_open(), *command = must_open();
    must_create(command, "a", AUTH_ADMIN, NULL, first);
    must_create(server, "b", AUTH_ADMIN, NULL, second); /* must not lose "a", which it has not seen */
    must_create(command, "c", AUTH_ADMIN, NULL, third);
    assert_true(known(server, second));
    usleep(1100 * 1000);
    assert_true(known(server, first) && known(server, third));
    snprintf(id, sizeof id, "%.*s", AUTH_ID_LEN, first + 3);
    assert_int_equal(auth_revoke(command, id, false, NULL), ERR_OK);
    usleep(1100 * 1000);
    assert_false(known(server, first));
    /* A file that cannot be read takes no right away and gives none. */
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, "{", 1), 1);
    close(fd);
    usleep(1100 * 1000);
    assert_true(known(server, second) && !known(server, first));
    /* And is not overwritten by the next change: somebody may want to mend it. */
    struct auth_key *key = NULL;
    char text[AUTH_KEY_LEN + 1];
    assert_int_equal(auth_create(server, &(struct auth_new){.name = "d", .rights = AUTH_SEARCH}, text, &key, NULL), ERR_CORRUPT);
    auth_close(command);
    auth_close(server);
}

static void what_may_not_be(void **state)
{
    static const char *const none[] = {""}, *const many[LIMIT_KEY_COLLECTIONS + 1] = {"a"}, *const bad[] = {"1a"};
    char long_name[LIMIT_KEY_NAME + 2] = "", text[AUTH_KEY_LEN + 1];
    memset(long_name, 'x', sizeof long_name - 1);
    const struct {
        struct auth_new want;
        const char *field;
        enum result code;
    } cases[] = {
        {{"a", AUTH_SEARCH, NULL, 0}, "rights", ERR_INVALID}, /* the first must manage */
        {{"a", AUTH_ADMIN, (const char *const[]){"shop"}, 1}, "rights", ERR_INVALID},
        {{"", AUTH_ADMIN, NULL, 0}, "name", ERR_INVALID},
        {{NULL, AUTH_ADMIN, NULL, 0}, "name", ERR_INVALID},
        {{"a\nb", AUTH_ADMIN, NULL, 0}, "name", ERR_INVALID},
        {{"\xff", AUTH_ADMIN, NULL, 0}, "name", ERR_INVALID},
        {{long_name, AUTH_ADMIN, NULL, 0}, "name", ERR_INVALID},
        {{"a", 0, NULL, 0}, "rights", ERR_INVALID},
        {{"a", AUTH_ADMIN, none, 0}, "collections", ERR_INVALID},
        {{"a", AUTH_ADMIN, bad, 1}, "collections", ERR_INVALID},
        {{"a", AUTH_ADMIN, many, LIMIT_KEY_COLLECTIONS + 1}, "collections", ERR_TOO_LARGE},
    };
    struct auth *auth = must_open();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct auth_key *key = NULL;
        struct err err = {0};
        assert_int_equal(auth_create(auth, &cases[i].want, text, &key, &err), cases[i].code);
        assert_string_equal(err.field, cases[i].field);
        assert_null(key);
    }
    assert_false(auth_is_on(auth));
    auth_close(auth);
}

static void damaged_files_stop_the_start(void **state)
{
    static const char *const texts[] = {"", "{", "[]", "{\"version\":2,\"keys\":[]}", "{\"version\":1}",
        "{\"version\":1,\"keys\":[{}]}", "{\"version\":1,\"keys\":[1]}",
        "{\"version\":1,\"keys\":[{\"id\":\"0123456789ab\",\"name\":\"a\",\"rights\":[\"root\"],\"collections\":null,"
        "\"created\":\"2026-01-01T00:00:00Z\",\"sha256\":"
        "\"0000000000000000000000000000000000000000000000000000000000000000\"}]}",
        "{\"version\":1,\"keys\":[{\"id\":\"0123456789ab\",\"name\":\"a\",\"rights\":[\"admin\"],\"collections\":[],"
        "\"created\":\"2026-01-01T00:00:00Z\",\"sha256\":"
        "\"0000000000000000000000000000000000000000000000000000000000000000\"}]}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(write(fd, texts[i], strlen(texts[i])), (ssize_t)strlen(texts[i]));
        close(fd);
        struct auth *auth = NULL;
        struct err err = {0};
        assert_int_equal(auth_open(folder, &auth, &err), ERR_CORRUPT);
        assert_non_null(strstr(err.message, path));
    }
}

static void number_of_keys_is_limited(void **state)
{
    /* Written by hand: a thousand fsyncs would take their time. */
    struct buf text;
    buf_init(&text, LIMIT_KEYS_BYTES);
    assert_int_equal(buf_append_str(&text, "{\"version\":1,\"keys\":["), ERR_OK);
    for (int i = 0; i < LIMIT_KEYS; i++)
        assert_int_equal(buf_appendf(&text,
            "%s{\"id\":\"%012d\",\"name\":\"a\",\"rights\":[\"admin\"],\"collections\":null,"
            "\"created\":\"2026-01-01T00:00:00Z\",\"last_used\":null,\"sha256\":"
            "\"0000000000000000000000000000000000000000000000000000000000000000\"}", i ? "," : "", i), ERR_OK);
    assert_int_equal(buf_append_str(&text, "]}"), ERR_OK);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, text.data, text.len), (ssize_t)text.len);
    close(fd);
    buf_free(&text);
    struct auth *auth = must_open();
    struct auth_key *key = NULL;
    char made[AUTH_KEY_LEN + 1];
    struct auth_new want = {.name = "one more", .rights = AUTH_SEARCH};
    assert_int_equal(auth_create(auth, &want, made, &key, NULL), ERR_TOO_LARGE);
    assert_int_equal(auth_revoke(auth, "000000000007", false, NULL), ERR_OK);
    assert_int_equal(auth_create(auth, &want, made, &key, NULL), ERR_OK);
    auth_key_release(key);
    auth_close(auth);
}

static void *ask_often(void *arg)
{
    for (int i = 0; i < 2000; i++)
        known(arg, "lk_000000000000_000000000000000000000000000000000000000000000000");
    return NULL;
}

static void asked_while_changed(void **state)
{
    struct auth *auth = must_open();
    pthread_t threads[3];
    char text[AUTH_KEY_LEN + 1];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, auth), 0);
    for (int i = 0; i < 10; i++)
        must_create(auth, "a", AUTH_ADMIN, NULL, text);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_true(known(auth, text));
    auth_close(auth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(made_checked_and_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_wrong_key_is_unknown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(revoked_at_once_and_the_last_one_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changed_by_somebody_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_may_not_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_files_stop_the_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(number_of_keys_is_limited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(asked_while_changed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
