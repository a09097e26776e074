/* s3_xml.h - what S3 answers, read.
 *
 * Hides: expat. Threads: any. Source: Amazon S3 API Reference (Error, ListMultipartUploads,
 * ListParts). */
#ifndef SLUICE_S3_XML_H
#define SLUICE_S3_XML_H
#include <stddef.h>

enum { S3_XML_TEXT = 2048 };

/* Puts the text of the first element `name` into `out` (S3_XML_TEXT bytes; "" if there is none, or
 * if it is no XML). */
void s3_xml_first(const char *xml, size_t len, const char *name, char out[S3_XML_TEXT]);

/* The children that one element of a list has, as far as they were asked for. */
struct s3_xml_item {
    char values[4][S3_XML_TEXT];
};

/* Calls `item` for each element `list` with the texts of its children `names` (at most 4,
 * NULL-terminated). 0, or -1: no XML. */
int s3_xml_each(const char *xml, size_t len, const char *list, const char *const *names,
                void (*item)(void *arg, const struct s3_xml_item *i), void *arg);

/* Milliseconds since 1970 of "2013-05-24T00:00:00.000Z", or -1. */
long long s3_xml_time_ms(const char *text);
#endif
