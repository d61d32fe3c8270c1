#include "filter/leaf.h"

/*
 * A pattern is cut at each "%" into pieces of bytes and of "_". The first piece must be at the start and the
 * last at the end; those between are found one after the other, each as early as possible, which is enough.
 * "_" takes a byte that does not continue a UTF-8 character, and those that continue it.
 */

struct piece {
    const char *bytes;
    size_t len;
    bool plain; /* without "_" */
};

struct filter_pattern {
    struct piece *pieces;
    size_t count;
    char *bytes;  /* of all pieces, unescaped */
    bool *is_any; /* of each byte: it is a "_" */
};

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

enum result filter_pattern_new(struct filter_bytes text, struct filter_pattern **out)
{
    struct filter_pattern *p = calloc(1, sizeof *p);
    if (!p)
        return ERR_NO_MEMORY;
    size_t pieces = 1, used = 0;
    for (size_t i = 0; i < text.len; i++)
        pieces += text.data[i] == '%';
    p->pieces = calloc(pieces, sizeof *p->pieces);
    p->bytes = malloc(text.len + 1);
    p->is_any = calloc(text.len + 1, sizeof *p->is_any);
    if (!p->pieces || !p->bytes || !p->is_any) {
        filter_pattern_free(p);
        return ERR_NO_MEMORY;
    }
    struct piece *piece = p->pieces;
    *piece = (struct piece){.bytes = p->bytes, .plain = true};
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '%') {
            *++piece = (struct piece){.bytes = p->bytes + used, .plain = true};
            continue;
        }
        p->is_any[used] = c == '_';
        piece->plain = piece->plain && c != '_';
        if (c == '\\' && i + 1 < text.len)
            c = text.data[++i];
        p->bytes[used++] = c;
        piece->len++;
    }
    p->count = (size_t)(piece - p->pieces) + 1;
    *out = p;
    return ERR_OK;
}

void filter_pattern_free(struct filter_pattern *p)
{
    if (!p)
        return;
    free(p->pieces);
    free(p->bytes);
    free(p->is_any);
    free(p);
}

/* Behind the piece where it matches at `at`, or SIZE_MAX. */
static size_t match_at(
    const struct filter_pattern *p, const struct piece *piece, struct filter_bytes text, size_t at)
{
    if (piece->plain) {
        bool same = text.len - at >= piece->len && memcmp(text.data + at, piece->bytes, piece->len) == 0;
        return same ? at + piece->len : SIZE_MAX;
    }
    const bool *is_any = p->is_any + (piece->bytes - p->bytes);
    for (size_t i = 0; i < piece->len; i++) {
        if (at == text.len)
            return SIZE_MAX;
        char c = text.data[at++];
        if (!is_any[i]) {
            if (c != piece->bytes[i])
                return SIZE_MAX;
            continue;
        }
        if (is_continuation(c))
            return SIZE_MAX;
        while (at < text.len && is_continuation(text.data[at]))
            at++;
    }
    return at;
}

/* Behind the first match from `at` on, or SIZE_MAX. */
static size_t match_from(
    const struct filter_pattern *p, const struct piece *piece, struct filter_bytes text, size_t at)
{
    if (piece->plain) {
        const char *found = memmem(text.data + at, text.len - at, piece->bytes, piece->len);
        return found ? (size_t)(found - text.data) + piece->len : SIZE_MAX;
    }
    for (; at <= text.len; at++) {
        size_t end = match_at(p, piece, text, at);
        if (end != SIZE_MAX)
            return end;
    }
    return SIZE_MAX;
}

/* Where the last piece starts if it matches at the end, or SIZE_MAX: from the back, so that nothing is tried
 * twice. */
