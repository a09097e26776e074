#include "uploader/s3_words.h"

#include <string.h>

static const struct s3_word words[] = {
    /* Less, please. */
    {"SlowDown", UPSTREAM_BUSY, false, false, NULL},
    {"ServiceUnavailable", UPSTREAM_BUSY, false, false, NULL},
    {"RequestLimitExceeded", UPSTREAM_BUSY, false, false, NULL},
    {"ThrottlingException", UPSTREAM_BUSY, false, false, NULL},
    {"TooManyRequests", UPSTREAM_BUSY, false, false, NULL},
    {"XMinioServerNotInitialized", UPSTREAM_BUSY, false, false, NULL},
    {"XMinioStorageFull", UPSTREAM_BUSY, false, false, NULL},

    /* Once more. */
    {"InternalError", UPSTREAM_AGAIN, false, false, NULL},
    {"RequestTimeout", UPSTREAM_AGAIN, false, false, NULL},
    {"OperationAborted", UPSTREAM_AGAIN, false, false, NULL},
    {"ConditionalRequestConflict", UPSTREAM_AGAIN, false, false, NULL},

    /* What we sent is not what was fetched, or what was sent of it is gone. */
    {"XAmzContentSHA256Mismatch", UPSTREAM_FINAL, false, true, "the body is not what was fetched"},
    {"BadDigest", UPSTREAM_FINAL, false, true, "the body is not what was fetched"},
    {"NoSuchUpload", UPSTREAM_FINAL, false, true, "somebody has aborted the multipart upload"},

    /* Not the object's fault. */
    {"InvalidAccessKeyId", UPSTREAM_BUSY, true, false, "the access key is not known there"},
    {"SignatureDoesNotMatch", UPSTREAM_BUSY, true, false,
     "the secret key does not belong to the access key"},
    {"ExpiredToken", UPSTREAM_BUSY, true, false, "the session token has expired"},
    {"InvalidToken", UPSTREAM_BUSY, true, false, "the session token is not valid there"},
    {"TokenRefreshRequired", UPSTREAM_BUSY, true, false, "the session token has expired"},
    {"NoSuchBucket", UPSTREAM_BUSY, true, false, "there is no such bucket"},
    {"RequestTimeTooSkewed", UPSTREAM_BUSY, true, false,
     "this machine's clock is wrong, or the service's"},
    {"RequestExpired", UPSTREAM_BUSY, true, false, "this machine's clock is wrong"},
    {"PermanentRedirect", UPSTREAM_BUSY, true, false,
     "the bucket is elsewhere: another --region or --endpoint-url"},
    {"AuthorizationHeaderMalformed", UPSTREAM_BUSY, true, false,
     "the region is not the bucket's: another --region"},
    {"AccountProblem", UPSTREAM_BUSY, true, false, NULL},

    {"PreconditionFailed", UPSTREAM_FINAL, false, false, "the key is there"},
    {"AccessDenied", UPSTREAM_FINAL, false, false, "the credentials do not allow it"},
};

const struct s3_word *s3_word(const char *code)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].code, code) == 0)
            return &words[i];
    return NULL;
}
