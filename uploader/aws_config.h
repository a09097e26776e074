/* aws_config.h - credentials, region and endpoint where the AWS tools look for them.
 *
 * First the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION,
 * AWS_DEFAULT_REGION, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL), then of the profile AWS_PROFILE or
 * "default" the credentials file (AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials), then the
 * config file (AWS_CONFIG_FILE or ~/.aws/config). Not read: roles, SSO, credential_process, the
 * metadata service of a machine.
 *
 * Threads: any, one at a time per struct.
 * Source:  "Configuration and credential file settings", AWS CLI User Guide. */
#ifndef SLUICE_AWS_CONFIG_H
#define SLUICE_AWS_CONFIG_H

enum { AWS_TEXT = 4096 };  /* session tokens are long */

/* Each "" where nobody says. */
struct aws_config {
    char access[256], secret[256], token[AWS_TEXT];
    char region[64], endpoint[512];
};

/* Fills *c. 0, or -1 with a sentence in `why`: a file cannot be read, a profile is not there,
 * there are no credentials. */
int aws_config_read(struct aws_config *c, char why[512]);
#endif
