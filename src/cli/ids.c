#include "cli/ids.h"

#include "base/parse.h"

#include <xxhash.h>

int64_t cli_id_hash(const char *text, size_t len)
{
    int64_t id = (int64_t)(XXH3_64bits(text, len) & (uint64_t)CLI_ID_MAX);
    return id ? id : 1;
}

int64_t cli_id_of_name(const char *text, size_t len)
{
    uint64_t v;
    if (parse_u64(text, len, INT64_MAX, &v))
        return (int64_t)v;
    return cli_id_hash(text, len);
}

enum result cli_item_from_parse(const char *text, enum cli_item_from *out, struct err *err)
{
    static const char *const names[] = {"none", "folder", "name"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum cli_item_from)i;
            return ERR_OK;
        }
    }
    return err_set(err, ERR_INVALID, "--item-from: \"%.100s\" is none of folder, name and none", text);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Length of `stem` without its count of pictures; the whole where nothing would remain. */
static size_t without_count(const char *stem, size_t len)
{
    size_t n = len;
    bool bracket = n > 0 && stem[n - 1] == ')';
    n -= bracket;
    size_t digits_end = n;
    while (n > 0 && is_digit(stem[n - 1]))
        n--;
    size_t digits = digits_end - n;
    if (digits < 1 || digits > 3 || n == 0)
        return len;
    char before = stem[n - 1];
    if (bracket ? before != '(' : before != '-' && before != '_')
        return len;
    n--;
    while (bracket && n > 0 && stem[n - 1] == ' ')
        n--;
    return n ? n : len;
}

int64_t cli_item_of_path(enum cli_item_from from, const char *root, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (from == CLI_ITEM_FOLDER) {
        if (!slash)
            return cli_id_of_name(root, strlen(root));
        const char *start = slash;
        while (start > path && start[-1] != '/')
            start--;
        return cli_id_of_name(start, (size_t)(slash - start));
    }
    const char *dot = strrchr(name, '.');
    size_t stem = dot && dot > name ? (size_t)(dot - name) : strlen(name);
    return cli_id_of_name(name, without_count(name, stem));
}

/* --- numbers in use ------------------------------------------------------------------------------------- */

struct slot {
    int64_t id;
    uint64_t owner;
    bool used, taken; /* taken: in this run */
};

struct cli_idmap {
    struct slot *slots; /* open addressing, at most half full */
    size_t size, count; /* size is a power of two */
};

enum result cli_idmap_new(struct cli_idmap **out, struct err *err)
{
    struct cli_idmap *map = calloc(1, sizeof *map);
    if (map) {
        map->size = 1024;
        map->slots = calloc(map->size, sizeof *map->slots);
    }
    if (!map || !map->slots) {
        free(map);
        return err_no_memory(err);
    }
    *out = map;
    return ERR_OK;
}

void cli_idmap_free(struct cli_idmap *map)
{
    if (!map)
        return;
    free(map->slots);
    free(map);
}

/* The slot of `id`, or the free one where it belongs. */
static struct slot *find_slot(struct slot *slots, size_t size, int64_t id)
{
    size_t at = (size_t)XXH3_64bits(&id, sizeof id) & (size - 1);
    while (slots[at].used && slots[at].id != id)
        at = (at + 1) & (size - 1);
    return &slots[at];
}

/* The slot of `id`, made where it is not there; NULL without memory. */
static struct slot *get_slot(struct cli_idmap *map, int64_t id, bool *made)
{
    struct slot *slot = find_slot(map->slots, map->size, id);
    *made = !slot->used;
    if (slot->used)
        return slot;
    if (map->count + 1 > map->size / 2) {
        size_t size = map->size * 2;
        struct slot *slots = calloc(size, sizeof *slots);
        if (!slots)
            return NULL;
        for (size_t i = 0; i < map->size; i++)
            if (map->slots[i].used)
                *find_slot(slots, size, map->slots[i].id) = map->slots[i];
        free(map->slots);
        map->slots = slots;
        map->size = size;
        slot = find_slot(slots, size, id);
    }
    map->count++;
    *slot = (struct slot){.id = id, .used = true};
    return slot;
}

bool cli_idmap_has(const struct cli_idmap *map, int64_t id)
{
    return find_slot(map->slots, map->size, id)->used;
}

enum result cli_idmap_reserve(struct cli_idmap *map, int64_t id, uint64_t owner, struct err *err)
{
    bool made;
    struct slot *slot = get_slot(map, id, &made);
    if (!slot)
        return err_no_memory(err);
    if (made)
        slot->owner = owner;
    return ERR_OK;
}

enum result cli_idmap_take(struct cli_idmap *map, int64_t id, uint64_t owner, struct err *err)
{
    bool made;
    struct slot *slot = get_slot(map, id, &made);
    if (!slot)
        return err_no_memory(err);
    if (slot->taken)
        return err_set(err, ERR_EXISTS, "another record of this import has the same fileid");
    slot->owner = owner;
    slot->taken = true;
    return ERR_OK;
}

enum result cli_idmap_take_near(
    struct cli_idmap *map, int64_t wanted, uint64_t owner, int64_t *out, struct err *err)
{
    bool made;
    for (int64_t id = wanted;; id = id == CLI_ID_MAX ? 1 : id + 1) {
        struct slot *slot = get_slot(map, id, &made);
        if (!slot)
            return err_no_memory(err);
        if (made || (slot->owner == owner && !slot->taken)) {
            slot->owner = owner;
            slot->taken = true;
            *out = id;
            return ERR_OK;
        }
        if (slot->owner == owner)
            return err_set(err, ERR_EXISTS, "it stands twice in this source; give each a fileid");
    }
}
