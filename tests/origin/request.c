#include "request.h"

#include <string.h>
#include <strings.h>

/* The next line of `head` without its line end. A bare LF ends a line too (section 2.2). */
static struct span next_line(struct span *head)
{
    struct span line = span_until(head, '\n');
    if (line.len > 0 && line.at[line.len - 1] == '\r')
        line.len--;
    return line;
}

static bool is_word(struct span text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.at, word, text.len) == 0;
}

static struct span trimmed(struct span text)
{
    while (text.len > 0 && (*text.at == ' ' || *text.at == '\t')) {
        text.at++;
        text.len--;
    }
    while (text.len > 0 && (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t'))
        text.len--;
    return text;
}

static void read_connection(struct span value, struct request *request)
{
    while (value.len > 0) {
        struct span option = trimmed(span_until(&value, ','));
        if (is_word(option, "close"))
            request->close = true;
        else if (is_word(option, "keep-alive"))
            request->close = false;
    }
}

static void read_header(struct span line, struct request *request)
{
    struct span value = line;
    struct span name = span_until(&value, ':');
    value = trimmed(value);
    if (is_word(name, "connection"))
        read_connection(value, request);
    /* We read no request bodies, so we cannot find the request behind one. */
    else if (is_word(name, "content-length") && !is_word(value, "0"))
        request->close = true;
    else if (is_word(name, "transfer-encoding"))
        request->close = true;
}

static void read_request_line(struct span line, struct request *request)
{
    struct span method = span_until(&line, ' ');
    struct span target = span_until(&line, ' ');
    request->target = url_target(target);
    request->head_only = span_is(method, "HEAD");
    request->http10 = span_is(line, "HTTP/1.0");
    request->close = request->http10;
    if (method.len == 0 || request->target.len == 0 || request->target.at[0] != '/')
        request->status = 400;
    else if (!request->http10 && !span_is(line, "HTTP/1.1"))
        request->status = 505;
    else if (!request->head_only && !span_is(method, "GET"))
        request->status = 405;
}

int request_parse(struct span input, struct request *request)
{
    if (input.len == 0)
        return 0;
    const char *end = memmem(input.at, input.len, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    *request = (struct request){ .head_bytes = (size_t)(end - input.at) + 4 };
    struct span head = { input.at, request->head_bytes - 2 };
    read_request_line(next_line(&head), request);
    while (head.len > 0)
        read_header(next_line(&head), request);
    if (request->status != 0)
        request->close = true;
    return 1;
}
