/*
 * Models are opened while requests wait for them, and opening takes seconds (a sum over the weights, three
 * compilations), so it happens outside the mutex: the entry is put into the table as OPENING, and who wants the same
 * model waits on the condition. A failure stays in the table for a while, with its sentence: a client that asks a
 * thousand times a second for a damaged model of 300 MB must not have its sum computed a thousand times.
 *
 * Nothing is ever closed before models_free(). Closing what is not used would need a count of users in every request, to
 * save memory that the next request may want back for seconds of work; LIMIT_MODELS bounds it instead.
 */
#include "pipeline/models.h"

#include "base/clock.h"
#include "base/limits.h"
#include "pipeline/batcher.h"

#include <dirent.h>
#include <stdbool.h>
#include <sys/stat.h>

enum entry_state { ENTRY_OPENING, ENTRY_OPEN, ENTRY_FAILED };

struct entry {
    char name[sizeof((struct manifest *)NULL)->name];
    enum entry_state state;
    struct model model;
    bool ours;            /* `model.embed` is closed by models_free() */
    int64_t retry_ms;     /* of FAILED */
    struct err err;       /* of FAILED */
};

struct models {
    struct embed_options open;
    char *folders[LIMIT_MODEL_FOLDERS];
    size_t folder_count;
    pthread_mutex_t mutex; /* guards what is below; an OPEN entry's model never changes */
    pthread_cond_t changed;
    struct entry entries[LIMIT_MODELS]; /* [0] is the default */
    size_t count;
};

/* --- finding -------------------------------------------------------------------------------------------------- */

/* A name becomes a part of a path. */
static bool is_plain_name(const char *name)
{
    return *name && *name != '.' && !strchr(name, '/');
}

static bool has_manifest(const char *folder)
{
    char path[1024];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/model.json", folder);
    return n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static enum result find_folder(const struct models *m, const char *name, char *out, size_t size, struct err *err)
{
    for (size_t i = 0; is_plain_name(name) && i < m->folder_count; i++) {
        int n = snprintf(out, size, "%s/%s", m->folders[i], name);
        if (n > 0 && (size_t)n < size && has_manifest(out))
            return ERR_OK;
    }
    return err_set_field(err, ERR_NOT_FOUND, "model",
        "there is no model \"%.60s\" here: %s%.150s has no folder of that name with a model.json. Put it there "
        "(`lookalike model add`), or start the server with --models DIR",
        name, m->folder_count ? "" : "no folder of models is known", m->folder_count ? m->folders[0] : "");
}

/* --- opening -------------------------------------------------------------------------------------------------- */

static enum result open_folder(const struct models *m, const char *name, struct model *out, struct err *err)
{
    char folder[1024];
    struct model model = {0};
    enum result r = find_folder(m, name, folder, sizeof folder, err);
    if (r)
        return r;
    struct embed_options options = m->open;
    options.folder = folder;
    r = embed_open(&options, &model.embed, err);
    if (r)
        return r;
    model.info = embed_describe(model.embed);
    if (strcmp(model.info->manifest.name, name) != 0)
        r = err_set_field(err, ERR_INVALID, "model",
            "the folder %.200s holds the model \"%.60s\": a folder has the name of its model; rename one of them", folder,
            model.info->manifest.name);
    if (r == ERR_OK)
        r = batcher_new(model.embed, &model.batcher, err);
    if (r) {
        embed_close(model.embed);
        return r;
    }
    *out = model;
    return ERR_OK;
}

/* Open it for everybody. The mutex is held before and after, not meanwhile. */
static enum result open_entry(struct models *m, struct entry *e, struct err *err)
{
    struct err why = {0};
    struct model model = {0};
    e->state = ENTRY_OPENING;
    pthread_mutex_unlock(&m->mutex);
    enum result r = open_folder(m, e->name, &model, &why);
    pthread_mutex_lock(&m->mutex);
    if (r) {
        e->state = ENTRY_FAILED;
        e->retry_ms = clock_now_ms() + MODELS_RETRY_MS;
        e->err = why;
        if (err)
            *err = why;
    } else {
        e->state = ENTRY_OPEN;
        e->model = model;
        e->ours = true;
    }
    pthread_cond_broadcast(&m->changed);
    return r;
}

static struct entry *find_entry(struct models *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->entries[i].name, name) == 0)
            return &m->entries[i];
    return NULL;
}

