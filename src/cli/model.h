/* Inside cli/: what the verbs of `lookalike model` share. */
#ifndef CLI_MODEL_H
#define CLI_MODEL_H

#include "cli/cli.h"
#include "embed/embed.h"
#include "server/places.h"

struct cli_model {
    struct cli_args args;
    const char *verb, *name, *source; /* `source` of add: a file or a URL */
    const char *models, *preset, *manifest, *sha256, *licence, *side, *fetch_allow;
    const char *device, *engine, *threads, *precision, *seconds, *pictures;
    bool replace;
    struct config config;
    struct places places;
};

enum result cli_model_add(const struct cli_model *m, struct err *err) ERR_MUST_USE;
enum result cli_model_bench(const struct cli_model *m, struct err *err) ERR_MUST_USE;

/* Colours that are smooth and nowhere constant, different for each seed: pictures to try a model with. */
void cli_model_paint(uint8_t *pixels, uint32_t width, uint32_t height, unsigned seed);
void cli_model_print_json(const char *text);

#endif
