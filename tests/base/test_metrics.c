/* The table of metrics against the documentation in both languages, the text form, and log lines as JSON. */
#include "base/log.h"
#include "base/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

static void read_file(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "re");
    if (!f)
        fail_msg("cannot open %s", path);
    out[fread(out, 1, size - 1, f)] = '\0';
    fclose(f);
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (const char *p = strstr(text, what); p; p = strstr(p + 1, what))
        n++;
    return n;
}

static void the_documentation_has_each_metric_and_no_other(void **state)
{
    static const char *const files[] = {"docs/operations/monitoring.md", "docs/operations/monitoring.zh-CN.md"};
    static char text[64 * 1024], path[1024], row[128];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", getenv("SOURCE"), files[i]);
        read_file(path, text, sizeof text);
        for (unsigned m = 0; m < METRIC_COUNT; m++) {
            snprintf(row, sizeof row, "\n| `%s` | ", metrics_name((enum metric)m));
            if (count(text, row) != 1)
                fail_msg("%s is not in the table of %s once", metrics_name((enum metric)m), files[i]);
        }
        assert_int_equal(count(text, "\n| `lookalike_") + count(text, "\n| `process_"), METRIC_COUNT);
    }
}

static void counted_and_written(void **state)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    metrics_add(METRIC_FETCHES, OUTCOME_FAILED, 3);
    metrics_change(METRIC_CONNECTIONS, 0, 5);
    metrics_change(METRIC_CONNECTIONS, 0, -1);
    metrics_observe(METRIC_STAGE_SECONDS, STAGE_EMBED, 500);
    metrics_observe(METRIC_STAGE_SECONDS, STAGE_EMBED, 501);
    metrics_observe(METRIC_STAGE_SECONDS, STAGE_EMBED, 1000000000);
    metrics_observe(METRIC_BATCH_PICTURES, 0, 4);
    assert_int_equal(metrics_write(&out), ERR_OK);
    static const char *const parts[] = {"\nlookalike_fetches_total{outcome=\"failed\"} 3\n", "\nlookalike_connections 4\n",
        "\n# TYPE lookalike_stage_seconds histogram\n", "\nlookalike_stage_seconds_bucket{stage=\"embed\",le=\"0.0005\"} 1\n",
        "{stage=\"embed\",le=\"0.001\"} 2\n", "{stage=\"embed\",le=\"20\"} 2\n", "{stage=\"embed\",le=\"+Inf\"} 3\n",
        "\nlookalike_stage_seconds_sum{stage=\"embed\"} 1000.001001\n", "\nlookalike_stage_seconds_count{stage=\"embed\"} 3\n",
        "\nlookalike_batch_pictures_bucket{le=\"3\"} 0\n", "\nlookalike_batch_pictures_bucket{le=\"4\"} 1\n", "\nprocess_open_fds "};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(out.data, parts[i]))
            fail_msg("no %s in %s", parts[i], out.data);
    buf_free(&out);
}

static void lines_as_json(void **state)
{
    static char text[16384];
    int fds[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(fds), 0);
    dup2(fds[1], STDERR_FILENO);
    log_set_json(true);
    log_request("id-1", "0af7651916cd43dd8448eb211c80319c");
    log_line(LOG_WARN, "a \"b\" \\ \n %s é", "\xff");
    log_request(NULL, NULL);
    log_line(LOG_INFO, "plain");
    char path[6000];
    memset(path, '"', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    log_access(&(struct log_access){.method = "GET", .path = path, .client = "::1", .key = "", .id = "x", .trace_id = "", .status = 404,
        .received = 1, .sent = 2, .us = 1500});
    log_set_json(false);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fds[1]);
    ssize_t n = 0, all = 0;
    while ((n = read(fds[0], text + all, sizeof text - 1 - (size_t)all)) > 0)
        all += n;
    close(fds[0]);
    assert_non_null(strstr(text, "\"level\":\"warn\",\"message\":\"a \\\"b\\\" \\\\ \\u000a \\u00ff é\",\"request_id\":\"id-1\","
                                 "\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}\n"));
    assert_non_null(strstr(text, "\"message\":\"plain\"}\n"));
    assert_non_null(strstr(text, "\",\"status\":404,\"ms\":1.500,\"received\":1,\"sent\":2,\"client\":\"::1\",\"request_id\":\"x\"}\n"));
    assert_int_equal(count(text, "\n"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_documentation_has_each_metric_and_no_other),
        cmocka_unit_test(counted_and_written),
        cmocka_unit_test(lines_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
