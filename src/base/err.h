/*
 * The one error idiom of the project.
 *
 * A function that can fail returns `enum result`; ERR_OK is 0 and means that every promise of the function
 * holds. Its last parameter is a `struct err *` that may be NULL; it is written on failure only, with the
 * sentence the user will read. Out-parameters are untouched on failure. A result never has two meanings.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>

enum result {
    ERR_OK = 0,
    ERR_INVALID,     /* the caller's input is wrong; trying again will not help */
    ERR_NOT_FOUND,   /* the thing named does not exist */
    ERR_EXISTS,      /* the thing to be made exists already */
    ERR_TOO_LARGE,   /* over one of the limits in base/limits.h */
    ERR_UNSUPPORTED, /* understood, but not something this build or this kind of file can do */
    ERR_DENIED,      /* understood and refused: a forbidden address, a missing right */
    ERR_BUSY,        /* a queue is full or another process holds the lock; trying later may help */
    ERR_TIMEOUT,     /* the deadline passed */
    ERR_UNAVAILABLE, /* something we depend on does not answer */
    ERR_IO,          /* the operating system refused: disk full, I/O error, no such file */
    ERR_CORRUPT,     /* data on disk is not what was written */
    ERR_NO_MEMORY,
    ERR_INTERNAL, /* a promise inside the program was broken; always a bug */
};

#define ERR_FIELD_MAX 64
#define ERR_MESSAGE_MAX 512

struct err {
    enum result code;
    char field[ERR_FIELD_MAX];     /* name of the field at fault, or "" */
    unsigned column;               /* where in the field's text, 1-based in characters; 0: not said */
    char message[ERR_MESSAGE_MAX]; /* one sentence, UTF-8, no trailing newline */
};

#define ERR_MUST_USE __attribute__((warn_unused_result))

/* Fill `err` (if not NULL) and return `code`, so that `return err_set(err, …)` reads well. */
enum result err_set(struct err *err, enum result code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, naming the field at fault. */
enum result err_set_field(struct err *err, enum result code, const char *field, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* "message: strerror(errno_value)". The code is ERR_NO_MEMORY for ENOMEM, else ERR_IO. */
enum result err_set_errno(struct err *err, int errno_value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

enum result err_no_memory(struct err *err);

/* A stable lower-case name for a result, for logs and machine-readable replies. Never NULL. */
const char *err_name(enum result code);

#endif
