/* curl_heap.h - libcurl's memory, all of the process: what is large of what it takes and frees with
 * each transfer comes from slots (lib/slots.h). From the heap each buffer would lie on other pages,
 * until all of it has been touched, and each connection's state would cost a microsecond.
 *
 * Threads: one that runs transfers; others may free. */
#ifndef SLUICE_CURL_HEAP_H
#define SLUICE_CURL_HEAP_H
#include <stddef.h>

/* Sets libcurl up, for transfers whose CURLOPT_BUFFERSIZE is `buffer_bytes`, `count` of them at once.
 * 0, or -1. */
int curl_heap_open(size_t buffer_bytes, size_t count);
/* Tears libcurl down. */
void curl_heap_close(void);
#endif
