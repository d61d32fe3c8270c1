/*
 * The certificate. libmicrohttpd asks for it at every handshake, through a callback without an argument of ours; hence the
 * one global. A connection goes on using the certificate of its handshake, so one that was replaced stays until the
 * server stops: a few kilobytes each time somebody renews it.
 */
#include "http/internal.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

#define CHAIN_MAX 16

struct http_tls {
    struct http_tls *older;
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned count;
    gnutls_privkey_t key;
};

static _Atomic(struct http_tls *) current;

static void release(struct http_tls *tls)
{
    for (unsigned i = 0; i < tls->count; i++)
        gnutls_pcert_deinit(&tls->chain[i]);
    if (tls->key)
        gnutls_privkey_deinit(tls->key);
    free(tls);
}

/* Reads both, and finds out whether they belong together. */
static int check_pair(const char *cert, const char *key)
{
    gnutls_certificate_credentials_t both = NULL;
    int e = gnutls_certificate_allocate_credentials(&both);
    if (e < 0)
        return e;
    e = gnutls_certificate_set_x509_key_file(both, cert, key, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(both);
    return e < 0 ? e : 0;
}

static int load(struct http_tls *tls, const char *cert, const char *key)
{
    gnutls_datum_t text = {0};
    unsigned count = CHAIN_MAX;
    int e = check_pair(cert, key);
    if (e >= 0)
        e = gnutls_pcert_list_import_x509_file(tls->chain, &count, cert, GNUTLS_X509_FMT_PEM, NULL, NULL, 0);
    if (e < 0)
        return e;
    tls->count = count;
    e = gnutls_privkey_init(&tls->key);
    if (e >= 0)
        e = gnutls_load_file(key, &text);
    if (e >= 0)
        e = gnutls_privkey_import_x509_raw(tls->key, &text, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (text.data) {
        gnutls_memset(text.data, 0, text.size);
        gnutls_free(text.data);
    }
    return e < 0 ? e : 0;
}

enum result http_tls_load(const char *cert, const char *key, struct err *err)
{
    struct http_tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return err_no_memory(err);
    int e = load(tls, cert, key);
    if (e < 0) {
        release(tls);
        return err_set(err, ERR_INVALID, "The certificate %.150s with the key %.150s cannot be used: %s", cert, key, gnutls_strerror(e));
    }
    tls->older = atomic_load(&current);
    atomic_store(&current, tls);
    return ERR_OK;
}

void http_tls_free(void)
{
    for (struct http_tls *tls = atomic_exchange(&current, NULL), *older; tls; tls = older) {
        older = tls->older;
        release(tls);
    }
}

int http_tls_certificate(gnutls_session_t session, const gnutls_datum_t *names, int name_count,
    const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **chain, unsigned *count, gnutls_privkey_t *key)
{
    struct http_tls *tls = atomic_load(&current);
    if (!tls)
        return -1;
    *chain = tls->chain;
    *count = tls->count;
    *key = tls->key;
    return 0;
}

void http_tls_write(struct MHD_Connection *mhd, const char *data, size_t len)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (!info || !info->tls_session)
        return;
    gnutls_session_t session = info->tls_session;
    if (gnutls_record_send(session, data, len) > 0)
        gnutls_bye(session, GNUTLS_SHUT_WR);
}
