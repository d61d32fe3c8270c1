/*
 * Milvus changed its error codes in 2.3, and kept the old ones beside the new for a while; a release may send
 * either. What is told apart is what a caller can do something about: wait, load, look at the name. Everything else
 * is ERR_INVALID with Milvus's own words.
 */
#include "store/milvus/status.h"

#include "base/parse.h"
#include "store/milvus/channel.h"

#include <string.h>

/* grpc/status.h has these; numbers, so that this file needs no gRPC and can be tested alone. */
enum { DEADLINE_EXCEEDED = 4, PERMISSION_DENIED = 7, RESOURCE_EXHAUSTED = 8, UNIMPLEMENTED = 12, UNAVAILABLE = 14, UNAUTHENTICATED = 16 };

const Mv__Status *milvus_status_of(const ProtobufCMessage *reply)
{
    if (reply->descriptor == &mv__status__descriptor)
        return (const Mv__Status *)(const void *)reply;
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(reply->descriptor, 1);
    if (!field || field->type != PROTOBUF_C_TYPE_MESSAGE || field->descriptor != &mv__status__descriptor)
        return NULL;
    return *(Mv__Status *const *)(const void *)((const char *)reply + field->offset);
}

/* Codes of 2.3 and later, then those before it. */
static enum result result_of(const Mv__Status *s)
{
    switch (s->code) {
    case 1: case 2: /* not ready, unavailable */
        return ERR_UNAVAILABLE;
    case 3: case 4: case 8: case 9: /* memory, requests, rate, quota */
        return ERR_BUSY;
    case 400: case 401: case 500: case 501: case 503: case 901: case 902: case 903: case 904: case 905:
        return ERR_UNAVAILABLE; /* replicas, channels, nodes that are not there: while it starts, or after a pause */
    case MILVUS_CODE_NO_COLLECTION:
        return ERR_NOT_FOUND;
    default:
        break;
    }
    switch (s->error_code) {
    case 4: case 28: /* CollectionNotExists, CollectionNameNotFound */
        return ERR_NOT_FOUND;
    case 45: case 46: case 50: case 56: case 57: /* no leader, no replica, another node, not ready */
        return ERR_UNAVAILABLE;
    case 48: case 49: case 52: case 53: case 54: case 55: /* quotas */
        return ERR_BUSY;
    default:
        return s->retriable ? ERR_BUSY : ERR_INVALID;
    }
}

void milvus_clean_text(char *text)
{
    if (parse_is_utf8(text, strlen(text)))
        return;
    for (char *p = text; *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
}

static int one_line(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; text[n] && n + 1 < size; n++)
        out[n] = (char)((unsigned char)text[n] < ' ' ? ' ' : text[n]);
    while (n && ((unsigned char)out[n - 1] == ' ' || (text[n] && ((unsigned char)text[n] & 0xc0) == 0x80)))
        n--; /* no blank at the end, and no half of a character */
    out[n] = '\0';
    milvus_clean_text(out);
    return (int)n;
}

enum result milvus_status_error(const Mv__Status *s, int *code, struct err *err)
{
    char reason[400];
    if (!s || (s->error_code == 0 && s->code == 0))
        return ERR_OK;
    enum result r = result_of(s);
    *code = s->code ? s->code : r == ERR_NOT_FOUND ? MILVUS_CODE_NO_COLLECTION : s->error_code == 25 ? MILVUS_CODE_NO_INDEX : -1;
    one_line(reason, sizeof reason, s->reason && *s->reason ? s->reason : "no reason given");
    if (r == ERR_UNAVAILABLE)
        return err_set(err, r, "Milvus is not ready: %s", reason);
    if (r == ERR_BUSY)
        return err_set(err, r, "Milvus takes no more for now: %s", reason);
    return err_set(err, r, "Milvus refuses: %s", reason);
}

enum result milvus_grpc_error(int status, const char *details, const char *name, struct err *err)
{
    char text[200];
    one_line(text, sizeof text, details && *details ? details : "no reason given");
    switch (status) {
    case UNAVAILABLE:
        if (strcasestr(text, "certificate verify failed") || strcasestr(text, "certificate_verify_failed") || strcasestr(text, "hostname verification") ||
            strcasestr(text, "peer name"))
            return err_set(err, ERR_UNAVAILABLE,
                "Milvus on %.100s shows a certificate that cannot be believed: --milvus-ca FILE names its authority, and the host must "
                "be one that the certificate names (%s)",
                name, text);
        if (strstr(text, "WRONG_VERSION_NUMBER"))
            return err_set(err, ERR_UNAVAILABLE, "what listens on %.100s speaks no TLS: write http:// in --milvus-uri (%s)", name, text);
        return err_set(err, ERR_UNAVAILABLE,
            "Milvus does not answer on %.100s (%s): is it running there? The address is set by --milvus-uri (https:// where it wants TLS), or MILVUS_HOST and MILVUS_PORT",
            name, text);
    case DEADLINE_EXCEEDED:
        return err_set(err, ERR_UNAVAILABLE,
            "Milvus on %.100s did not answer in time: it is overloaded or stopped, or this is not its address (--milvus-uri, or MILVUS_HOST and MILVUS_PORT)",
            name);
    case UNAUTHENTICATED:
    case PERMISSION_DENIED:
        return err_set(err, ERR_UNAVAILABLE,
            "Milvus on %.100s refuses the user, password or API key (%s): set --milvus-user and --milvus-password, or --milvus-token",
            name, text);
    case RESOURCE_EXHAUSTED:
        return strstr(text, "larger than max") ? err_set(err, ERR_TOO_LARGE, "a message to or from Milvus is too large: %s", text)
                                               : err_set(err, ERR_BUSY, "Milvus takes no more for now: %s", text);
    case UNIMPLEMENTED:
        return err_set(err, ERR_UNSUPPORTED, "what listens on %.100s does not have this call of Milvus: %s", name, text);
    default:
        return err_set(err, ERR_UNAVAILABLE, "the call to Milvus on %.100s failed (gRPC %d: %s)", name, status, text);
    }
}
