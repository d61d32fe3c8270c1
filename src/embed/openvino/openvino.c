/*
 * Inference with OpenVINO's C API.
 *
 * On a CPU a picture costs the same work alone or in a batch; what costs is dividing one picture among
 * threads. So the model is compiled in three ways:
 *
 *   lone    batch 1, one stream with all the threads: a picture while nothing else runs, soonest answer
 *   single  batch 1, as many streams as can be: several calls at once, most pictures a second, since no
 *           thread waits for another
 *   full    the same streams with a batch
 *
 * A call takes `lone` when it is a single picture and no other call runs; otherwise one of the slots, each of
 * which has a request of `single` and one of `full`, and takes its pictures in fulls and singles, whichever
 * costs less a picture. That depends on the CPU (caches, AMX) and on what else runs: on two cores of an AMD Zen 4
 * four singles took 13.3 ms of CPU a picture and a full 16.2. So both are timed as they run, and the slower one is
 * tried again now and then.
 *
 * Memory is the work space of a picture, some 10 MB, times the pictures that `single` and `full` have room
 * for. So streams × batch is IN_FLIGHT at most: 2 × 4 on two CPUs, 8 × 1 (and no `full`) on eight, with
 * several threads each on more. A model of which the file fixes the batch at one has no `full` either.
 *
 * Rejected: a dynamic batch, which was 2 to 7 % slower and pays for each new batch size with a pause at its
 * first use; one stream with all threads for everything, which took 7.2 ms a picture instead of 6.3 when
 * several calls came at once; a cache_dir, which saves a tenth of a second of the start and can be stale or
 * not writable.
 *
 * Threads: `mutex` guards `busy`, `free_slots` and `pace`; a slot or `lone` belongs to the call that took it. embed.c
 * lets at most `parallel` calls in, so a slot is always free.
 */
#include "embed/openvino/load.h"

#include "base/clock.h"
#include "embed/pool.h"

#include <pthread.h>

#define IN_FLIGHT 8u     /* pictures in all streams of a CPU */
#define BATCH_CPU 4u     /* 8 took 7.4 ms a picture instead of 6.4 */
#define BATCH_DEVICE 16u /* where the work is done elsewhere, on a GPU */
#define STREAMS_DEVICE 2u
#define STREAMS_MAX IN_FLIGHT
#define PACE_SMOOTH 8     /* a new time counts an eighth */
#define PACE_TRY_AGAIN 64 /* groups after which the slower way is tried once */

/* One compiled model's request with its input and output memory, which belong to it. */
struct request {
    ov_infer_request_t *request;
    ov_tensor_t *input, *output;
    uint8_t *pixels;
    const float *rows;
    unsigned batch;
};

struct slot {
    struct request single, full; /* `full.request` is NULL where there is none */
};

struct openvino {
    struct openvino_model model;
    ov_compiled_model_t *lone, *single, *full;
    struct request lone_request; /* `.request` is NULL where `single` is as fast: on one thread */
    struct slot slots[STREAMS_MAX];
    unsigned slot_count;
    size_t picture_bytes, area; /* area: vectors of a picture that pooling makes one of; 1 without */
    uint32_t dimension; /* manifest_descriptor() */
    pthread_mutex_t mutex;
    unsigned busy; /* calls that run */
    struct slot *free_slots[STREAMS_MAX];
    unsigned free_count;
    struct pace {
        int64_t single_us, full_us; /* a picture, smoothed; 0: not known yet */
        unsigned chosen;
    } pace; /* guarded by `mutex` */
};

static void request_free(struct request *r)
{
    ov_tensor_free(r->input);
    ov_tensor_free(r->output);
    ov_infer_request_free(r->request);
}

/* The output must be [batch, dimension, …] with nothing, or the area to be averaged, behind it. */
static enum result check_output(struct openvino *o, const struct request *r, struct err *err)
{
    const struct manifest *f = o->model.manifest;
    ov_shape_t shape = {0};
    size_t numbers = 0;
    enum result result = openvino_check(ov_tensor_get_shape(r->output, &shape), "inspect", f->file, err);
    if (result == ERR_OK)
        result = openvino_check(ov_tensor_get_size(r->output, &numbers), "inspect", f->file, err);
    if (result)
        return result;
    bool mean = f->pooling == MANIFEST_POOLING_MEAN, first = f->pooling == MANIFEST_POOLING_FIRST;
    bool good = shape.rank >= 2 && shape.dims[0] == r->batch && numbers > 0;
    if (good && mean)
        good = shape.rank == 4 && shape.dims[1] == (int64_t)f->dimension;
    else if (good && first)
        good = shape.rank == 3 && shape.dims[2] == (int64_t)f->dimension;
    else if (good)
        good = numbers == (size_t)r->batch * o->dimension;
    if (good)
        o->area = numbers / r->batch / o->dimension;
    else
        result = err_set_field(err, ERR_INVALID, "output.dimension",
            "The output %s of %s gives %zu numbers for %u pictures, which is not what its manifest says: %u "
            "each%s.",
            manifest_output(f), f->file, numbers, r->batch, o->dimension,
            mean    ? ", to be averaged"
            : first ? ", the first of several"
                    : "");
    ov_shape_free(&shape);
    return result;
}

