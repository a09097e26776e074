/* header_file.h - request headers from a file: for secrets, which argv would show to everybody.
 *
 * Lines "Name: value"; blank ones and those that begin with # are passed over. A file that others
 * may read or write is refused. Source: RFC 9110, 5.1 and 5.5. */
#ifndef SLUICE_HEADER_FILE_H
#define SLUICE_HEADER_FILE_H
#include "uploader/http_client.h"

enum { HEADER_FILE_MOST = 16 };

struct header_file {
    char *text;  /* owned; what the headers stand in */
    struct http_header headers[HEADER_FILE_MOST];
    int count;
};

/* Reads one (header_file_free ends it). 0, or -1 with errno after saying what is wrong with it. */
int header_file_read(const char *path, struct header_file *f);
void header_file_free(struct header_file *f);
#endif
