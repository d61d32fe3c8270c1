/* What Milvus and gRPC say when something went wrong, as our results and sentences. For store/milvus/ only. */
#ifndef STORE_MILVUS_STATUS_H
#define STORE_MILVUS_STATUS_H

#include "base/err.h"
#include "store/milvus/proto.h"

/* The status in a reply: the reply itself, or its field 1; NULL where Milvus left it away, which means success. */
const Mv__Status *milvus_status_of(const ProtobufCMessage *reply);

/* ERR_OK, or what it means; *code is Milvus's own number. The sentence is Milvus's, shortened. */
enum result milvus_status_error(const Mv__Status *status, int *code, struct err *err);

/* What is no UTF-8 becomes "?": text of a Milvus goes into sentences, and they into JSON. */
void milvus_clean_text(char *text);

/* Never ERR_OK. `status` is a grpc_status_code, `details` its text, `name` the address. */
enum result milvus_grpc_error(int status, const char *details, const char *name, struct err *err);

#endif