static enum result request_make(struct openvino *o, const ov_compiled_model_t *compiled, unsigned batch,
    struct request *r, struct err *err)
{
    const struct manifest *f = o->model.manifest;
    size_t bytes = 0;
    void *pixels = NULL, *rows = NULL;
    r->batch = batch;
    ov_status_e status = ov_compiled_model_create_infer_request(compiled, &r->request);
    if (status == OK)
        status = ov_infer_request_get_input_tensor(r->request, &r->input);
    if (status == OK)
        status = ov_tensor_data(r->input, &pixels);
    if (status == OK)
        status = ov_tensor_get_byte_size(r->input, &bytes);
    if (status == OK)
        status = ov_infer_request_get_tensor(r->request, manifest_output(f), &r->output);
    if (status == OK)
        status = ov_tensor_data(r->output, &rows);
    enum result result = openvino_check(status, "prepare to run", f->file, err);
    if (result == ERR_OK)
        result = check_output(o, r, err);
    if (result == ERR_OK && bytes != batch * o->picture_bytes)
        result = err_set(
            err, ERR_INTERNAL, "The model %s takes %zu bytes, not what was asked for.", f->file, bytes);
    r->pixels = pixels;
    r->rows = rows;
    return result;
}

/* The first inference of a request allocates; better now than in the first search. */
static enum result warm_up(struct openvino *o, struct request *r, struct err *err)
{
    if (!r->request)
        return ERR_OK;
    memset(r->pixels, 0, r->batch * o->picture_bytes);
    return openvino_check(ov_infer_request_infer(r->request), "run the model", o->model.manifest->file, err);
}

static enum result make_lone(struct openvino *o, struct err *err)
{
    struct openvino_plan plan = {.batch = 1, .streams = 1};
    enum result result = openvino_compile(&o->model, &plan, &o->lone, err);
    if (result == ERR_OK)
        result = request_make(o, o->lone, 1, &o->lone_request, err);
    if (result == ERR_OK)
        result = warm_up(o, &o->lone_request, err);
    return result;
}

static enum result make_slot(struct openvino *o, unsigned batch, struct slot *slot, struct err *err)
{
    enum result result = request_make(o, o->single, 1, &slot->single, err);
    if (result == ERR_OK && o->full)
        result = request_make(o, o->full, batch, &slot->full, err);
    if (result == ERR_OK)
        result = warm_up(o, &slot->single, err);
    if (result == ERR_OK)
        result = warm_up(o, &slot->full, err);
    return result;
}

static enum result make_slots(struct openvino *o, unsigned batch, struct err *err)
{
    struct openvino_plan plan = {.batch = 1, .streams = o->slot_count};
    enum result result = openvino_compile(&o->model, &plan, &o->single, err);
    if (result == ERR_OK && batch > 1) {
        plan.batch = batch;
        result = openvino_compile(&o->model, &plan, &o->full, err);
    }
    for (unsigned i = 0; result == ERR_OK && i < o->slot_count; i++) {
        result = make_slot(o, batch, &o->slots[i], err);
        o->free_slots[o->free_count++] = &o->slots[i];
    }
    return result;
}

static void describe(const struct openvino *o, struct embed_info *info)
{
    ov_version_t version = {0};
    char *precision = NULL;
    snprintf(info->engine_version, sizeof info->engine_version, "unknown");
    if (ov_get_openvino_version(&version) == OK) {
        snprintf(info->engine_version, sizeof info->engine_version, "%s", version.buildNumber);
        ov_version_free(&version);
    }
    snprintf(info->device, sizeof info->device, "%s", o->model.device);
    snprintf(info->precision, sizeof info->precision, "%s", o->model.hint);
    const char *key = ov_property_key_hint_inference_precision;
    if (ov_compiled_model_get_property(o->single, key, &precision) == OK) {
        snprintf(info->precision, sizeof info->precision, "%s", precision);
        ov_free(precision);
    }
    info->threads = o->model.threads;
    info->max_batch = o->full ? o->slots[0].full.batch : 1;
    info->parallel = o->slot_count;
}

static void openvino_close(void *state)
{
    struct openvino *o = state;
    request_free(&o->lone_request);
    for (unsigned i = 0; i < o->slot_count; i++) {
        request_free(&o->slots[i].single);
        request_free(&o->slots[i].full);
    }
    ov_compiled_model_free(o->lone);
    ov_compiled_model_free(o->single);
    ov_compiled_model_free(o->full);
    openvino_unload(&o->model);
    pthread_mutex_destroy(&o->mutex);
    free(o);
}

