/* Configuration: precedence, the names of the Python service, and errors that name what is wrong. */
#include "server/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

static int clean(void **state)
{
    static const char *const names[] = {"LOOKALIKE_LISTEN", "LOOKALIKE_THREADS", "LOOKALIKE_FETCH_ALLOW", "LOOKALIKE_CONFIG",
        "LOOKALIKE_METRIC", "LOOKALIKE_INSECURE", "LOOKALIKE_DATA", "LOOKALIKE_MODELS", "METRIC_TYPE", "VECTOR_DIMENSION", "MILVUS_HOST",
        "MILVUS_PORT"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    return 0;
}

/* config_load() with the given flags; argv has to be writable, as main() gets it. */
static enum result load(struct config *config, struct err *err, const char *const *flags)
{
    char *argv[160] = {strdup("serve")};
    int argc = 1;
    for (; flags && flags[argc - 1]; argc++)
        argv[argc] = strdup(flags[argc - 1]);
    enum result r = config_load(config, argc, argv, err);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return r;
}
#define LOAD(config, err, ...) load(config, err, (const char *const[]){__VA_ARGS__, NULL})

static void write_file(char *path, const char *text)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void defaults(void **state)
{
    struct config c;
    assert_int_equal(load(&c, NULL, NULL), ERR_OK);
    assert_string_equal(c.listen, "127.0.0.1:5000");
    assert_string_equal(c.model, "efficientnet-lite2");
    assert_string_equal(c.backend, "embedded");
    assert_string_equal(c.metric, "L2");
    assert_true(c.thumbnails && !c.insecure && c.milvus_port == 19530 && c.vector_dimension == 0);
    config_free(&c);
}

static void flag_over_environment_over_file_over_default(void **state)
{
    char path[] = "/tmp/lookalike-config-XXXXXX";
    write_file(path, "# comment\n\n listen = 127.0.0.1:1 \nthreads=1\nmodel = a b\nfetch-allow = 10.0.0.0/8, shop.local\n");
    setenv("LOOKALIKE_CONFIG", path, 1);
    setenv("LOOKALIKE_LISTEN", "127.0.0.1:2", 1);
    setenv("LOOKALIKE_THREADS", "2", 1);
    struct config c;
    struct err err = {0};
    assert_int_equal(LOAD(&c, &err, "--listen=127.0.0.1:3"), ERR_OK);
    assert_string_equal(c.listen, "127.0.0.1:3");
    assert_int_equal(c.threads, 2);
    assert_string_equal(c.model, "a b");
    assert_int_equal(c.fetch_allow_count, 2);
    assert_string_equal(c.fetch_allow[1], "shop.local");
    config_free(&c);
    assert_int_equal(LOAD(&c, &err, "--fetch-allow", "::1", "--fetch-allow", "b"), ERR_OK);
    assert_int_equal(c.fetch_allow_count, 2); /* the flags replace the file's list */
    assert_string_equal(c.fetch_allow[0], "::1");
    config_free(&c);
    unlink(path);
}

static void names_of_the_python_service(void **state)
{
    setenv("METRIC_TYPE", "COSINE", 1);
    setenv("VECTOR_DIMENSION", "2048", 1);
    setenv("MILVUS_HOST", "10.1.2.3", 1);
    setenv("MILVUS_PORT", "19531", 1);
    struct config c;
    assert_int_equal(LOAD(&c, NULL, "--insecure"), ERR_OK);
    assert_string_equal(c.metric, "COSINE");
    assert_int_equal(c.vector_dimension, 2048);
    assert_int_equal(c.milvus_port, 19531);
    assert_string_equal(c.backend, "milvus");
    assert_true(c.insecure);
    config_free(&c);
    assert_int_equal(LOAD(&c, NULL, "--backend", "embedded"), ERR_OK);
    assert_string_equal(c.backend, "embedded");
    config_free(&c);
}

static void errors_name_what_is_wrong(void **state)
{
    struct config c;
    struct err err = {0};
    assert_int_equal(LOAD(&c, &err, "--nonsense"), ERR_INVALID);
    assert_non_null(strstr(err.message, "--nonsense"));
    assert_int_equal(LOAD(&c, &err, "--listen"), ERR_INVALID);
    assert_non_null(strstr(err.message, "--listen"));
    assert_int_equal(LOAD(&c, &err, "--threads", "many"), ERR_INVALID);
    assert_non_null(strstr(err.message, "many"));
    assert_int_equal(LOAD(&c, &err, "--threads", "1025"), ERR_INVALID);
    assert_int_equal(LOAD(&c, &err, "--backend", "paper"), ERR_INVALID);
    assert_int_equal(LOAD(&c, &err, "--metric", "L3"), ERR_INVALID);
    assert_int_equal(LOAD(&c, &err, "--insecure=perhaps"), ERR_INVALID);
    assert_int_equal(LOAD(&c, &err, "positional"), ERR_INVALID);
    assert_int_equal(LOAD(&c, &err, "--config", "/does/not/exist"), ERR_IO);
    assert_non_null(strstr(err.message, "/does/not/exist"));
    char path[] = "/tmp/lookalike-config-XXXXXX";
    write_file(path, "listen = 127.0.0.1:1\nwhat = 3\n");
    assert_int_equal(LOAD(&c, &err, "--config", path), ERR_INVALID);
    assert_non_null(strstr(err.message, "line 2"));
    assert_non_null(strstr(err.message, "what"));
    unlink(path);
}

static void too_many_entries(void **state)
{
    char list[CONFIG_FETCH_ALLOW_MAX * 4 + 16] = "";
    for (int i = 0; i <= CONFIG_FETCH_ALLOW_MAX; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "h%d,", i % 10);
    struct config c;
    struct err err = {0};
    assert_int_equal(LOAD(&c, &err, "--fetch-allow", list), ERR_TOO_LARGE);
    list[strlen(list) - 3] = '\0';
    assert_int_equal(LOAD(&c, &err, "--fetch-allow", list), ERR_OK);
    assert_int_equal(c.fetch_allow_count, CONFIG_FETCH_ALLOW_MAX);
    config_free(&c);
}

static void help_lists_every_flag(void **state)
{
    struct buf help;
    buf_init(&help, 1 << 16);
    assert_int_equal(config_help(&help), ERR_OK);
    static const char *const flags[] = {"--data", "--listen", "--backend", "--config", "--insecure", "--fetch-allow", "--cors", "--model",
        "--device", "--threads", "--tls-cert", "--tls-key"}; /* API.md section 3 */
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        bool takes_value;
        assert_non_null(strstr(help.data, flags[i]));
        assert_true(config_is_flag(flags[i], &takes_value));
        assert_int_equal(takes_value, strcmp(flags[i], "--insecure") != 0);
    }
    bool takes_value = true;
    assert_true(config_is_flag("--model=x", &takes_value));
    assert_false(takes_value);
    assert_false(config_is_flag("--create", &takes_value));
    buf_free(&help);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults, clean),
        cmocka_unit_test_setup(flag_over_environment_over_file_over_default, clean),
        cmocka_unit_test_setup(names_of_the_python_service, clean),
        cmocka_unit_test_setup(errors_name_what_is_wrong, clean),
        cmocka_unit_test_setup(too_many_entries, clean),
        cmocka_unit_test_setup(help_lists_every_flag, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
