/* What an S3 store is made of: signatures, credentials, addresses, answers.
 *
 * Source of the vectors: the AWS Signature Version 4 test suite (service "service", 2015-08-30) and
 * the examples of the Amazon S3 API Reference (2013-05-24). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "uploader/aws_config.h"
#include "uploader/percent.h"
#include "uploader/s3_address.h"
#include "uploader/s3_words.h"
#include "uploader/s3_xml.h"
#include "uploader/sigv4.h"

static const struct sigv4_key suite = {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                                       "us-east-1", "service"};
static const struct sigv4_key s3 = {"AKIAIOSFODNN7EXAMPLE",
                                    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1", "s3"};

struct vector {
    const char *method, *path, *query, *body;
    struct sigv4_header extra[4];
    const char *signature;
};

static void check(const struct sigv4_key *key, const char *host, const char *stamp, bool is_s3,
                  const struct vector *v)
{
    char hash[SIGV4_HASH];
    struct sigv4_header headers[8] = {{"x-amz-date", stamp}, {"host", host}};
    struct buf b = buf_make(4096);
    int count = 2;
    assert_int_equal(sigv4_hash(v->body, strlen(v->body), hash), 0);
    if (is_s3)
        headers[count++] = (struct sigv4_header){"x-amz-content-sha256", hash};
    for (int i = 0; i < 4 && v->extra[i].name; i++)
        headers[count++] = v->extra[i];
    struct sigv4_request r = {v->method, v->path, v->query, headers, count, hash};
    assert_int_equal(sigv4_sign(key, &r, stamp, &b), 0);
    assert_int_equal(buf_add(&b, "", 1), 0);
    assert_string_equal(strstr(b.data, "Signature=") + 10, v->signature);
    buf_free(&b);
}

static void signs_as_the_test_suite_does(void **state)
{
    static const struct vector vectors[] = {
        {"GET", "/", "", "", {{0}},
         "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        {"GET", "/", "Param1=value1&Param2=value2", "", {{0}},
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
        {"GET", "/%E1%88%B4", "", "", {{0}},
         "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
        {"GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "", "",
         {{0}}, "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
        {"GET", "/", "", "", {{"my-header1", " value1"}, {"my-header2", " \"a   b   c\""}},
         "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
        {"POST", "/", "", "", {{0}},
         "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
        {"POST", "/", "", "", {{"my-header1", "value1"}},
         "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
        {"POST", "/", "Param1=value1", "", {{0}},
         "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
        {"POST", "/", "", "Param1=value1", {{"content-type", "application/x-www-form-urlencoded"}},
         "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"}};
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        check(&suite, "example.amazonaws.com", "20150830T123600Z", false, &vectors[i]);
}

static void signs_as_the_s3_examples_do(void **state)
{
    static const struct vector vectors[] = {
        {"GET", "/test.txt", "", "", {{"range", "bytes=0-9"}},
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
        {"PUT", "/test%24file.text", "", "Welcome to Amazon S3.",
         {{"x-amz-storage-class", "REDUCED_REDUNDANCY"}, {"date", "Fri, 24 May 2013 00:00:00 GMT"}},
         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
        {"GET", "/", "lifecycle=", "", {{0}},
         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
        {"GET", "/", "max-keys=2&prefix=J", "", {{0}},
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"}};
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        check(&s3, "examplebucket.s3.amazonaws.com", "20130524T000000Z", true, &vectors[i]);
}

static void a_stamp_is_utc(void **state)
{
    char stamp[SIGV4_STAMP];
    (void)state;
    sigv4_stamp(1369353600, stamp);
    assert_string_equal(stamp, "20130524T000000Z");
}

static void encodes_all_but_what_is_unreserved(void **state)
{
    struct buf b = buf_make(256);
    (void)state;
    percent_encode(&b, "a/b c+d=e~\xc3\xa9%", 13, "/");
    buf_add(&b, "", 1);
    assert_string_equal(b.data, "a/b%20c%2Bd%3De~%C3%A9%25");
    b.len = 0;
    const char *url = "http://h/\xc3\xa9?q=a%20b&c=[1]\n";
    percent_encode(&b, url, strlen(url), percent_url);
    buf_add(&b, "", 1);
    assert_string_equal(b.data, "http://h/%C3%A9?q=a%20b&c=[1]%0A");
    buf_free(&b);
}

/* Addresses. */

static void check_address(const char *place, const char *endpoint, const char *region,
                          const char *style, const char *want)
{
    struct s3_address a;
    char why[512], got[1024];
    struct buf path = buf_make(1024);
    if (s3_address_read(&a, place, endpoint, region, style, why)) {
        snprintf(got, sizeof got, "no");
    } else {
        assert_int_equal(s3_address_path(&a, "k y", &path), 0);
        snprintf(got, sizeof got, "%s %s %.*s %s", a.tls ? "https" : "http", a.host, (int)path.len,
                 path.data, a.prefix);
        s3_address_free(&a);
    }
    buf_free(&path);
    assert_string_equal(got, want);
}

