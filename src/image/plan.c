#include "image/plan.h"

#include "base/limits.h"

/* n × num / den, rounded to nearest, at least 1. With all three below 2^32 / 4 nothing overflows. */
static uint32_t scaled(uint32_t n, uint32_t num, uint32_t den)
{
    uint64_t value = ((uint64_t)n * num * 2 + den) / ((uint64_t)den * 2);
    return value < 1 ? 1 : (uint32_t)value;
}

bool image_plan_is_turned(int orientation)
{
    return orientation >= 5 && orientation <= 8;
}

static void swap(uint32_t *a, uint32_t *b)
{
    uint32_t t = *a;
    *a = *b;
    *b = t;
}

/* Half of n: rounded down, or where models are given with a short side as Python's round() does it, to even. */
static uint32_t half(uint32_t n, bool even)
{
    return n / 2 + (even && n % 4 == 3);
}

/* Upright sizes of the whole scaled picture, and the window the model gets. */
static void fit_model(uint32_t w, uint32_t h, const struct image_want *want, struct image_plan *plan)
{
    uint32_t tw = want->width, th = want->height;
    bool wide = (uint64_t)w * th >= (uint64_t)h * tw; /* relative to the target */
    plan->scaled_width = plan->width = tw;
    plan->scaled_height = plan->height = th;
    switch (want->resize) {
    case IMAGE_SHORT_SIDE_CROP:
        if (want->short_side) {
            bool wider = w >= h;
            plan->scaled_width = wider ? scaled(w, want->short_side, h) : want->short_side;
            plan->scaled_height = wider ? want->short_side : scaled(h, want->short_side, w);
        } else if (wide) {
            plan->scaled_width = scaled(w, th, h);
        } else {
            plan->scaled_height = scaled(h, tw, w);
        }
        if (plan->scaled_width < tw)
            plan->scaled_width = tw;
        if (plan->scaled_height < th)
            plan->scaled_height = th;
        break;
    case IMAGE_FIT_WHITE:
    case IMAGE_FIT_BLACK:
        if (wide)
            plan->scaled_height = scaled(h, tw, w);
        else
            plan->scaled_width = scaled(w, th, h);
        if (plan->scaled_width > tw)
            plan->scaled_width = tw;
        if (plan->scaled_height > th)
            plan->scaled_height = th;
        plan->width = plan->scaled_width;
        plan->height = plan->scaled_height;
        plan->pad_left = (tw - plan->width) / 2;
        plan->pad_top = (th - plan->height) / 2;
        break;
    case IMAGE_STRETCH:
        break;
    }
    bool even = want->resize == IMAGE_SHORT_SIDE_CROP && want->short_side;
    plan->left = half(plan->scaled_width - plan->width, even);
    plan->top = half(plan->scaled_height - plan->height, even);
}

/*
 * From upright axes to stored ones. Flips matter because the centre of an odd remainder is rounded down: what
 * is left of the window upright may be right of it in the file.
 */
static void to_stored(int orientation, struct image_plan *plan)
{
    static const bool flip_x[9] = {[2] = true, [3] = true, [7] = true, [8] = true};
    static const bool flip_y[9] = {[3] = true, [4] = true, [6] = true, [7] = true};
    if (image_plan_is_turned(orientation)) {
        swap(&plan->scaled_width, &plan->scaled_height);
        swap(&plan->left, &plan->top);
        swap(&plan->width, &plan->height);
        swap(&plan->thumb_width, &plan->thumb_height);
    }
    if (orientation < 1 || orientation > 8)
        return;
    if (flip_x[orientation])
        plan->left = plan->scaled_width - plan->width - plan->left;
    if (flip_y[orientation])
        plan->top = plan->scaled_height - plan->height - plan->top;
}

/* `length` pixels of a side, from the fraction `from` on; at least one, and within the side. */
static void cut(uint32_t side, float from, float length, uint32_t *start, uint32_t *size)
{
    double first = (double)from * side, last = ((double)from + (double)length) * side;
    *start = (uint32_t)(first + 0.5);
    if (*start >= side)
        *start = side - 1;
    uint32_t end = (uint32_t)(last + 0.5);
    if (end > side)
        end = side;
    *size = end > *start ? end - *start : 1;
}

/* fit_model() of a part of the picture: the window is fitted to the part, then the whole scaled by the same factors. */
static void fit_region(uint32_t w, uint32_t h, const struct image_want *want, struct image_plan *plan)
{
    uint32_t x, y, rw, rh;
    cut(w, want->region[0], want->region[2], &x, &rw);
    cut(h, want->region[1], want->region[3], &y, &rh);
    fit_model(rw, rh, want, plan);
    uint32_t part_width = plan->scaled_width, part_height = plan->scaled_height;
    plan->scaled_width = scaled(w, part_width, rw);
    plan->scaled_height = scaled(h, part_height, rh);
    uint32_t left = plan->left + (uint32_t)(((uint64_t)x * part_width * 2 + rw) / ((uint64_t)rw * 2));
    uint32_t top = plan->top + (uint32_t)(((uint64_t)y * part_height * 2 + rh) / ((uint64_t)rh * 2));
    /* Rounding may have made the whole one pixel too small. */
    if (plan->scaled_width < plan->width)
        plan->scaled_width = plan->width;
    if (plan->scaled_height < plan->height)
        plan->scaled_height = plan->height;
    plan->left = left + plan->width > plan->scaled_width ? plan->scaled_width - plan->width : left;
    plan->top = top + plan->height > plan->scaled_height ? plan->scaled_height - plan->height : top;
}

static uint32_t shrink_of(uint32_t size, uint32_t model, uint32_t thumb)
{
    uint32_t most = model > thumb ? model : thumb;
    uint32_t factor = most ? size / (most * IMAGE_PLAN_KEEP) : 1;
    return factor < 1 ? 1 : factor;
}

void image_plan_make(
    uint32_t width, uint32_t height, int orientation, const struct image_want *want, struct image_plan *plan)
{
    bool turned = image_plan_is_turned(orientation);
    uint32_t w = turned ? height : width, h = turned ? width : height;
    *plan = (struct image_plan){0};
    if (want->width && want->height)
        want->region[2] > 0 ? fit_region(w, h, want, plan) : fit_model(w, h, want, plan);
    if (want->thumbnail_side) {
        uint32_t side = want->thumbnail_side, most = w > h ? w : h;
        plan->thumb_width = most > side ? scaled(w, side, most) : w;
        plan->thumb_height = most > side ? scaled(h, side, most) : h;
    }
    to_stored(orientation, plan);
    plan->shrink_x = shrink_of(width, plan->scaled_width, plan->thumb_width);
    plan->shrink_y = shrink_of(height, plan->scaled_height, plan->thumb_height);
}