static enum result openvino_open(
    const struct embed_options *options, struct embed_info *info, void **state, struct err *err)
{
    const struct manifest *f = &info->manifest;
    struct openvino *o = calloc(1, sizeof *o);
    if (!o)
        return err_no_memory(err);
    if (pthread_mutex_init(&o->mutex, NULL) != 0) {
        free(o);
        return err_no_memory(err);
    }
    o->dimension = manifest_descriptor(f);
    o->picture_bytes = (size_t)f->width * f->height * 3; /* both at most LIMIT_MODEL_SIDE */
    enum result result = openvino_load(options, f, &o->model, err);
    if (result)
        goto out;
    bool cpu = strcmp(o->model.device, "CPU") == 0;
    o->slot_count = !cpu ? STREAMS_DEVICE : o->model.threads < STREAMS_MAX ? o->model.threads : STREAMS_MAX;
    unsigned batch = cpu ? IN_FLIGHT / o->slot_count : BATCH_DEVICE;
    if (cpu && batch > BATCH_CPU)
        batch = BATCH_CPU;
    if (o->model.fixed_batch)
        batch = 1;
    if (o->slot_count > 1)
        result = make_lone(o, err);
    if (result == ERR_OK)
        result = make_slots(o, batch, err);
out:
    if (result) {
        openvino_close(o);
        return result;
    }
    describe(o, info);
    *state = o;
    return ERR_OK;
}

/* One inference of the first r->batch of `pixels`. */
static enum result infer(
    const struct openvino *o, struct request *r, const uint8_t *const *pixels, float *out, struct err *err)
{
    for (unsigned i = 0; i < r->batch; i++)
        memcpy(r->pixels + i * o->picture_bytes, pixels[i], o->picture_bytes);
    ov_status_e status = ov_infer_request_infer(r->request);
    if (status != OK)
        return err_set(err, ERR_INTERNAL, "OpenVINO could not run the model %s: %s", o->model.manifest->name,
            ov_get_error_info(status));
    for (unsigned i = 0; i < r->batch; i++) {
        size_t row = (size_t)i * o->dimension;
        embed_pool(o->model.manifest->pooling, r->rows + row * o->area, o->area, o->dimension, out + row);
    }
    return ERR_OK;
}

/* The slot to run in, or NULL: this call runs alone and takes `lone`. */
static struct slot *take(struct openvino *o, size_t n)
{
    struct slot *slot = NULL;
    pthread_mutex_lock(&o->mutex);
    bool alone = n == 1 && o->busy == 0 && o->lone_request.request;
    o->busy++;
    if (!alone)
        slot = o->free_slots[--o->free_count];
    pthread_mutex_unlock(&o->mutex);
    return slot;
}

static void give_back(struct openvino *o, struct slot *slot)
{
    pthread_mutex_lock(&o->mutex);
    o->busy--;
    if (slot)
        o->free_slots[o->free_count++] = slot;
    pthread_mutex_unlock(&o->mutex);
}

/* Whether the next pictures of a call go through `full`. */
static bool choose_full(struct openvino *o)
{
    pthread_mutex_lock(&o->mutex);
    struct pace *p = &o->pace;
    bool full = p->full_us < p->single_us;
    if (p->full_us == 0)
        full = true;
    else if (p->single_us == 0)
        full = false;
    else if (++p->chosen % PACE_TRY_AGAIN == 0)
        full = !full;
    pthread_mutex_unlock(&o->mutex);
    return full;
}

/* `took` for `pictures`, `full` or one by one. */
static void note_pace(struct openvino *o, bool full, unsigned pictures, int64_t took)
{
    int64_t each = took / pictures;
    pthread_mutex_lock(&o->mutex);
    int64_t *known = full ? &o->pace.full_us : &o->pace.single_us;
    *known = *known ? *known + (each - *known) / PACE_SMOOTH : each;
    pthread_mutex_unlock(&o->mutex);
}

/* As many pictures as `full` takes, in the way that costs less. */
static enum result infer_group(
    struct openvino *o, struct slot *slot, const uint8_t *const *pixels, float *out, struct err *err)
{
    unsigned group = slot->full.batch;
    bool full = choose_full(o);
    int64_t start = clock_now_us();
    enum result result = ERR_OK;
    if (full)
        result = infer(o, &slot->full, pixels, out, err);
    for (unsigned i = 0; !full && result == ERR_OK && i < group; i++)
        result = infer(o, &slot->single, pixels + i, out + (size_t)i * o->dimension, err);
    if (result == ERR_OK)
        note_pace(o, full, group, clock_now_us() - start);
    return result;
}

static enum result openvino_run(
    void *state, const uint8_t *const *pixels, size_t n, float *out, struct err *err)
{
    struct openvino *o = state;
    struct slot *slot = take(o, n);
    enum result result = ERR_OK;
    for (size_t done = 0; result == ERR_OK && done < n;) {
        size_t step = 1;
        float *rows = out + done * o->dimension;
        if (slot && slot->full.request && n - done >= slot->full.batch) {
            step = slot->full.batch;
            result = infer_group(o, slot, pixels + done, rows, err);
        } else {
            result = infer(o, slot ? &slot->single : &o->lone_request, pixels + done, rows, err);
        }
        done += step;
    }
    give_back(o, slot);
    return result;
}

const struct embed_backend embed_backend_openvino = {
    .name = "openvino",
    .open = openvino_open,
    .run = openvino_run,
    .close = openvino_close,
    .inspect = openvino_inspect,
};
