#include "head.h"

#include <inttypes.h>

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    { 200, "OK" },
    { 204, "No Content" },
    { 301, "Moved Permanently" },
    { 302, "Found" },
    { 303, "See Other" },
    { 304, "Not Modified" },
    { 307, "Temporary Redirect" },
    { 308, "Permanent Redirect" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 408, "Request Timeout" },
    { 410, "Gone" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" },
};

static const char *reason_of(int status)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "Whatever";
}

bool head_forbids_body(int status)
{
    return status == 204 || status == 304;
}

void head_write(const struct head *head, struct buffer *out)
{
    buffer_printf(out, "HTTP/1.1 %d %s\r\n", head->status, reason_of(head->status));
    bool may_have_body = !head_forbids_body(head->status);
    if (may_have_body && head->type != NULL)
        buffer_printf(out, "Content-Type: %s\r\n", head->type);
    if (may_have_body && head->length_bytes != HEAD_NO_LENGTH)
        buffer_printf(out, "Content-Length: %" PRId64 "\r\n", head->length_bytes);
    if (may_have_body && head->chunked)
        buffer_printf(out, "Transfer-Encoding: chunked\r\n");
    if (may_have_body && head->coding != NULL)
        buffer_printf(out, "Content-Encoding: %s\r\n", head->coding);
    if (head->location != NULL)
        buffer_printf(out, "Location: %s\r\n", head->location);
    if (head->retry_after_s.given)
        buffer_printf(out, "Retry-After: %" PRId64 "\r\n", head->retry_after_s.n);
    if (head->close)
        buffer_printf(out, "Connection: close\r\n");
    else if (head->http10)
        buffer_printf(out, "Connection: keep-alive\r\n");
}
