#include "uploader/aws_config.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uploader/ini.h"

/* One file being read. */
struct reading {
    struct aws_config *config;
    const char *section;  /* the profile's name in this file */
    bool found;
    bool pair;            /* nobody has said the key before: key, secret and token are taken */
};

static const struct {
    const char *name;
    size_t at, size;
    bool of_pair;
} settings[] = {
    {"aws_access_key_id", offsetof(struct aws_config, access), 256, true},
    {"aws_secret_access_key", offsetof(struct aws_config, secret), 256, true},
    {"aws_session_token", offsetof(struct aws_config, token), AWS_TEXT, true},
    {"region", offsetof(struct aws_config, region), 64, false},
    {"endpoint_url", offsetof(struct aws_config, endpoint), 512, false},
};

static void take(void *arg, const char *section, const char *name, const char *value)
{
    struct reading *r = arg;
    if (strcmp(section, r->section))
        return;
    r->found = true;
    for (size_t i = 0; name && i < sizeof settings / sizeof *settings; i++) {
        char *to = (char *)r->config + settings[i].at;
        if (strcmp(name, settings[i].name) == 0 && !*to && (r->pair || !settings[i].of_pair) &&
            strlen(value) < settings[i].size)
            strcpy(to, value);
    }
}

/* Reads a file, which may be missing. 0, or -1 with a sentence. */
static int read_file(const char *path, struct reading *r, char why[512])
{
    FILE *f = fopen(path, "re");
    r->pair = !r->config->access[0];
    int bad = f ? ini_read(f, take, r) : errno != ENOENT && errno != ENOTDIR ? -1 : 0;
    if (bad)
        snprintf(why, 512, "%s: %s", path, strerror(errno));
    if (f)
        fclose(f);
    return bad;
}

static void from_env(char *to, size_t size, const char *name)
{
    const char *value = getenv(name);
    if (value && !*to && strlen(value) < size)
        strcpy(to, value);
}

/* Key, secret and token belong together: the first two name the place that all come from. */
static void read_environment(struct aws_config *c)
{
    if (getenv("AWS_ACCESS_KEY_ID") && getenv("AWS_SECRET_ACCESS_KEY")) {
        from_env(c->access, sizeof c->access, "AWS_ACCESS_KEY_ID");
        from_env(c->secret, sizeof c->secret, "AWS_SECRET_ACCESS_KEY");
        from_env(c->token, sizeof c->token, "AWS_SESSION_TOKEN");
    }
    from_env(c->region, sizeof c->region, "AWS_REGION");
    from_env(c->region, sizeof c->region, "AWS_DEFAULT_REGION");
    from_env(c->endpoint, sizeof c->endpoint, "AWS_ENDPOINT_URL_S3");
    from_env(c->endpoint, sizeof c->endpoint, "AWS_ENDPOINT_URL");
}

static void path_of(const char *variable, const char *name, char path[AWS_TEXT])
{
    const char *given = getenv(variable), *home = getenv("HOME");
    if (given && *given)
        snprintf(path, AWS_TEXT, "%s", given);
    else
        snprintf(path, AWS_TEXT, "%s/.aws/%s", home ? home : "", name);
}

int aws_config_read(struct aws_config *c, char why[512])
{
    char path[AWS_TEXT], section[300];
    const char *profile = getenv("AWS_PROFILE");
    bool named = profile && *profile;
    *c = (struct aws_config){0};
    read_environment(c);
    struct reading r = {.config = c, .section = named ? profile : "default"};
    path_of("AWS_SHARED_CREDENTIALS_FILE", "credentials", path);
    if (read_file(path, &r, why))
        return -1;
    /* In the config file all but the default have a word before their name. */
    snprintf(section, sizeof section, "profile %s", r.section);
    if (strcmp(r.section, "default"))
        r.section = section;
    path_of("AWS_CONFIG_FILE", "config", path);
    if (read_file(path, &r, why))
        return -1;
    if (named && !r.found) {
        snprintf(why, 512, "AWS_PROFILE is '%.200s', which is in neither credentials nor config "
                           "file", profile);
        return -1;
    }
    if (c->access[0] && c->secret[0])
        return 0;
    snprintf(why, 512, "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write "
                       "aws_access_key_id and aws_secret_access_key into ~/.aws/credentials "
                       "(profile %.100s)", named ? profile : "default");
    return -1;
}