/* A place for a name that is not in the table: a new one, or one of a failure that is over. */
static struct entry *new_entry(struct models *m, const char *name)
{
    struct entry *e = m->count < LIMIT_MODELS ? &m->entries[m->count++] : NULL;
    for (size_t i = 1; !e && i < m->count; i++)
        if (m->entries[i].state == ENTRY_FAILED)
            e = &m->entries[i];
    if (e) {
        *e = (struct entry){0};
        snprintf(e->name, sizeof e->name, "%s", name);
    }
    return e;
}

/* The mutex is held. */
static enum result get(
    struct models *m, const char *name, int64_t deadline_ms, const struct model **out, struct err *err)
{
    struct entry *e;
    while ((e = find_entry(m, name)) && e->state == ENTRY_OPENING)
        if (!clock_wait(&m->changed, &m->mutex, deadline_ms))
            return err_set(err, ERR_TIMEOUT, "the model %.60s is being loaded; try again in a moment", name);
    if (e && e->state == ENTRY_FAILED && clock_now_ms() < e->retry_ms) {
        if (err)
            *err = e->err;
        return e->err.code;
    }
    if (!e)
        e = new_entry(m, name);
    if (!e)
        return err_set_field(err, ERR_TOO_LARGE, "model", "%d models are loaded, which is the most a server has", LIMIT_MODELS);
    enum result r = e->state == ENTRY_OPEN ? ERR_OK : open_entry(m, e, err);
    if (r == ERR_OK)
        *out = &e->model;
    return r;
}

enum result models_get(
    struct models *m, const char *name, int64_t deadline_ms, const struct model **out, struct err *err)
{
    char folder[1024];
    if (!name || !*name || strcmp(name, m->entries[0].name) == 0) {
        *out = &m->entries[0].model;
        return ERR_OK;
    }
    if (strlen(name) >= sizeof m->entries[0].name)
        return err_set_field(err, ERR_INVALID, "model", "a model's name has at most %zu bytes", sizeof m->entries[0].name - 1);
    pthread_mutex_lock(&m->mutex);
    bool known = find_entry(m, name) != NULL;
    pthread_mutex_unlock(&m->mutex);
    /* A name that is nowhere takes no place in the table. */
    enum result r = known ? ERR_OK : find_folder(m, name, folder, sizeof folder, err);
    if (r)
        return r;
    pthread_mutex_lock(&m->mutex);
    r = get(m, name, deadline_ms, out, err);
    pthread_mutex_unlock(&m->mutex);
    return r;
}

/* --- life cycle ----------------------------------------------------------------------------------------------- */

enum result models_new(const struct models_options *options, struct models **out, struct err *err)
{
    struct models *m = calloc(1, sizeof *m);
    if (!m)
        return err_no_memory(err);
    pthread_mutex_init(&m->mutex, NULL);
    if (clock_cond_init(&m->changed)) {
        pthread_mutex_destroy(&m->mutex);
        free(m);
        return err_no_memory(err);
    }
    m->open = options->open;
    struct entry *first = &m->entries[m->count++];
    first->model = (struct model){.info = embed_describe(options->embed), .embed = options->embed};
    first->state = ENTRY_OPEN;
    snprintf(first->name, sizeof first->name, "%s", first->model.info->manifest.name);
    enum result r = ERR_OK;
    if (first->model.info->manifest.kind != MANIFEST_EMBEDDING)
        r = err_set_field(err, ERR_INVALID, "model", "the model %.60s makes masks; one that makes vectors is needed", first->name);
    for (size_t i = 0; i < options->folder_count && i < LIMIT_MODEL_FOLDERS && r == ERR_OK; i++) {
        m->folders[i] = strdup(options->folders[i]);
        if (!m->folders[i])
            r = err_no_memory(err);
        m->folder_count += r == ERR_OK;
    }
    if (r == ERR_OK)
        r = batcher_new(options->embed, &first->model.batcher, err);
    if (r) {
        models_free(m);
        return r;
    }
    *out = m;
    return ERR_OK;
}

