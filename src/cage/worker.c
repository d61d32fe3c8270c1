/*
 * A worker: starts libvips, decodes something of each kind so that libraries load what they load late, locks itself in,
 * and then answers one request after the other until its socket is closed. One thread; what decoders start besides is
 * theirs.
 */
#include "cage/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* The start of one file of each kind: enough for the library behind it to be initialised, not enough to be a picture. */
static void warm_up(void)
{
    static const struct {
        const char *bytes;
        size_t len;
    } starts[] = {
#define START(text) {text, sizeof text - 1}
        START("\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xd9"),
        START("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde\0\0\0\0IEND\xae" "B`\x82"),
        START("GIF89a\1\0\1\0\0\0\0;"),
        START("RIFF\x1a\0\0\0WEBPVP8L\r\0\0\0/\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0"),
        START("\0\0\0\x1c" "ftypavif\0\0\0\0avifmif1miaf\0\0\0\x08mdat"),
        START("\0\0\0\x18" "ftypheic\0\0\0\0heicmif1\0\0\0\x08mdat"),
    };
    const struct image_want want = {.width = 8, .height = 8, .thumbnail_side = 4};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        struct image image = {0};
        if (image_decode(starts[i].bytes, starts[i].len, &want, &image, NULL) == ERR_OK)
            image_free(&image);
    }
}

static bool receive(struct cage_request *request)
{
    ssize_t n;
    do
        n = recv(CAGE_SOCKET, request, sizeof *request, 0);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof *request;
}

static bool answer(const struct cage_reply *reply)
{
    ssize_t n;
    do
        n = send(CAGE_SOCKET, reply, sizeof *reply, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof *reply;
}

static void decode(const struct cage_request *request, uint8_t *shared, struct cage_reply *reply)
{
    struct image image = {0};
    reply->result = (int32_t)image_decode(shared, request->len, &request->want, &image, &reply->err);
    if (reply->result != ERR_OK)
        return;
    reply->width = image.width;
    reply->height = image.height;
    if (image.pixels) {
        reply->pixels_len = (uint64_t)request->want.width * request->want.height * 3;
        memcpy(shared + CAGE_PIXELS_AT, image.pixels, reply->pixels_len);
    }
    if (image.thumbnail && image.thumbnail_len <= LIMIT_THUMBNAIL_BYTES) {
        reply->thumbnail_len = image.thumbnail_len;
        memcpy(shared + CAGE_THUMBNAIL_AT, image.thumbnail, image.thumbnail_len);
    }
    image_free(&image);
}

int cage_main(void)
{
    struct cage_request request;
    struct cage_reply hello = {0};
    uint8_t *shared = mmap(NULL, CAGE_SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, CAGE_MEMORY, 0);
    if (shared == MAP_FAILED || !receive(&request)) {
        fputs("this is for the server's own use\n", stderr);
        return 2;
    }
    hello.result = (int32_t)image_init(&hello.err);
    if (hello.result == ERR_OK) {
        warm_up();
        hello.result = (int32_t)cage_lock_in(request.memory_bytes, &hello.err);
    }
    if (!answer(&hello) || hello.result != ERR_OK)
        _exit(1);
    while (receive(&request)) {
        struct cage_reply reply = {0};
        if (request.len > CAGE_INPUT_MAX)
            break;
        decode(&request, shared, &reply);
        if (!answer(&reply))
            break;
    }
    _exit(0); /* no atexit handlers: there is nothing they could do from here */
}
