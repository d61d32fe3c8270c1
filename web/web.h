/*
 * The page's files inside the program: a table made at build time from web/ by tools/embed_files.py.
 *
 * The table is constant and sorted by path, so any thread may read it. `data` lives as long as the program and can be
 * given to http as a static body. Meant for src/api, which adds the headers:
 *
 *   Content-Type             file->content_type
 *   Content-Encoding: gzip   and file->gzip as body, where there is one and the browser takes it; Vary says so
 *   ETag                     file->etag, and 304 without a body where If-None-Match names it
 *   Cache-Control: no-cache  so that a new program's page is seen at once, for the price of a 304
 *   Content-Security-Policy  web_csp
 *   X-Content-Type-Options: nosniff
 *   Referrer-Policy: no-referrer
 */
#ifndef WEB_WEB_H
#define WEB_WEB_H

#include <stddef.h>

/*
 * What the page needs and nothing more: its own scripts, styles and routes, and pictures from memory (the picture that
 * was chosen is shown from a blob: address). No frame around it, no form that leaves it, and no text that becomes HTML or
 * code: innerHTML and its kind are refused by the browser. Of inline scripts and styles only those two that the build
 * put into index.html, named by their SHA-256: what is painted first needs them and waits for nothing else.
 */
#define WEB_CSP(script_hash, style_hash) \
    "default-src 'none'; script-src 'self' '" script_hash "'; style-src 'self' '" style_hash "'; img-src 'self' blob:; " \
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " \
    "require-trusted-types-for 'script'; trusted-types 'none'"

struct web_file {
    const char *path;          /* as in the request: "/", "/js/main.js"; "/" is index.html */
    const char *content_type;  /* with charset where it is text */
    const unsigned char *data;
    size_t len;
    const unsigned char *gzip; /* the same compressed, or NULL where that is no smaller */
    size_t gzip_len;
    const char *etag;          /* with its quotes; weak, because it stands for both forms */
};

/* The policy, with the hashes of what is inline. */
extern const char web_csp[];

/* Sorted by path, compared as bytes. */
extern const struct web_file web_files[];
extern const size_t web_file_count;

/* The file of a request path (without query, percent-decoded), or NULL: nothing but the table's own paths is found. */
const struct web_file *web_find(const char *path);

#endif
