/*
 * Reading, checking and compiling a model.
 *
 * Scaling, layout and channel order are put in front of the model as part of it (OpenVINO's preprocessing),
 * so the bytes that the decoder made go in as they are and the conversion is fused into the first layers.
 *
 * Precision. The CPU plugin lists BF16 among its capabilities also where it would emulate it; what it would
 * choose itself is its default hint. So bf16 is taken where both say so, f32 otherwise.
 */
#include "embed/openvino/load.h"

#include "base/cpu.h"

enum result openvino_check(ov_status_e status, const char *what, const char *whom, struct err *err)
{
    if (status == OK)
        return ERR_OK;
    const char *last = ov_get_last_err_msg(); /* ours to release */
    const char *reason = last && *last ? last : ov_get_error_info(status);
    /* The text is an exception with source lines; what a person can use is in its last line. */
    size_t end = strlen(reason);
    while (end > 0 && (reason[end - 1] == '\n' || reason[end - 1] == ' '))
        end--;
    size_t begin = end;
    while (begin > 0 && reason[begin - 1] != '\n')
        begin--;
    int len = (int)(end - begin > 240 ? 240 : end - begin);
    enum result result =
        err_set(err, ERR_INVALID, "OpenVINO cannot %s %s: %.*s", what, whom, len, reason + begin);
    ov_free(last);
    return result;
}

/* "GPU" is there where "GPU.0" is. */
static enum result check_device(struct openvino_model *m, struct err *err)
{
    ov_available_devices_t list = {0};
    char all[128] = "";
    bool found = strncmp(m->device, "AUTO", 4) == 0;
    enum result result = openvino_check(
        ov_core_get_available_devices(m->core, &list), "list", "the devices of this machine", err);
    if (result)
        return result;
    for (size_t i = 0; i < list.size; i++) {
        size_t len = strlen(m->device), used = strlen(all);
        const char *name = list.devices[i];
        found = found || (strncmp(name, m->device, len) == 0 && (name[len] == 0 || name[len] == '.'));
        snprintf(all + used, sizeof all - used, "%s%s", used ? ", " : "", name);
    }
    ov_available_devices_free(&list);
    if (found)
        return ERR_OK;
    return err_set_field(err, ERR_UNSUPPORTED, "device",
        "There is no device %.32s on this machine; it has %s.", m->device,
        all[0] ? all : "none that OpenVINO knows");
}

static bool device_says(const struct openvino_model *m, const char *property, const char *word)
{
    char *value = NULL;
    if (ov_core_get_property(m->core, m->device, property, &value) != OK)
        return false;
    bool found = strcasestr(value, word) != NULL;
    ov_free(value);
    return found;
}

static enum result choose_precision(struct openvino_model *m, const char *wanted, struct err *err)
{
    if (strcmp(m->device, "CPU") != 0) {
        snprintf(m->hint, sizeof m->hint, "%s", wanted ? wanted : "");
        return ERR_OK;
    }
    bool able = device_says(m, ov_property_key_device_capabilities, "BF16");
    if (wanted && strcmp(wanted, "bf16") == 0 && !able)
        return err_set_field(err, ERR_UNSUPPORTED, "precision", "This CPU cannot compute in bf16; use f32.");
    bool native = able && device_says(m, ov_property_key_hint_inference_precision, "bf16");
    snprintf(m->hint, sizeof m->hint, "%s", wanted ? wanted : native ? "bf16" : "f32");
    return ERR_OK;
}

/* A dimension that may be unknown (-1) against what the manifest says. */
static bool fits(ov_dimension_t dimension, uint32_t wanted)
{
    return dimension.min <= (int64_t)wanted && (dimension.max == -1 || dimension.max >= (int64_t)wanted);
}

