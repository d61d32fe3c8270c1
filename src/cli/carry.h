/* What import.c needs to know about exports; the command itself is in cli.h. */
#ifndef CLI_CARRY_H
#define CLI_CARRY_H

#include "cli/cli.h"

/* Whether a folder on this machine holds an export. */
bool cli_is_export(const char *folder);
/* The export in `folder` becomes `collection`. → exit status; what went wrong was said. */
int cli_import_export(const struct cli_args *args, const char *collection, const char *folder, struct err *err);

#endif