void models_free(struct models *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->count; i++) {
        batcher_free(m->entries[i].model.batcher);
        if (m->entries[i].ours)
            embed_close(m->entries[i].model.embed);
    }
    for (size_t i = 0; i < m->folder_count; i++)
        free(m->folders[i]);
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->mutex);
    free(m);
}

const struct model *models_default(const struct models *m)
{
    return &m->entries[0].model;
}

/* --- listing -------------------------------------------------------------------------------------------------- */

struct list {
    struct models_entry *items;
    size_t count;
};

static bool list_has(const struct list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].manifest.name, name) == 0)
            return true;
    return false;
}

/* What is known of the model in FOLDER/NAME. */
static void describe_entry(struct models *m, const char *folder, const char *name, struct models_entry *out)
{
    char path[1024];
    struct err err = {0};
    *out = (struct models_entry){0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    enum result r = manifest_read(path, &out->manifest, &err);
    if (r == ERR_OK && strcmp(out->manifest.name, name) != 0)
        r = err_set(&err, ERR_INVALID, "the folder %.200s holds the model \"%.60s\"; rename one of them", path, out->manifest.name);
    if (r)
        snprintf(out->problem, sizeof out->problem, "%s", err.message);
    snprintf(out->manifest.name, sizeof out->manifest.name, "%s", name);
    pthread_mutex_lock(&m->mutex);
    const struct entry *e = find_entry(m, name);
    if (e && e->state == ENTRY_OPEN)
        out->info = e->model.info;
    if (e && e->state == ENTRY_FAILED && r == ERR_OK)
        snprintf(out->problem, sizeof out->problem, "%s", e->err.message);
    pthread_mutex_unlock(&m->mutex);
}

static enum result list_folder(struct models *m, const char *folder, struct list *list, struct err *err)
{
    char path[1024];
    DIR *dir = opendir(folder);
    if (!dir)
        return ERR_OK; /* a place where models may be, not one where they must */
    enum result r = ERR_OK;
    for (struct dirent *e; r == ERR_OK && (e = readdir(dir)) != NULL;) {
        int n = snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        bool fits = n > 0 && (size_t)n < sizeof path && strlen(e->d_name) < sizeof m->entries[0].name;
        if (!fits || !is_plain_name(e->d_name) || !has_manifest(path) || list_has(list, e->d_name))
            continue;
        if (list->count == LIMIT_MODELS_LISTED)
            break;
        struct models_entry *more = realloc(list->items, (list->count + 1) * sizeof *more);
        if (!more) {
            r = err_no_memory(err);
            break;
        }
        list->items = more;
        describe_entry(m, folder, e->d_name, &more[list->count++]);
    }
    closedir(dir);
    return r;
}

static int by_name(const void *a, const void *b)
{
    const struct models_entry *x = a, *y = b;
    return strcmp(x->manifest.name, y->manifest.name);
}

enum result models_list(struct models *m, struct models_entry **out, size_t *count, struct err *err)
{
    struct list list = {.items = calloc(1, sizeof *list.items)};
    if (!list.items)
        return err_no_memory(err);
    const struct model *first = models_default(m);
    list.items[list.count++] = (struct models_entry){.manifest = first->info->manifest, .info = first->info, .is_default = true};
    enum result r = ERR_OK;
    for (size_t i = 0; i < m->folder_count && r == ERR_OK; i++)
        r = list_folder(m, m->folders[i], &list, err);
    if (r) {
        free(list.items);
        return r;
    }
    qsort(list.items + 1, list.count - 1, sizeof *list.items, by_name);
    *out = list.items;
    *count = list.count;
    return ERR_OK;
}
