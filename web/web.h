/*
 * The page's files inside the program: a table made at build time from web/ by tools/embed_files.py.
 *
 * The table is constant and sorted by path, so any thread may read it. `data` lives as long as the program and can be
 * given to http as a static body. Meant for src/api, which adds the headers:
 *
 *   Content-Type             file->content_type
 *   ETag                     file->etag, and 304 without a body where If-None-Match names it
 *   Cache-Control: no-cache  so that a new program's page is seen at once, for the price of a 304
 *   Content-Security-Policy  WEB_CSP
 *   X-Content-Type-Options: nosniff
 *   Referrer-Policy: no-referrer
 */
#ifndef WEB_WEB_H
#define WEB_WEB_H

#include <stddef.h>

/*
 * What the page needs and nothing more: its own scripts, styles and routes, and pictures from memory (the picture that
 * was chosen is shown from a blob: address). No inline script or style, no frame around it, no form that leaves it, and
 * no text that becomes HTML or code: innerHTML and its kind are refused by the browser.
 */
#define WEB_CSP \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; " \
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

struct web_file {
    const char *path;         /* as in the request: "/", "/js/main.js"; "/" is index.html */
    const char *content_type; /* with charset where it is text */
    const unsigned char *data;
    size_t len;
    const char *etag;         /* with its quotes */
};

/* Sorted by path, compared as bytes. */
extern const struct web_file web_files[];
extern const size_t web_file_count;

/* The file of a request path (without query, percent-decoded), or NULL: nothing but the table's own paths is found. */
const struct web_file *web_find(const char *path);

#endif
