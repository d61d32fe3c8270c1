/* The parts of store/milvus that need no Milvus: errors as sentences, sessions, addresses, what is sent for a filter. */
#include "store/milvus/milvus.h"
#include "store/milvus/status.h"
#include "store/milvus/walk.h"
#include "support.h"

#include "base/clock.h"
#include "base/parse.h"
#include "filter/filter.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static enum result status(int code, int old, const char *reason, struct err *err)
{
    Mv__Status s = MV__STATUS__INIT;
    int out = 0;
    s.code = code;
    s.error_code = old;
    s.reason = (char *)(uintptr_t)reason;
    return milvus_status_error(&s, &out, err);
}

static void test_codes(void **state)
{
    static const struct {
        int code, old;
        enum result want;
    } all[] = {{0, 0, ERR_OK}, {1, 0, ERR_UNAVAILABLE}, {2, 1, ERR_UNAVAILABLE}, {3, 0, ERR_BUSY}, {8, 0, ERR_BUSY},
        {100, 1, ERR_NOT_FOUND}, {0, 4, ERR_NOT_FOUND}, {0, 28, ERR_NOT_FOUND}, {500, 0, ERR_UNAVAILABLE}, {0, 49, ERR_BUSY},
        {0, 57, ERR_UNAVAILABLE}, {1100, 0, ERR_INVALID}, {65535, 1, ERR_INVALID}, {0, 1, ERR_INVALID}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct err err = {0};
        assert_int_equal(status(all[i].code, all[i].old, "why", &err), all[i].want);
        assert_true(!all[i].want || strstr(err.message, "why"));
    }
    assert_int_equal(milvus_status_error(NULL, &(int){0}, NULL), ERR_OK);
}

/* A reason is Milvus's text: it becomes one line, and is cut between characters. */
static void test_reasons_are_one_line(void **state)
{
    struct err err = {0};
    char reason[2000];
    assert_int_equal(status(65535, 1, "first\nsecond\tthird  ", &err), ERR_INVALID);
    assert_string_equal(err.message, "Milvus refuses: first second third");
    for (size_t i = 0; i + 3 < sizeof reason; i += 3)
        memcpy(reason + i, "漢", 4);
    for (size_t cut = 0; cut < 3; cut++) {
        memset(&err, 0, sizeof err);
        assert_int_equal(status(65535, 1, reason + 3, &err), ERR_INVALID);
        assert_true(parse_is_utf8(err.message, strlen(err.message)));
        memmove(reason + 4, reason + 3, sizeof reason - 4); /* another place to cut at */
        reason[3] = 'x';
        reason[sizeof reason - 1] = '\0';
    }
    assert_int_equal(status(65535, 1, "", &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "no reason"));
}

static void test_grpc_errors_say_what_to_do(void **state)
{
    static const struct {
        int status;
        const char *details;
        enum result want;
        const char *part;
    } all[] = {{14, "refused", ERR_UNAVAILABLE, "MILVUS_PORT"}, {4, "", ERR_UNAVAILABLE, "in time"}, {16, "no", ERR_UNAVAILABLE, "--milvus-password"},
        {7, "no", ERR_UNAVAILABLE, "--milvus-token"}, {8, "larger than max", ERR_TOO_LARGE, "too large"}, {8, "slow down", ERR_BUSY, "slow down"},
        {12, "unknown", ERR_UNSUPPORTED, "unknown"}, {13, "odd", ERR_UNAVAILABLE, "gRPC 13"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct err err = {0};
        assert_int_equal(milvus_grpc_error(all[i].status, all[i].details, "10.0.0.7:19530", &err), all[i].want);
        assert_non_null(strstr(err.message, all[i].part));
    }
}

static void test_lowest_number(void **state)
{
    struct buf b;
    buf_init(&b, 200);
    assert_int_equal(milvus_compare(&b, "fileid", "==", -5), ERR_OK);
    assert_string_equal(b.data, "fileid == -5");
    buf_clear(&b);
    assert_int_equal(milvus_compare(&b, "fileid", ">", INT64_MIN), ERR_OK); /* Milvus cannot read that number */
    assert_string_equal(b.data, "fileid >= -9223372036854775807");
    buf_clear(&b);
    assert_int_equal(milvus_compare(&b, "itemid", "==", INT64_MIN), ERR_OK);
    assert_string_equal(b.data, "itemid < -9223372036854775807");
    buf_free(&b);
}

static void test_filters_that_end_a_milvus(void **state)
{
    static const struct {
        const char *text;
        bool passed;
    } all[] = {{"fileid / -1 == 0", false}, {"fileid % -1 == 0", false}, {"not (itemid > 1 and (brief[\"a\"] / (2 - 3) == 1))", false},
        {"fileid / -2 == 0", true}, {"fileid * -1 == 0", true}, {"brief[\"a\"] / -1.0 == 2.0", true}, {"fileid == -1", true}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct filter *filter = NULL;
        const char *text = NULL;
        struct err why = {0};
        OK(filter_parse(all[i].text, strlen(all[i].text), &filter, err));
        assert_int_equal(milvus_filter_text(filter, &text, &why), all[i].passed ? ERR_OK : ERR_UNSUPPORTED);
        if (all[i].passed)
            assert_string_equal(text, all[i].text);
        else
            assert_true(strcmp(why.field, "filter") == 0 && strstr(why.message, "-1"));
        filter_free(filter);
    }
    const char *text = NULL;
    OK(milvus_filter_text(NULL, &text, err));
    assert_string_equal(text, "");
}

/* --- sessions ------------------------------------------------------------------------------------------------------ */

static void test_session_remembers(void **state)
{
    struct milvus_session s = {0};
    bool exists = false;
    OK(milvus_session_init(&s, err));
    assert_true(milvus_session_seen(&s).doubt); /* of a new process nothing is known */
    milvus_session_settle(&s, 50);
    assert_false(milvus_session_seen(&s).doubt);
    milvus_session_wrote(&s, 7, true, 100);
    assert_true(milvus_session_recall(&s, 7, &exists) && exists);
    milvus_session_wrote(&s, 7, false, 110);
    assert_true(milvus_session_recall(&s, 7, &exists) && !exists);
    assert_false(milvus_session_recall(&s, 8, &exists));
    assert_true(milvus_session_seen(&s).newest == 110 && milvus_session_seen(&s).forgotten == 50);
    /* What is forgotten must be behind `forgotten`: a read that has seen so much knows it. */
    for (int64_t i = 0; i < 4 * LIMIT_MILVUS_RECENT; i++)
        milvus_session_wrote(&s, i * 977, true, 200 + (uint64_t)i);
    uint64_t forgotten = milvus_session_seen(&s).forgotten;
    for (int64_t i = 0; i < 4 * LIMIT_MILVUS_RECENT; i++)
        assert_true(milvus_session_recall(&s, i * 977, &exists) || 200 + (uint64_t)i <= forgotten);
    milvus_session_doubt(&s);
    assert_true(milvus_session_seen(&s).doubt);
    assert_false(milvus_session_recall(&s, (4 * LIMIT_MILVUS_RECENT - 1) * 977, &exists));
    milvus_session_free(&s);
    milvus_session_free(&s);
}

static void *add_many(void *user)
{
    struct milvus_session *s = user;
    for (int i = 0; i < 2000; i++) {
        uint64_t stripes = milvus_session_stripe(5) | milvus_session_stripe(i);
        OK(milvus_session_lock(s, stripes, clock_now_ms() + 20000, err));
        s->recent[0].timestamp++; /* not atomic: the lock must do it */
        milvus_session_unlock(s, stripes);
    }
    return NULL;
}

static void test_session_locks(void **state)
{
    struct milvus_session s = {0};
    pthread_t threads[4];
    OK(milvus_session_init(&s, err));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, &s), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(s.recent[0].timestamp, 8000);
    OK(milvus_session_lock(&s, milvus_session_stripe(5), 0, err));
    REFUSED(ERR_TIMEOUT, "another write", milvus_session_lock(&s, milvus_session_stripe(5), clock_now_ms() + 20, err));
    milvus_session_free(&s);
}

