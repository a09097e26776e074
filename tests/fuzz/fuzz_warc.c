/* Any bytes as what a killed uploader left of a WARC, packed if the first is odd: what is whole of
 * it is no longer than the file, and all of it is whole once the rest has been cut off. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uploader/warc_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    bool packed = *data & 1;
    int fd = memfd_create("warc", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data + 1, size - 1) != (ssize_t)size - 1)
        abort();
    int64_t whole = warc_whole(fd, packed);
    if (whole > (int64_t)size - 1)
        abort();
    if (whole > 0 && (ftruncate(fd, whole) || warc_whole(fd, packed) != whole))
        abort();
    close(fd);
    return 0;
}
