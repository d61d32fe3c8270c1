/* What a model file takes and gives, before anybody has written a manifest for it. */
#include "embed/openvino/load.h"

/* Releases the port. */
static bool describe_port(ov_output_const_port_t *port, struct embed_tensor *out)
{
    ov_partial_shape_t shape = {0};
    ov_element_type_e type = DYNAMIC;
    char *name = NULL;
    *out = (struct embed_tensor){0};
    bool good = ov_port_get_partial_shape(port, &shape) == OK && ov_port_get_element_type(port, &type) == OK;
    /* A tensor without a name cannot be asked for; it is left nameless. */
    if (good && ov_port_get_any_name(port, &name) == OK)
        snprintf(out->name, sizeof out->name, "%s", name);
    if (good && shape.rank.min == shape.rank.max && shape.rank.max > 0 && shape.rank.max <= EMBED_RANK_MAX)
        out->rank = (unsigned)shape.rank.max;
    for (unsigned i = 0; i < out->rank; i++)
        out->shape[i] = shape.dims[i].min == shape.dims[i].max ? shape.dims[i].max : -1;
    out->is_number = type == F32 || type == F16 || type == BF16 || type == F64;
    ov_free(name);
    ov_partial_shape_free(&shape);
    ov_output_const_port_free(port);
    return good;
}

static enum result describe_model(const ov_model_t *model, const char *file, struct embed_inspection *out, struct err *err)
{
    size_t inputs = 0, outputs = 0;
    ov_output_const_port_t *port = NULL;
    bool good = ov_model_inputs_size(model, &inputs) == OK && ov_model_outputs_size(model, &outputs) == OK;
    for (size_t i = 0; good && i < inputs && i < EMBED_TENSORS_MAX; i++)
        good = ov_model_const_input_by_index(model, i, &port) == OK && describe_port(port, &out->inputs[out->input_count++]);
    for (size_t i = 0; good && i < outputs && i < EMBED_TENSORS_MAX; i++)
        good = ov_model_const_output_by_index(model, i, &port) == OK && describe_port(port, &out->outputs[out->output_count++]);
    return good ? ERR_OK : err_set(err, ERR_INVALID, "OpenVINO does not say what the model %s takes and gives.", file);
}

enum result openvino_inspect(const char *file, struct embed_inspection *out, struct err *err)
{
    ov_core_t *core = NULL;
    ov_model_t *model = NULL;
    struct embed_inspection made = {0};
    enum result result = openvino_check(ov_core_create(&core), "start", "at all", err);
    if (result == ERR_OK)
        result = openvino_check(ov_core_read_model(core, file, NULL, &model), "read the model", file, err);
    if (result == ERR_OK)
        result = describe_model(model, file, &made, err);
    ov_model_free(model);
    ov_core_free(core);
    if (result == ERR_OK)
        *out = made;
    return result;
}
