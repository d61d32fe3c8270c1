/* Every limit of the program, in one place. Each has a test. Sizes are bytes, times milliseconds. */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#define LIMIT_KIB (1024)
#define LIMIT_MIB (1024 * 1024)

/* HTTP. */
#define LIMIT_BODY (32 * LIMIT_MIB)          /* one request body */
#define LIMIT_BODIES (512 * LIMIT_MIB)       /* all request bodies held at once */
#define LIMIT_HEADER_BYTES (32 * LIMIT_KIB)  /* request line and headers of one request */
#define LIMIT_CONNECTIONS 2048
#define LIMIT_REQUEST_QUEUE 512              /* requests read and waiting for a worker */
#define LIMIT_CORS_ORIGINS 32
#define LIMIT_PROXIES 16                     /* addresses and networks of trusted reverse proxies */
#define LIMIT_HEADER_MS 10000                /* from the first byte to the end of the headers */
#define LIMIT_BODY_MS 60000                  /* from the end of the headers to the end of the body */
#define LIMIT_REQUEST_ID 64                  /* bytes of a client's X-Request-Id; a longer one is replaced */
#define LIMIT_IDLE_MS 60000                  /* a kept-alive connection without a request */
#define LIMIT_REQUEST_MS 60000               /* from the end of the body to the reply */
#define LIMIT_WAIT_MS 5000                   /* that a picture may have to wait for its turn; see http/overload.h */
#define LIMIT_PARAMETERS 64                  /* query or form fields of one request */
#define LIMIT_FORM_PARTS 64
#define LIMIT_HEADERS 128                    /* header lines of one request */
#define LIMIT_STREAMS 8                       /* requests whose body is streamed, at once */
#define LIMIT_STREAM_RING (256 * LIMIT_KIB)  /* of a streamed body, waiting for the handler */
#define LIMIT_STREAM_OUT (64 * LIMIT_MIB)    /* of its reply, waiting for the client */
#define LIMIT_POLLS 64                       /* replies that are sent as things happen, at once */
#define LIMIT_HTTP_REPLY (256 * LIMIT_MIB)   /* body of one reply */

/* API keys. */
#define LIMIT_KEYS 1024
#define LIMIT_KEY_NAME 64                    /* bytes */
#define LIMIT_KEY_COLLECTIONS 64             /* that one key can be bound to */
#define LIMIT_KEYS_BYTES LIMIT_MIB           /* DATA/keys.json */
#define LIMIT_RATE_BUCKETS 8192              /* keys or addresses whose rate is known at once */

/* JSON. */
#define LIMIT_JSON_DEPTH 32
#define LIMIT_JSON_VALUES (256 * 1024)       /* values in one text */
#define LIMIT_JSON_CONTAINERS (32 * 1024)    /* objects and arrays among them: an empty one costs up to 1 KiB in memory */

/* Records; API.md section 1. */
#define LIMIT_COLLECTION_NAME 255
#define LIMIT_TAGS 10
#define LIMIT_TAG_BYTES 240
#define LIMIT_BRIEF_BYTES (64 * LIMIT_KIB)
#define LIMIT_BULK_LINE (LIMIT_BODY / 3 * 4 + LIMIT_MIB) /* one record of a bulk request: its picture in base64 */
#define LIMIT_BULK_BYTES (64 * LIMIT_MIB)    /* of the records of one bulk request that are under way; a longer one goes alone */
#define LIMIT_QUERIES 16                      /* pictures, records and vectors of one search */
#define LIMIT_WINDOW 16384                   /* limit + offset of a search */
#define LIMIT_DIMENSION 32768                /* components of a vector, as in Milvus */
#define LIMIT_COLLECTIONS 4096

/* Pictures. */
#define LIMIT_PIXELS (50 * 1000 * 1000)      /* width × height of a picture, before any pixel is decoded */
#define LIMIT_PICTURE_SIDE 32768             /* longest side of a picture, in pixels */
#define LIMIT_MODEL_SIDE 2048                /* longest side of a model's input, in pixels */
#define LIMIT_THUMBNAIL_SIDE 1024
#define LIMIT_MANIFEST_BYTES (64 * LIMIT_KIB) /* model.json */
#define LIMIT_MODEL_BYTES (1024 * LIMIT_MIB) /* a model that is downloaded */
#define LIMIT_MODELS 16                      /* loaded at once, each with its memory */
#define LIMIT_MODELS_LISTED 1024             /* folders of models that a list shows */
#define LIMIT_MODEL_FOLDERS 8                /* folders in which models are looked for */
#define LIMIT_DECODE_MS 20000                /* for decoding one picture in the sandbox */
#define LIMIT_DECODE_BYTES (2048LL * LIMIT_MIB) /* memory that decoding one picture may take there */
#define LIMIT_DECODER_PICTURES 20000         /* that a process of the sandbox decodes before a fresh one takes its place */
#define LIMIT_EMBED_QUEUE 1024               /* decoded pictures waiting for the engine */