/* --- links --------------------------------------------------------------------------------------------------------- */

static void test_addresses(void **state)
{
    const char *bad[] = {"", "http://", "https://", "http://a b", "http://user@host", "http://host/path", "host?x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct store_milvus_options options = {.uri = bad[i]};
        struct milvus_link *link = NULL;
        REFUSED(ERR_INVALID, "--milvus-uri", milvus_link_open(&options, &link, err));
        assert_null(link);
    }
    static const char *const good[][2] = {{"http://10.0.0.7", "10.0.0.7:19530"}, {"host:1", "host:1"}, {"tcp://h:2/", "h:2"},
        {"http://[::1]:3", "[::1]:3"}, {"[::1]", "[::1]:19530"}, {"https://h", "h:19530"}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct store_milvus_options options = {.uri = good[i][0], .database = "d"};
        struct milvus_link *link = NULL;
        OK(milvus_link_open(&options, &link, err));
        assert_string_equal(milvus_link_name(link), good[i][1]);
        assert_string_equal(milvus_link_database(link), "d");
        milvus_link_close(link);
    }
    struct milvus_link *link = NULL;
    struct store_milvus_options named = {.uri = "http://h", .user = "a:b"};
    REFUSED(ERR_INVALID, "--milvus-user", milvus_link_open(&named, &link, err));
    struct store_milvus_options plain = {.uri = "http://h", .ca = "/nowhere"};
    REFUSED(ERR_INVALID, "https://", milvus_link_open(&plain, &link, err));
    struct store_milvus_options half = {.uri = "https://h", .cert = "/nowhere"};
    REFUSED(ERR_INVALID, "--milvus-key", milvus_link_open(&half, &link, err));
    struct store_milvus_options absent = {.uri = "https://h", .ca = "/nowhere"};
    REFUSED(ERR_IO, "--milvus-ca", milvus_link_open(&absent, &link, err));
}

/* Something listens and says nothing: a call is over at its deadline, and the sentence names the address. */
static void test_what_never_answers(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    char uri[64];
    snprintf(uri, sizeof uri, "http://127.0.0.1:%d", ntohs(address.sin_port));
    struct store_milvus_options options = {.uri = uri, .timeout_ms = 300, .deadline_ms = clock_now_ms() + 400};
    struct store *store = NULL;
    int64_t start = clock_now_ms();
    REFUSED(ERR_UNAVAILABLE, uri + 7, store_open_milvus(&options, &store, err));
    assert_true(clock_now_ms() - start < 5000);
    close(fd);
    options.timeout_ms = 3000; /* that a port is closed is seen at once, but not by a busy machine with a sanitizer */
    options.deadline_ms = clock_now_ms() + 3000;
    REFUSED(ERR_UNAVAILABLE, "is it running there?", store_open_milvus(&options, &store, err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes), cmocka_unit_test(test_reasons_are_one_line), cmocka_unit_test(test_grpc_errors_say_what_to_do),
        cmocka_unit_test(test_lowest_number), cmocka_unit_test(test_filters_that_end_a_milvus), cmocka_unit_test(test_session_remembers),
        cmocka_unit_test(test_session_locks), cmocka_unit_test(test_addresses), cmocka_unit_test(test_what_never_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