static void a_bucket_has_an_address_in_two_styles(void **state)
{
    (void)state;
    check_address("//bkt/a/b", NULL, "eu-west-1", NULL,
                  "https bkt.s3.eu-west-1.amazonaws.com /k%20y a/b/");
    check_address("//bkt/a/", NULL, "eu-west-1", "path",
                  "https s3.eu-west-1.amazonaws.com /bkt/k%20y a/");
    check_address("//b.k.t", NULL, "us-east-1", NULL,
                  "https s3.us-east-1.amazonaws.com /b.k.t/k%20y ");
    check_address("//bkt", NULL, "cn-north-1", NULL,
                  "https bkt.s3.cn-north-1.amazonaws.com.cn /k%20y ");
    check_address("//bkt/", "http://127.0.0.1:9000/", "x", NULL,
                  "http 127.0.0.1:9000 /bkt/k%20y ");
    check_address("//bkt", "https://h:443/base/", "x", NULL, "https h /base/bkt/k%20y ");
    check_address("//bkt", "http://h:80", "x", "virtual", "http bkt.h /k%20y ");
    check_address("//bkt", "https://h:80", "x", NULL, "https h:80 /bkt/k%20y ");
    check_address("//bkt", "ftp://h", "x", NULL, "no");
    check_address("//bkt", "http://user:word@h", "x", NULL, "no");
    check_address("//bkt", "http://", "x", NULL, "no");
    check_address("bkt", NULL, "x", NULL, "no");
    check_address("//", NULL, "x", NULL, "no");
    check_address("//b/p", NULL, "x", NULL, "no");
    check_address("//b%20t/p", NULL, "x", NULL, "no");
}

/* Credentials. */

static const char *const variables[] = {
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION",
    "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE"};

static char home[] = "/tmp/sluice-unit.XXXXXX";

