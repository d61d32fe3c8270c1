/*
 * The MANIFEST of a backup: any text, with the sum at its end set right, so that the reader of lines is reached.
 *
 * What has to hold: it is refused, or names nothing outside of the backup's folder; reading what it names ends.
 */
#include "fuzz.h"
#include "store/backup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char folder[200];
    struct store_backup_report report;
    struct err err = {0};
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s", fuzz_path("kept"));
        MUST(!mkdir(folder, 0755));
    }
    char *text = malloc(size + 64);
    MUST(text != NULL);
    size_t n = (size_t)snprintf(text, 64, "lookalike-backup 1\n");
    memcpy(text + n, data, size);
    n += size;
    if (n && text[n - 1] != '\n')
        text[n++] = '\n';
    n += (size_t)snprintf(text + n, 32, "end %016llx\n", (unsigned long long)XXH3_64bits(text, n));
    fuzz_write(fuzz_path("kept/MANIFEST"), text, n);
    free(text);
    enum result r = store_backup_verify(folder, NULL, &report, &err);
    if (r)
        MUST(err.code == r && err.message[0]);
    else /* no piece is there, so nothing with a piece can be whole */
        MUST(report.files == 0 && report.bytes == 0);
    return 0;
}
