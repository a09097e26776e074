#include "uploader/s3_xml.h"

#include <ctype.h>
#include <expat.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

enum { NAMES = 4 };

struct reading {
    const char *list;          /* NULL: children of whatever */
    const char *const *names;
    void (*item)(void *arg, const struct s3_xml_item *i);
    void *arg;
    bool inside;               /* a `list` element */
    int field;                 /* whose text is being read; -1: none */
    size_t len;                /* of that text */
    bool first_only, done;
    struct s3_xml_item found;
};

static int find(const char *const *names, const char *name)
{
    for (int i = 0; i < NAMES && names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

static void start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct reading *r = arg;
    (void)attributes;
    if (r->list && !r->inside && strcmp(name, r->list) == 0) {
        r->inside = true;
        memset(&r->found, 0, sizeof r->found);
    } else if (r->inside || !r->list) {
        r->field = r->done ? -1 : find(r->names, name);
        r->len = 0;
    }
}

static void text(void *arg, const XML_Char *s, int len)
{
    struct reading *r = arg;
    if (r->field < 0)
        return;
    char *to = r->found.values[r->field];
    size_t take = (size_t)len < S3_XML_TEXT - 1 - r->len ? (size_t)len : S3_XML_TEXT - 1 - r->len;
    memcpy(to + r->len, s, take);
    r->len += take;
    to[r->len] = '\0';
}

static void end(void *arg, const XML_Char *name)
{
    struct reading *r = arg;
    if (r->field >= 0 && r->first_only)
        r->done = true;
    r->field = -1;
    if (r->inside && strcmp(name, r->list) == 0) {
        r->inside = false;
        r->item(r->arg, &r->found);
    }
}

/* What takes long to be made may begin with blanks, sent to keep the connection alive. */
static int parse(const char *xml, size_t len, struct reading *r)
{
    for (; len && isspace((unsigned char)*xml); len--)
        xml++;
    XML_Parser p = XML_ParserCreate(NULL);
    if (!p)
        return -1;
    XML_SetUserData(p, r);
    XML_SetElementHandler(p, start, end);
    XML_SetCharacterDataHandler(p, text);
    int bad = XML_Parse(p, xml, (int)len, 1) == XML_STATUS_OK ? 0 : -1;
    XML_ParserFree(p);
    return bad;
}

void s3_xml_first(const char *xml, size_t len, const char *name, char out[S3_XML_TEXT])
{
    const char *const names[NAMES] = {name};
    struct reading r = {.names = names, .field = -1, .first_only = true};
    if (len)
        parse(xml, len, &r);
    strcpy(out, r.found.values[0]);
}

int s3_xml_each(const char *xml, size_t len, const char *list, const char *const *names,
                void (*item)(void *arg, const struct s3_xml_item *i), void *arg)
{
    struct reading r = {.list = list, .names = names, .item = item, .arg = arg, .field = -1};
    return len ? parse(xml, len, &r) : -1;
}

long long s3_xml_time_ms(const char *text)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    time_t at = rest ? timegm(&tm) : -1;
    return at < 0 ? -1 : (long long)at * 1000;
}
