/*
 * What the model and the gallery get of decoded pixels.
 *
 * Where both a model's input and a thumbnail are wanted, the usual case, the whole picture is scaled once for
 * the model, and the thumbnail is made of that if it is not larger: another pass over the decoded pixels
 * would cost more than the rest of the thumbnail. Long, narrow pictures are the exception: the whole picture
 * at the model's scale may be huge (1 × 10,000 scaled to 260 × 2,600,000), so only the window is computed,
 * and the thumbnail on its own.
 *
 * A profile is applied after scaling: fewer pixels, and the difference is below one level. Turning upright
 * comes last.
 */
#include "image/render.h"

#include "base/limits.h"
#include "image/jpeg_save.h"
#include "image/scale.h"

#define THUMBNAIL_QUALITY 80
/* The whole scaled picture is computed for the thumbnail where it is at most so many times what the model
 * gets. */
#define WHOLE_AREA_MAX 4

/* 8-bit RGB, rows without gaps, stored axes; owned by malloc(). */
struct picture {
    uint8_t *pixels;
    uint32_t width, height;
};

static size_t bytes_of(uint32_t width, uint32_t height)
{
    return (size_t)width * height * 3;
}

static VipsImage *wrap(const struct picture *picture)
{
    return vips_image_new_from_memory(picture->pixels, bytes_of(picture->width, picture->height),
        (int)picture->width, (int)picture->height, 3, VIPS_FORMAT_UCHAR);
}

/* From the source's profile to sRGB, in place. */
static enum result apply_profile(const struct image_source *source, struct picture *picture)
{
    uint8_t *pixels = NULL;
    if (!source->profile)
        return ERR_OK;
    VipsImage *image = wrap(picture);
    if (!image)
        return ERR_NO_MEMORY;
    image->Type = VIPS_INTERPRETATION_sRGB;
    vips_image_set_blob_copy(image, VIPS_META_ICC_NAME, source->profile, source->profile_len);
    image_apply_profile(&image);
    /* Only its colours may have changed: the caller counts on the size. */
    bool same = image->Bands == 3 && image->BandFmt == VIPS_FORMAT_UCHAR;
    enum result result = same ? image_evaluate(image, &pixels) : ERR_INTERNAL;
    g_object_unref(image);
    if (result)
        return result;
    free(picture->pixels);
    picture->pixels = pixels;
    return ERR_OK;
}

/* The wanted window of the source, scaled and in sRGB. */
static enum result scale_source(
    const struct image_source *source, struct image_scale *scale, struct picture *out)
{
    out->width = scale->width;
    out->height = scale->height;
    out->pixels = malloc(bytes_of(scale->width, scale->height));
    scale->from = source->pixels;
    scale->from_width = source->pixels_width;
    scale->from_height = source->pixels_height;
    scale->extent_x = source->extent_x;
    scale->extent_y = source->extent_y;
    enum result result = out->pixels ? image_scale(scale, out->pixels) : ERR_NO_MEMORY;
    return result ? result : apply_profile(source, out);
}

/*
 * Copy a window of `from` into `to`, turned upright by the EXIF orientation. A row of the result is a row or
 * column of the window, forwards or backwards: a start and two steps say which.
 */
static void place(
    const struct picture *from, const struct image_plan *plan, int orientation, uint8_t *to, size_t stride)
{
    static const struct {
        bool turned, back_x, back_y; /* which ends of the stored axes the result begins with */
    } ways[9] = {
        [2] = {false, true, false},
        [3] = {false, true, true},
        [4] = {false, false, true},
        [5] = {true, false, false},
        [6] = {true, false, true},
        [7] = {true, true, true},
        [8] = {true, true, false},
    };
    int way = orientation >= 1 && orientation <= 8 ? orientation : 1;
    ptrdiff_t step_x = 3, step_y = (ptrdiff_t)from->width * 3;
    const uint8_t *start = from->pixels + plan->left * step_x + plan->top * step_y;
    uint32_t width = plan->width, height = plan->height;
    if (ways[way].back_x) {
        start += (ptrdiff_t)(width - 1) * step_x;
        step_x = -step_x;
    }
    if (ways[way].back_y) {
        start += (ptrdiff_t)(height - 1) * step_y;
        step_y = -step_y;
    }
    ptrdiff_t along = ways[way].turned ? step_y : step_x, across = ways[way].turned ? step_x : step_y;
    uint32_t columns = ways[way].turned ? height : width, rows = ways[way].turned ? width : height;
    for (uint32_t y = 0; y < rows; y++, start += across) {
        const uint8_t *pixel = start;
        uint8_t *row = to + y * stride;
        if (along == 3) {
            memcpy(row, pixel, (size_t)columns * 3);
            continue;
        }
        for (uint32_t x = 0; x < columns; x++, pixel += along, row += 3) {
            row[0] = pixel[0];
            row[1] = pixel[1];
            row[2] = pixel[2];
        }
    }
}

/* `from` holds the plan's window at plan->left, plan->top. */
static enum result make_pixels(const struct picture *from, const struct image_source *source,
    const struct image_plan *plan, const struct image_want *want, struct image *out)
{
    size_t stride = (size_t)want->width * 3;
    out->pixels = malloc(bytes_of(want->width, want->height));
    if (!out->pixels)
        return ERR_NO_MEMORY;
    if ((uint64_t)plan->width * plan->height != (uint64_t)want->width * want->height)
        memset(out->pixels, want->resize == IMAGE_FIT_BLACK ? 0 : 255, bytes_of(want->width, want->height));
    place(from, plan, source->orientation, out->pixels + plan->pad_top * stride + (size_t)plan->pad_left * 3,
        stride);
    return ERR_OK;
}

