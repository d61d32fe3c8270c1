/* What the API needs to back up, restore and export: the store's own functions, and where a server may write. */
#ifndef PIPELINE_KEEP_H
#define PIPELINE_KEEP_H

#include "pipeline/carry.h"
#include "pipeline/pipeline.h"
#include "store/backup.h"

/* The folder below which backups may be made and read by request; NULL: nowhere. */
const char *pipeline_backup_folder(const struct pipeline *pipeline);

#endif