/* Download of `url`. */
#define LIMIT_FETCH_BYTES (32 * LIMIT_MIB)
#define LIMIT_FETCH_MS 10000                 /* name look-up, redirects and transfer together */
#define LIMIT_FETCH_REDIRECTS 5
#define LIMIT_FETCH_PARALLEL 16
#define LIMIT_URL_BYTES 8192
#define LIMIT_FETCH_HEADER_BYTES (64 * LIMIT_KIB) /* all headers of one reply */
#define LIMIT_FETCH_LOOKUPS 64               /* name look-ups given up on that may still be running */
#define LIMIT_FETCH_ALLOW 256                /* `--fetch-allow` entries */

/* Command line. */
#define LIMIT_SERVER_REPLY (64 * LIMIT_MIB)  /* one reply of a server */
#define LIMIT_IMPORT_JOBS 256                /* pictures under way at once */
#define LIMIT_IMPORT_LINE (4 * LIMIT_MIB)    /* one record of a CSV or JSON-lines file */
#define LIMIT_IMPORT_COLUMNS 1024            /* of a CSV file */
#define LIMIT_IMPORT_DEPTH 64                /* folders in folders */

/* Store. */
#define LIMIT_WRITES 16384                   /* records of one store_write() */
#define LIMIT_COMMIT_WRITES 1024             /* records of several callers that share one commit */
#define LIMIT_TAGS_TEXT (16 * LIMIT_KIB)     /* tags as JSON text: escapes make it longer */
#define LIMIT_BRIEF_TEXT (6 * LIMIT_BRIEF_BYTES)
#define LIMIT_THUMBNAIL_BYTES LIMIT_MIB
#define LIMIT_REEMBED_FAILED 1000            /* records that may fail before a re-embedding gives up */
#define LIMIT_RECORDS (1 << 28)              /* of one collection */
#define LIMIT_OPEN_COLLECTIONS 32            /* with files open; each takes up to 13 file descriptors */
#define LIMIT_STORE_READERS 4                /* reading connections of one collection */
#define LIMIT_BACKUP_PATH 170               /* bytes of the path of a backup */
#define LIMIT_BACKUP_PIECE (16 * LIMIT_MIB)  /* of a file, kept as one file in a backup */

/* Milvus. */
#define LIMIT_MILVUS_REQUEST (4 * LIMIT_MIB)   /* one write; more records are sent in parts */
#define LIMIT_MILVUS_REPLY (256 * LIMIT_MIB)   /* one reply */
#define LIMIT_MILVUS_PAGE (16 * LIMIT_MIB)     /* of vectors asked for at once */
#define LIMIT_MILVUS_SCAN (256 * LIMIT_MIB)    /* of vectors compared here, where Milvus's index finds too little */
#define LIMIT_MILVUS_IDS 4096                  /* fileids or itemids named in one expression */
#define LIMIT_MILVUS_ITEMS (1 << 20)           /* records of a collection whose items are counted */
#define LIMIT_MILVUS_FACETS (1 << 16)          /* records whose values are counted at once */
#define LIMIT_MILVUS_PEM (256 * LIMIT_KIB)     /* a file of certificates */
#define LIMIT_MILVUS_RECENT 4096               /* writes of this process remembered, a collection */

/* Filter expressions; LANGUAGE of docs/filter.md. */
#define LIMIT_FACET_FIELDS 12                /* fields whose values are counted where none is named */
#define LIMIT_FACET_VALUES 1000              /* values of one field in a reply */
#define LIMIT_FACET_PATHS 512                /* paths of brief looked at where none is named and there are no columns */
#define LIMIT_FILTER_BYTES (64 * LIMIT_KIB)  /* one expression */
#define LIMIT_FILTER_DEPTH 128               /* brackets in brackets, or operators such as `not` in a row */
#define LIMIT_FILTER_LIST 16384              /* elements of one list */
#define LIMIT_FILTER_PATHS 4096              /* paths of JSON with columns of their own; the rest is searched slower */
#define LIMIT_FILTER_CACHE 64                /* results of filters kept for the next time */
#define LIMIT_FILTER_CACHE_BYTES (64 * LIMIT_MIB)

/* Jobs. */
#define LIMIT_JOBS_RUNNING 8                 /* at once */
#define LIMIT_JOBS_KEPT 64                   /* remembered after their end */
#define LIMIT_JOB_RESULT LIMIT_MIB           /* JSON text */

/* Learning. */
#define LIMIT_PAST_QUERIES 1024            /* descriptors of past queries kept for a collection */
#define LIMIT_LEARN_ROWS 100000            /* pictures that one projection is learned from */

/* Index. */
#define LIMIT_INDEX_EF_BUILD 512             /* candidates looked at when a row is linked */
#define LIMIT_INDEX_THREADS 64

#endif