/* `thumb` has the thumbnail's size, stored axes. */
static enum result save_thumbnail(
    const struct picture *thumb, const struct image_source *source, struct image *out)
{
    bool turned = image_plan_is_turned(source->orientation);
    struct picture upright = {
        .width = turned ? thumb->height : thumb->width, .height = turned ? thumb->width : thumb->height};
    const struct image_plan all = {.width = thumb->width, .height = thumb->height};
    upright.pixels = malloc(bytes_of(upright.width, upright.height));
    if (!upright.pixels)
        return ERR_NO_MEMORY;
    place(thumb, &all, source->orientation, upright.pixels, (size_t)upright.width * 3);
    enum result result = image_jpeg_save(upright.pixels, upright.width, upright.height, THUMBNAIL_QUALITY,
        &out->thumbnail, &out->thumbnail_len);
    free(upright.pixels);
    return result;
}

/* Whether the whole picture at the model's scale is worth computing: small enough, and enough for the
 * thumbnail. */
static bool whole_serves_thumbnail(const struct image_source *source, const struct image_want *want)
{
    const struct image_plan *plan = &source->plan;
    return plan->scaled_width && plan->thumb_width && want->resize != IMAGE_STRETCH &&
           plan->scaled_width >= plan->thumb_width && plan->scaled_height >= plan->thumb_height &&
           plan->scaled_width <= source->width && plan->scaled_height <= source->height &&
           (uint64_t)plan->scaled_width * plan->scaled_height <=
               (uint64_t)plan->width * plan->height * WHOLE_AREA_MAX;
}

static enum result render_both(
    const struct image_source *source, const struct image_want *want, struct image *out)
{
    const struct image_plan *plan = &source->plan;
    struct picture whole = {0}, thumb = {.width = plan->thumb_width, .height = plan->thumb_height};
    struct image_scale scale = {.whole_width = plan->scaled_width,
        .whole_height = plan->scaled_height,
        .width = plan->scaled_width,
        .height = plan->scaled_height,
        .filter = IMAGE_FILTER_CUBIC};
    enum result result = scale_source(source, &scale, &whole);
    if (!result)
        result = make_pixels(&whole, source, plan, want, out);
    if (result)
        goto out;
    thumb.pixels = malloc(bytes_of(thumb.width, thumb.height));
    if (!thumb.pixels) {
        result = ERR_NO_MEMORY;
        goto out;
    }
    struct image_scale again = {.from = whole.pixels,
        .from_width = whole.width,
        .from_height = whole.height,
        .extent_x = whole.width,
        .extent_y = whole.height,
        .whole_width = thumb.width,
        .whole_height = thumb.height,
        .width = thumb.width,
        .height = thumb.height,
        .filter = IMAGE_FILTER_TRIANGLE};
    result = image_scale(&again, thumb.pixels);
    if (!result)
        result = save_thumbnail(&thumb, source, out);
out:
    free(whole.pixels);
    free(thumb.pixels);
    return result;
}

static enum result render_window(
    const struct image_source *source, const struct image_want *want, struct image *out)
{
    struct image_plan plan = source->plan;
    struct picture window = {0};
    struct image_scale scale = {.whole_width = plan.scaled_width,
        .whole_height = plan.scaled_height,
        .left = plan.left,
        .top = plan.top,
        .width = plan.width,
        .height = plan.height,
        .filter = IMAGE_FILTER_CUBIC};
    plan.left = plan.top = 0; /* in the window */
    enum result result = scale_source(source, &scale, &window);
    if (!result)
        result = make_pixels(&window, source, &plan, want, out);
    free(window.pixels);
    return result;
}

static enum result render_thumbnail(const struct image_source *source, struct image *out)
{
    struct picture thumb = {0};
    struct image_scale scale = {.whole_width = source->plan.thumb_width,
        .whole_height = source->plan.thumb_height,
        .width = source->plan.thumb_width,
        .height = source->plan.thumb_height,
        .filter = IMAGE_FILTER_TRIANGLE};
    enum result result = scale_source(source, &scale, &thumb);
    if (!result)
        result = save_thumbnail(&thumb, source, out);
    free(thumb.pixels);
    return result;
}

enum result image_render(
    const struct image_source *source, const struct image_want *want, struct image *out, struct err *err)
{
    struct image made = {0};
    enum result result = ERR_OK;
    if (whole_serves_thumbnail(source, want)) {
        result = render_both(source, want, &made);
    } else {
        if (source->plan.scaled_width)
            result = render_window(source, want, &made);
        if (!result && source->plan.thumb_width)
            result = render_thumbnail(source, &made);
    }
    if (result) {
        vips_error_clear();
        image_free(&made);
        if (result == ERR_NO_MEMORY)
            return err_no_memory(err);
        return err_set(err, result,
            "the %s picture was decoded, but its colours cannot be converted; save it "
            "again with an sRGB profile",
            image_kind_name(source->kind));
    }
    out->pixels = made.pixels;
    out->thumbnail = made.thumbnail;
    out->thumbnail_len = made.thumbnail_len;
    return ERR_OK;
}
