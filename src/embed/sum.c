/* The sum of a model's files, which its manifest pins. */
#include "embed/embed.h"

#include "base/limits.h"

#include <errno.h>
#include <openssl/evp.h>

static enum result sum_file(EVP_MD_CTX *sum, const char *path, struct err *err)
{
    enum result result = ERR_OK;
    uint8_t *chunk = malloc(LIMIT_MIB);
    FILE *file = fopen(path, "re");
    size_t n;
    if (!chunk) {
        result = err_no_memory(err);
        goto out;
    }
    if (!file) {
        result = err_set_errno(err, errno, "Cannot read the model %s", path);
        goto out;
    }
    while ((n = fread(chunk, 1, LIMIT_MIB, file)) > 0) {
        if (EVP_DigestUpdate(sum, chunk, n) != 1) {
            result = err_no_memory(err);
            goto out;
        }
    }
    if (ferror(file))
        result = err_set_errno(err, errno, "Cannot read the model %s", path);
out:
    if (file)
        fclose(file);
    free(chunk);
    return result;
}

static enum result sum_model(const char *file, uint8_t digest[EVP_MAX_MD_SIZE], struct err *err)
{
    char weights[512];
    enum result result = ERR_OK;
    EVP_MD_CTX *sum = EVP_MD_CTX_new();
    if (!sum || EVP_DigestInit_ex(sum, EVP_sha256(), NULL) != 1) {
        result = err_no_memory(err);
        goto out;
    }
    result = sum_file(sum, file, err);
    if (result == ERR_OK && manifest_weights_path(file, weights, sizeof weights))
        result = sum_file(sum, weights, err);
    if (result == ERR_OK && EVP_DigestFinal_ex(sum, digest, NULL) != 1)
        result = err_no_memory(err);
out:
    EVP_MD_CTX_free(sum);
    return result;
}

enum result embed_sum(const char *file, char hex[65], struct err *err)
{
    uint8_t digest[EVP_MAX_MD_SIZE] = {0};
    enum result result = sum_model(file, digest, err);
    if (result)
        return result;
    for (size_t i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return ERR_OK;
}
