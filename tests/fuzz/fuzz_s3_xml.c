/* Any bytes as what an S3 service answers: texts that end, or none. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "uploader/s3_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"Key", "UploadId", "Initiated", NULL};

static void check(const char text[S3_XML_TEXT])
{
    if (!memchr(text, '\0', S3_XML_TEXT))
        abort();
    s3_xml_time_ms(text);
}

static void check_item(void *arg, const struct s3_xml_item *i)
{
    (void)arg;
    for (int n = 0; names[n]; n++)
        check(i->values[n]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char code[S3_XML_TEXT];
    s3_xml_first((const char *)data, size, "Code", code);
    check(code);
    s3_xml_each((const char *)data, size, "Upload", names, check_item, NULL);
    return 0;
}
