/* bare_libcurl LIST - the least that libcurl can do: 64 transfers at once in one process, bodies
 * thrown away, no digest, nothing kept. What our processes use is compared with it. */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

enum { TRANSFERS = 64, URL_MOST = 4096 };

static size_t discard(char *data, size_t size, size_t count, void *bytes)
{
    (void)data;
    *(size_t *)bytes += size * count;
    return size * count;
}

/* Starts the next URL of the list on a handle. False: there is none. */
static int next(CURLM *multi, CURL *easy, FILE *list)
{
    char url[URL_MOST];
    if (!fgets(url, sizeof url, list))
        return 0;
    url[strcspn(url, "\r\n")] = '\0';
    curl_easy_setopt(easy, CURLOPT_URL, url);
    return curl_multi_add_handle(multi, easy) == CURLM_OK;
}

int main(int argc, char **argv)
{
    FILE *list = argc == 2 ? fopen(argv[1], "r") : NULL;
    CURLM *multi = curl_multi_init();
    size_t bytes = 0, objects = 0;
    int running = 1, left;
    if (!list || !multi)
        return 2;
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)TRANSFERS);
    for (int i = 0; i < TRANSFERS; i++) {
        CURL *easy = curl_easy_init();
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, discard);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, &bytes);
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 65536L);
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        if (!next(multi, easy, list))
            curl_easy_cleanup(easy);
    }
    while (running) {
        curl_multi_perform(multi, &running);
        for (CURLMsg *m; (m = curl_multi_info_read(multi, &left));) {
            CURL *easy = m->easy_handle;
            if (m->data.result != CURLE_OK)
                return 1;
            objects++;
            curl_multi_remove_handle(multi, easy);
            if (next(multi, easy, list))
                running = 1;
            else
                curl_easy_cleanup(easy);
        }
        if (running)
            curl_multi_poll(multi, NULL, 0, 1000, NULL);
    }
    curl_multi_cleanup(multi);
    fclose(list);
    fprintf(stderr, "%zu objects, %zu bytes\n", objects, bytes);
    return 0;
}
