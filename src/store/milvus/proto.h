/* The generated protocol. Its initialisers cast constant texts, which is its right and not ours: so the warning is off. */
#ifndef STORE_MILVUS_PROTO_H
#define STORE_MILVUS_PROTO_H

#pragma GCC diagnostic ignored "-Wcast-qual"
#include "store/milvus/milvus.pb-c.h"

#endif