static void write_file(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", home, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int clean_environment(void **state)
{
    char path[256];
    (void)state;
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        unsetenv(variables[i]);
    setenv("HOME", home, 1);
    snprintf(path, sizeof path, "%s/.aws/credentials", home);
    unlink(path);
    snprintf(path, sizeof path, "%s/.aws/config", home);
    unlink(path);
    return 0;
}

static void credentials_come_from_the_environment_first(void **state)
{
    struct aws_config c;
    char why[512];
    (void)state;
    write_file(".aws/credentials", "[default]\naws_access_key_id = file\n"
                                   "aws_secret_access_key = file\naws_session_token = file\n");
    setenv("AWS_ACCESS_KEY_ID", "env", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    setenv("AWS_REGION", "r1", 1);
    setenv("AWS_DEFAULT_REGION", "r2", 1);
    assert_int_equal(aws_config_read(&c, why), 0);
    assert_string_equal(c.access, "env");
    assert_string_equal(c.secret, "secret");
    assert_string_equal(c.token, ""); /* another pair's token is no help */
    assert_string_equal(c.region, "r1");
}

static void a_profile_is_found_in_both_files(void **state)
{
    struct aws_config c;
    char why[512];
    (void)state;
    write_file(".aws/credentials",
               "# mine\r\n[default]\r\naws_access_key_id=no\r\n\r\n[ work ]\r\n"
               "aws_access_key_id = AK\r\naws_secret_access_key = a=b/c+d \r\n"
               "aws_session_token=tok\r\n");
    write_file(".aws/config",
               "[profile other]\nregion = wrong\n[profile work]\n; note\nregion=eu-1\ns3 =\n"
               "    region = nested\nendpoint_url = http://h:1\naws_access_key_id = late\n");
    setenv("AWS_PROFILE", "work", 1);
    assert_int_equal(aws_config_read(&c, why), 0);
    assert_string_equal(c.access, "AK");
    assert_string_equal(c.secret, "a=b/c+d");
    assert_string_equal(c.token, "tok");
    assert_string_equal(c.region, "eu-1");
    assert_string_equal(c.endpoint, "http://h:1");
}

static void a_config_file_alone_will_do_and_may_be_elsewhere(void **state)
{
    struct aws_config c;
    char why[512], path[256];
    (void)state;
    write_file("elsewhere", "[default]\naws_access_key_id = A\naws_secret_access_key = S\n");
    snprintf(path, sizeof path, "%s/elsewhere", home);
    setenv("AWS_CONFIG_FILE", path, 1);
    assert_int_equal(aws_config_read(&c, why), 0);
    assert_string_equal(c.access, "A");
    assert_string_equal(c.region, "");
}

static void what_lacks_is_said(void **state)
{
    struct aws_config c;
    char why[512];
    (void)state;
    assert_int_equal(aws_config_read(&c, why), -1);
    assert_non_null(strstr(why, "no credentials"));
    setenv("AWS_ACCESS_KEY_ID", "half", 1);
    assert_int_equal(aws_config_read(&c, why), -1);
    setenv("AWS_PROFILE", "nobody", 1);
    assert_int_equal(aws_config_read(&c, why), -1);
    assert_non_null(strstr(why, "nobody"));
    setenv("AWS_SHARED_CREDENTIALS_FILE", home, 1); /* a directory */
    assert_int_equal(aws_config_read(&c, why), -1);
    assert_non_null(strstr(why, home));
}

/* Answers. */

static void an_error_has_a_code_and_a_message(void **state)
{
    static const char xml[] = "\n <?xml version=\"1.0\"?><Error><Code>SlowDown</Code>"
                              "<Message>a &lt; b</Message><Code>other</Code></Error>";
    char text[S3_XML_TEXT];
    (void)state;
    s3_xml_first(xml, sizeof xml - 1, "Code", text);
    assert_string_equal(text, "SlowDown");
    s3_xml_first(xml, sizeof xml - 1, "Message", text);
    assert_string_equal(text, "a < b");
    s3_xml_first(xml, sizeof xml - 1, "Nothing", text);
    assert_string_equal(text, "");
    s3_xml_first("<html><p>", 9, "Code", text);
    assert_string_equal(text, "");
    s3_xml_first(NULL, 0, "Code", text);
    assert_string_equal(text, "");
}

static void entities_do_not_explode(void **state)
{
    struct buf b = buf_make(1 << 20);
    char text[S3_XML_TEXT];
    (void)state;
    buf_adds(&b, "<!DOCTYPE x [<!ENTITY a0 \"aaaaaaaaaaaaaaaaaaaa\">");
    for (int i = 1; i < 12; i++) {
        buf_addf(&b, "<!ENTITY a%d \"", i);
        for (int k = 0; k < 20; k++)
            buf_addf(&b, "&a%d;", i - 1);
        buf_adds(&b, "\">");
    }
    buf_adds(&b, "]><Error><Code>&a11;</Code></Error>");
    s3_xml_first(b.data, b.len, "Code", text);
    assert_true(strlen(text) < S3_XML_TEXT);
    buf_free(&b);
}

static void collect(void *arg, const struct s3_xml_item *i)
{
    char *all = arg;
    sprintf(all + strlen(all), "%.100s|%.100s;", i->values[0], i->values[1]);
}

static void a_list_has_items(void **state)
{
    static const char xml[] =
        "<List><Key>outside</Key><Upload><Key>a&amp;b</Key><Owner><ID>o</ID></Owner>"
        "<UploadId>1</UploadId></Upload><Upload><UploadId>2</UploadId></Upload></List>";
    static const char *const names[] = {"Key", "UploadId", NULL};
    char all[1024] = "";
    (void)state;
    assert_int_equal(s3_xml_each(xml, sizeof xml - 1, "Upload", names, collect, all), 0);
    assert_string_equal(all, "a&b|1;|2;");
    assert_int_equal(s3_xml_each("<a>", 3, "Upload", names, collect, all), -1);
    assert_int_equal(s3_xml_time_ms("1970-01-02T00:00:01.500Z"), 86401000);
    assert_int_equal(s3_xml_time_ms("yesterday"), -1);
}

static void codes_have_words(void **state)
{
    (void)state;
    assert_int_equal(s3_word("SlowDown")->verdict, UPSTREAM_BUSY);
    assert_true(s3_word("ExpiredToken")->ours);
    assert_null(s3_word("Unheard"));
    assert_null(s3_word(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_as_the_test_suite_does),
        cmocka_unit_test(signs_as_the_s3_examples_do),
        cmocka_unit_test(a_stamp_is_utc),
        cmocka_unit_test(encodes_all_but_what_is_unreserved),
        cmocka_unit_test(a_bucket_has_an_address_in_two_styles),
        cmocka_unit_test_setup(credentials_come_from_the_environment_first, clean_environment),
        cmocka_unit_test_setup(a_profile_is_found_in_both_files, clean_environment),
        cmocka_unit_test_setup(a_config_file_alone_will_do_and_may_be_elsewhere,
                               clean_environment),
        cmocka_unit_test_setup(what_lacks_is_said, clean_environment),
        cmocka_unit_test(an_error_has_a_code_and_a_message),
        cmocka_unit_test(entities_do_not_explode),
        cmocka_unit_test(a_list_has_items),
        cmocka_unit_test(codes_have_words),
    };
    char path[256];
    if (!mkdtemp(home))
        return 1;
    snprintf(path, sizeof path, "%s/.aws", home);
    if (mkdir(path, 0700))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    clean_environment(NULL);
    rmdir(path);
    snprintf(path, sizeof path, "%s/elsewhere", home);
    unlink(path);
    rmdir(home);
    return failed;
}
