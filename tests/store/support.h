/* What the store's tests share: a folder that goes away, random numbers, short ways to write and read. */
#ifndef TESTS_STORE_SUPPORT_H
#define TESTS_STORE_SUPPORT_H

#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <string.h>

/* A new empty folder; removed, with all in it, by test_folder_remove(). The text is the caller's to free. */
char *test_folder(void);
void test_folder_remove(char *folder);
/* "<folder>/<name>", in a buffer of the calling thread that the next call but seven overwrites. */
const char *test_path(const char *folder, const char *name);

/* xorshift: the same numbers in every run. */
uint32_t test_random(uint64_t *state);
/* Small whole numbers, −3…3: sums are exact in any order, and distances are often equal. */
void test_small_vector(uint64_t *state, float *v, uint32_t dimension);

/* Fails the test with the sentence. */
void test_ok(enum result r, const struct err *err, const char *file, int line);
#define OK(call)                                                                                             \
    do {                                                                                                     \
        struct err err_ = {0};                                                                               \
        struct err *err = &err_;                                                                             \
        test_ok((call), err, __FILE__, __LINE__);                                                            \
    } while (0)
/* The call must give this result, with a sentence that has `part` in it. */
void test_refused(
    enum result r, enum result want, const struct err *err, const char *part, const char *file, int line);
#define REFUSED(want, part, call)                                                                            \
    do {                                                                                                     \
        struct err err_ = {0};                                                                               \
        struct err *err = &err_;                                                                             \
        test_refused((call), (want), err, (part), __FILE__, __LINE__);                                       \
    } while (0)

/* A store of `test_backend`, in a folder of its own, for each test of the contract. */
struct test_fixture {
    char *folder;
    struct store *store;
};
extern const char *test_backend; /* "memory", "embedded" or "milvus" */
/* Whether tags and brief come back byte by byte; Milvus keeps the values. */
bool test_bytes_kept(void);
/* Milvus cannot find the very largest key there is, and refuses it. */
int64_t test_largest_fileid(void);
/* The same bytes, or where bytes are not kept the same JSON value. */
void test_same_json(const char *a, const char *b);
void test_open_store(struct test_fixture *f);
int test_setup(void **state);
int test_teardown(void **state);
struct store *test_store_of(void **state);

/* A collection that keeps thumbnails. */
void test_create(struct store *store, const char *collection, uint32_t dimension, enum store_metric metric);
/* A whole record; itemid NULL: none given. */
enum result test_put(struct store *store, const char *collection, int64_t fileid, const int64_t *itemid,
    const float *vector, struct err *err);
enum result test_delete(struct store *store, const char *collection, int64_t fileid, struct err *err);
uint64_t test_count(struct store *store, const char *collection);

#endif