static size_t match_end(const struct filter_pattern *p, const struct piece *piece, struct filter_bytes text)
{
    size_t at = text.len;
    if (piece->plain) {
        bool same = at >= piece->len && memcmp(text.data + at - piece->len, piece->bytes, piece->len) == 0;
        return same ? at - piece->len : SIZE_MAX;
    }
    const bool *is_any = p->is_any + (piece->bytes - p->bytes);
    for (size_t i = piece->len; i-- > 0;) {
        if (at == 0)
            return SIZE_MAX;
        if (!is_any[i]) {
            if (text.data[--at] != piece->bytes[i])
                return SIZE_MAX;
            continue;
        }
        if (at < text.len && is_continuation(text.data[at]))
            return SIZE_MAX; /* the character would not end here */
        do {
            at--;
        } while (at > 0 && is_continuation(text.data[at]));
        if (is_continuation(text.data[at]))
            return SIZE_MAX;
    }
    return at;
}

bool filter_pattern_match(const struct filter_pattern *p, struct filter_bytes text)
{
    if (p->count == 1)
        return match_at(p, &p->pieces[0], text, 0) == text.len;
    size_t end =
        match_end(p, &p->pieces[p->count - 1], text); /* first, because it is cheap and often says no */
    size_t at = end == SIZE_MAX ? SIZE_MAX : match_at(p, &p->pieces[0], text, 0);
    for (size_t i = 1; at != SIZE_MAX && i + 1 < p->count; i++)
        at = match_from(p, &p->pieces[i], text, at);
    return at != SIZE_MAX && at <= end;
}

bool filter_pattern_exact(const struct filter_pattern *p, struct filter_bytes *out)
{
    if (p->count > 1 || !p->pieces[0].plain)
        return false;
    *out = (struct filter_bytes){p->pieces[0].bytes, p->pieces[0].len};
    return true;
}

bool filter_pattern_head(const struct filter_pattern *p, struct filter_pattern_head *out)
{
    const struct piece *first = &p->pieces[0];
    const bool *is_any = p->is_any + (first->bytes - p->bytes);
    size_t len = first->len < 8 ? first->len : 8;
    bool zero = false;
    *out = (struct filter_pattern_head){0};
    for (size_t i = 0; i < len; i++) {
        unsigned shift = 56 - 8 * (unsigned)i;
        if (is_any[i]) {
            out->wide |= (uint64_t)0x80 << shift; /* which would shift what is behind it */
        } else {
            out->bytes |= (uint64_t)(unsigned char)first->bytes[i] << shift;
            out->mask |= (uint64_t)0xff << shift;
            zero = zero || first->bytes[i] == '\0'; /* which may be the end */
        }
    }
    out->sure = first->plain && first->len <= 8 && !zero && p->count == 2 && p->pieces[1].len == 0;
    return out->mask != 0;
}

bool filter_pattern_tail(const struct filter_pattern *p, struct filter_bytes *out)
{
    const struct piece *last = &p->pieces[p->count - 1];
    *out = (struct filter_bytes){last->bytes, last->len};
    return p->count == 2 && p->pieces[0].len == 0 && last->plain && last->len > 0;
}

size_t filter_pattern_pieces(const struct filter_pattern *p, struct filter_piece *out, size_t most)
{
    if (p->count > most)
        return 0;
    for (size_t i = 0; i < p->count; i++)
        out[i] = (struct filter_piece){
            p->pieces[i].bytes, p->is_any + (p->pieces[i].bytes - p->bytes), p->pieces[i].len};
    return p->count;
}

bool filter_pattern_holds(const struct filter_pattern *p, struct filter_bytes *out)
{
    *out = (struct filter_bytes){0};
    for (size_t n = 0; n < p->count; n++) {
        const struct piece *piece = &p->pieces[n];
        const bool *is_any = p->is_any + (piece->bytes - p->bytes);
        for (size_t i = 0, start = 0; i <= piece->len; i++) {
            if (i < piece->len && !is_any[i])
                continue;
            if (i - start > out->len)
                *out = (struct filter_bytes){piece->bytes + start, i - start};
            start = i + 1;
        }
    }
    return out->len > 0;
}