/* Which of the two layouts the input has; the error says what is wrong with it. */
static enum result check_shape(
    struct openvino_model *m, const ov_partial_shape_t *shape, const char **layout, struct err *err)
{
    const struct manifest *f = m->manifest;
    bool four = shape->rank.min == 4 && shape->rank.max == 4;
    const ov_dimension_t *d = shape->dims;
    if (four && fits(d[1], 3) && d[1].max == 3 && fits(d[2], f->height) && fits(d[3], f->width))
        *layout = "NCHW";
    else if (four && fits(d[3], 3) && d[3].max == 3 && fits(d[1], f->height) && fits(d[2], f->width))
        *layout = "NHWC";
    else if (!four || (d[1].max == -1 && d[3].max == -1))
        return err_set_field(err, ERR_INVALID, "input",
            "The input of the model %s has %s: export it with three channels that are fixed, [n, 3, %u, %u].", f->file,
            four || shape->rank.max == -1 ? "no fixed shape, every dimension is dynamic" : "not the four dimensions of pictures",
            f->height, f->width);
    else
        return err_set_field(err, ERR_INVALID, "input",
            "The model %s does not take pictures of %ux%u pixels in three channels, as its manifest says.",
            f->file, f->width, f->height);
    m->fixed_batch = d[0].max == 1;
    if (!fits(d[0], 1))
        return err_set_field(err, ERR_INVALID, "input",
            "The model %s takes %lld pictures at once and never one; export it with a free batch size.",
            f->file, (long long)d[0].min);
    return ERR_OK;
}

static enum result check_input(struct openvino_model *m, const char **layout, struct err *err)
{
    const struct manifest *f = m->manifest;
    ov_output_const_port_t *port = NULL;
    ov_partial_shape_t shape = {0};
    size_t inputs = 0;
    enum result result = openvino_check(ov_model_inputs_size(m->model, &inputs), "inspect", f->file, err);
    if (result)
        return result;
    if (inputs != 1 || ov_model_const_input_by_name(m->model, f->input_name, &port) != OK)
        return err_set_field(err, ERR_INVALID, "input.name",
            inputs == 1 ? "The model %s has no input named %s." : "The model %s has other inputs than %s.",
            f->file, f->input_name);
    result = openvino_check(ov_port_get_partial_shape(port, &shape), "inspect", f->file, err);
    if (result == ERR_OK)
        result = check_shape(m, &shape, layout, err);
    ov_partial_shape_free(&shape);
    ov_output_const_port_free(port);
    return result;
}

static enum result check_output(struct openvino_model *m, struct err *err)
{
    const struct manifest *f = m->manifest;
    ov_output_const_port_t *port = NULL;
    ov_element_type_e type = DYNAMIC;
    if (ov_model_const_output_by_name(m->model, manifest_output(f), &port) != OK)
        return err_set_field(
            err, ERR_INVALID, "output.name", "The model %s has no output named %s.", f->file, manifest_output(f));
    enum result result = openvino_check(ov_port_get_element_type(port, &type), "inspect", f->file, err);
    ov_output_const_port_free(port);
    if (result == ERR_OK && type != F32 && type != F16 && type != BF16 && type != F64)
        return err_set_field(err, ERR_INVALID, "output.name",
            "The output %s of the model %s is %s, not floating-point numbers: it is no vector of a picture.", manifest_output(f), f->file,
            type == STRING ? "text" : "something else");
    return result;
}

/* What preprocessing is made of; each is released whether or not the next could be had. */
struct preprocessing {
    ov_preprocess_prepostprocessor_t *all;
    ov_preprocess_input_info_t *input;
    ov_preprocess_input_tensor_info_t *tensor;
    ov_preprocess_input_model_info_t *network;
    ov_preprocess_preprocess_steps_t *steps;
    ov_preprocess_output_info_t *output;
    ov_preprocess_output_tensor_info_t *result;
    ov_layout_t *pixels, *wanted;
};

static bool preprocessing_get(struct preprocessing *p, const struct openvino_model *m, const char *layout)
{
    const char *out = manifest_output(m->manifest);
    return ov_preprocess_prepostprocessor_create(m->model, &p->all) == OK &&
           ov_preprocess_prepostprocessor_get_input_info(p->all, &p->input) == OK &&
           ov_preprocess_input_info_get_tensor_info(p->input, &p->tensor) == OK &&
           ov_preprocess_input_info_get_model_info(p->input, &p->network) == OK &&
           ov_preprocess_input_info_get_preprocess_steps(p->input, &p->steps) == OK &&
           ov_preprocess_prepostprocessor_get_output_info_by_name(p->all, out, &p->output) == OK &&
           ov_preprocess_output_info_get_tensor_info(p->output, &p->result) == OK &&
           ov_layout_create("NHWC", &p->pixels) == OK && ov_layout_create(layout, &p->wanted) == OK;
}

