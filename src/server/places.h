/*
 * Where models are: --models, DATA/models, and beside the program (models/, ../models/, ../share/lookalike/models/), in
 * this order. A model's name is looked for in all of them.
 */
#ifndef SERVER_PLACES_H
#define SERVER_PLACES_H

#include "base/err.h"
#include "server/config.h"

#include <limits.h>

struct places {
    char folders[5][PATH_MAX + 64];
    const char *list[5];
    size_t count;
};

void places_find(const struct config *config, struct places *out);
/* The folder of a model, "NAME" or "PATH/WITH/SLASH". ERR_NOT_FOUND says where it was looked for. */
enum result places_model(
    const struct config *config, const struct places *places, const char *model, char *out, size_t size, struct err *err) ERR_MUST_USE;

#endif
