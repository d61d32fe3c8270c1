#include "server/places.h"

#include <sys/stat.h>
#include <unistd.h>

static bool has_manifest(const char *folder)
{
    char path[PATH_MAX * 2 + 16];
    struct stat st;
    snprintf(path, sizeof path, "%s/model.json", folder);
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Folder of the running program, without a slash at the end; false where the system does not say. */
static bool program_folder(char *out, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    if (n <= 0)
        return false;
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    if (!slash)
        return false;
    *slash = '\0';
    return true;
}

void places_find(const struct config *config, struct places *out)
{
    char program[PATH_MAX] = "";
    size_t n = 0;
    if (config->models)
        snprintf(out->folders[n++], sizeof out->folders[0], "%s", config->models);
    snprintf(out->folders[n++], sizeof out->folders[0], "%s/models", config->data);
    if (program_folder(program, sizeof program)) {
        snprintf(out->folders[n++], sizeof out->folders[0], "%s/models", program);
        snprintf(out->folders[n++], sizeof out->folders[0], "%s/../models", program);
        snprintf(out->folders[n++], sizeof out->folders[0], "%s/../share/lookalike/models", program);
    }
    out->count = n;
    for (size_t i = 0; i < n; i++)
        out->list[i] = out->folders[i];
}

enum result places_model(
    const struct config *config, const struct places *places, const char *model, char *out, size_t size, struct err *err)
{
    if (strchr(model, '/')) {
        snprintf(out, size, "%s", model);
        return ERR_OK; /* embed_open() says what is wrong with it */
    }
    for (size_t i = 0; i < places->count; i++) {
        int n = snprintf(out, size, "%s/%s", places->list[i], model);
        if (n > 0 && (size_t)n < size && has_manifest(out))
            return ERR_OK;
    }
    return err_set(err, ERR_NOT_FOUND,
        "there is no model \"%.60s\" (a folder with model.json) in %.150s or beside the program; prepare it with "
        "`./scripts/run --setup-only`, add one with `lookalike model add`, or name its folder with --models DIR",
        model, places->list[0]);
}