static bool preprocessing_set(struct preprocessing *p, const struct manifest *f)
{
    return ov_preprocess_input_tensor_info_set_element_type(p->tensor, U8) == OK &&
           ov_preprocess_input_tensor_info_set_layout(p->tensor, p->pixels) == OK &&
           ov_preprocess_input_model_info_set_layout(p->network, p->wanted) == OK &&
           ov_preprocess_preprocess_steps_convert_element_type(p->steps, F32) == OK &&
           (!f->bgr || ov_preprocess_preprocess_steps_reverse_channels(p->steps) == OK) &&
           ov_preprocess_preprocess_steps_mean_multi_channels(p->steps, f->mean, 3) == OK &&
           ov_preprocess_preprocess_steps_scale_multi_channels(p->steps, f->std, 3) == OK &&
           ov_preprocess_output_set_element_type(p->result, F32) == OK;
}

static void preprocessing_free(struct preprocessing *p)
{
    ov_layout_free(p->pixels);
    ov_layout_free(p->wanted);
    ov_preprocess_output_tensor_info_free(p->result);
    ov_preprocess_output_info_free(p->output);
    ov_preprocess_preprocess_steps_free(p->steps);
    ov_preprocess_input_model_info_free(p->network);
    ov_preprocess_input_tensor_info_free(p->tensor);
    ov_preprocess_input_info_free(p->input);
    ov_preprocess_prepostprocessor_free(p->all);
}

static enum result add_preprocessing(struct openvino_model *m, const char *layout, struct err *err)
{
    struct preprocessing p = {0};
    ov_model_t *with = NULL;
    bool built = preprocessing_get(&p, m, layout) && preprocessing_set(&p, m->manifest) &&
                 ov_preprocess_prepostprocessor_build(p.all, &with) == OK;
    enum result result =
        openvino_check(built ? OK : GENERAL_ERROR, "put the scaling in front of", m->manifest->file, err);
    preprocessing_free(&p);
    if (result)
        return result;
    ov_model_free(m->model);
    m->model = with;
    return ERR_OK;
}

enum result openvino_load(const struct embed_options *options, const struct manifest *manifest,
    struct openvino_model *out, struct err *err)
{
    const char *layout = NULL;
    out->manifest = manifest;
    out->device = options->device ? options->device : "CPU";
    out->threads = options->threads ? options->threads : cpu_count();
    enum result result = openvino_check(ov_core_create(&out->core), "start", "at all", err);
    if (result == ERR_OK)
        result = check_device(out, err);
    if (result == ERR_OK)
        result = choose_precision(out, options->precision, err);
    if (result == ERR_OK)
        result = openvino_check(ov_core_read_model(out->core, manifest->file, NULL, &out->model),
            "read the model", manifest->file, err);
    if (result == ERR_OK)
        result = check_input(out, &layout, err);
    if (result == ERR_OK)
        result = check_output(out, err);
    if (result == ERR_OK)
        result = add_preprocessing(out, layout, err);
    return result;
}

void openvino_unload(struct openvino_model *model)
{
    ov_model_free(model->model);
    ov_core_free(model->core);
    model->model = NULL;
    model->core = NULL;
}

static enum result reshape(struct openvino_model *m, unsigned batch, struct err *err)
{
    const struct manifest *f = m->manifest;
    ov_partial_shape_t shape = {0};
    int64_t dims[4] = {batch, f->height, f->width, 3};
    ov_status_e status = ov_partial_shape_create_static(4, dims, &shape);
    if (status == OK)
        status = ov_model_reshape_single_input(m->model, shape);
    ov_partial_shape_free(&shape);
    return openvino_check(status, "fit the batch size to", f->file, err);
}

enum result openvino_compile(
    struct openvino_model *m, const struct openvino_plan *plan, ov_compiled_model_t **out, struct err *err)
{
    char streams[16], threads[16];
    ov_property_t properties[4];
    size_t n = 0;
    enum result result = reshape(m, plan->batch, err);
    if (result)
        return result;
    if (strcmp(m->device, "CPU") == 0) {
        snprintf(streams, sizeof streams, "%u", plan->streams);
        snprintf(threads, sizeof threads, "%u", m->threads);
        properties[n++] = (ov_property_t){ov_property_key_num_streams, streams};
        properties[n++] = (ov_property_t){ov_property_key_inference_num_threads, threads};
        /* Decoding and storing share the CPUs; a thread bound to one would wait for it while another is idle.
         */
        properties[n++] = (ov_property_t){ov_property_key_hint_enable_cpu_pinning, "NO"};
    }
    if (m->hint[0])
        properties[n++] = (ov_property_t){ov_property_key_hint_inference_precision, m->hint};
    return openvino_check(ov_core_compile_model_props(m->core, m->model, m->device, n, properties, out),
        "compile the model", m->manifest->file, err);
}
