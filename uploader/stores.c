/* The stores there are. A new one is added here, and declared in store.h. */
#include "uploader/store.h"

const struct store_ops *const stores[] = {&store_dir,   &store_tar,  &store_warc, &store_http,
                                         &store_https, &store_s3,   &store_exec, &store_pipe,
                                         &store_null,  NULL};
