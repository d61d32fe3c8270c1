/*
 * An engine for tests of what stands above the seam: the functions of embed/embed.h, linked instead of the real ones.
 * The vector has 4 dimensions: mean red, green, blue of the picture and a constant, of unit length. The real engine is
 * tested in tests/embed and from outside.
 */
#ifndef SUPPORT_FAKE_EMBED_H
#define SUPPORT_FAKE_EMBED_H

#include "embed/embed.h"

#include <stdatomic.h>

#define FAKE_SIDE 8
#define FAKE_DIMENSION 4

/* Set before threads start. */
struct fake_embed_plan {
    unsigned delay_ms, max_batch, parallel;
    unsigned inner;           /* floats of inner layers behind the vector */
    bool fail;                /* every run fails */
    const atomic_bool *hold;  /* runs wait while it is true; NULL: they do not */
};
/* What happened. */
struct fake_embed_log {
    atomic_uint runs, pictures, largest, running, most_running;
};

struct embed *fake_embed_new(const struct fake_embed_plan *plan);
struct fake_embed_log *fake_embed_log(struct embed *embed);

#endif
